"""The command line of the benchmark."""

import collections
import dataclasses
import typing

import tyro

import benchmarks.wrong_calls
from benchmarks.wrong_calls.calls import examples
from benchmarks.wrong_calls.draws import Outcome, draws
from benchmarks.wrong_calls.kinds import KINDS


@dataclasses.dataclass(frozen=True)
class Config:
    """Make wrong calls and count their outcomes."""

    count: int = 3000
    """The number of calls."""
    seed: int = 0
    """The seed of the draws."""


def main(config: Config) -> None:
    """Print the number of calls of each outcome, and each call that is not allowed."""
    counts: collections.Counter[Outcome] = collections.Counter()
    for draw in draws(config.count, config.seed):
        counts[draw.outcome] += 1
        if draw.outcome in ("silent", "crash"):
            print(
                f"{draw.call}, {draw.argument} = {draw.kind}: {draw.outcome}, {draw.message[:200]}"
            )
    calls = sum(bool(example.arguments) for example in examples())
    print(f"{calls} valid calls, {len(KINDS)} kinds of values")
    print(
        f"{config.count} wrong calls: "
        + ", ".join(f"{counts[outcome]} {outcome}" for outcome in typing.get_args(Outcome))
    )


if __name__ == "__main__":
    main(tyro.cli(Config, description=benchmarks.wrong_calls.__doc__))
