"""The ways to unroll, the program that each makes of a training step, and its training."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.char_model.config import build_model
from experiments.char_model.train import Data, init_state, make_block, spread
from experiments.unroll_comparison.config import Config, Way
from seqjax import Cell, unroll
from seqjax.data.text import Vocabulary, read_corpus, streams
from seqjax.devices import data_mesh
from seqjax.types import Array, Params, State

BLOCK = 20  # training steps in one program


def unroll_with_lengths(
    model: Cell, params: Params, xs: Array, **options: Any
) -> tuple[State, Array]:
    """Scan over rows of lengths that the compiler cannot know: it could leave their mask out."""
    lengths = (xs >= 0).sum(1)  # no token is negative
    return unroll(model, params, xs, lengths=lengths, method="scan", **options)


WAYS: dict[Way, Callable[..., tuple[State, Array]]] = {
    "static": functools.partial(unroll, method="static"),
    "dynamic": unroll_with_lengths,
    "scan": functools.partial(unroll, method="scan"),
    "auto": unroll,
}


def read(config: Config) -> tuple[int, int, Data]:
    """Read the text: its characters, how many different ones there are, and its rows.

    Raises:
      ValueError: there is no such text, or it is too short.
    """
    text = read_corpus(config.corpus).text
    vocabulary = Vocabulary.of(text)
    rows = Data(*map(jnp.asarray, streams(vocabulary.encode(text), config.batch_size)))
    length, needed = rows.inputs.shape[1], max(config.num_steps, *config.sweep, 1)
    if length < needed:
        raise ValueError(
            f"--corpus {config.corpus} in --batch-size {config.batch_size} rows leaves {length} "
            f"characters a row, too few for {needed} steps; give a longer text or fewer rows"
        )
    return len(text), vocabulary.size, rows


class Build(NamedTuple):
    """How long one program took to come about."""

    num_steps: int
    trace_seconds: float  # Python runs the model once; with static, every step of it
    compile_seconds: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.trace_seconds + self.compile_seconds


class Training(NamedTuple):
    """A training run, of one loss a step."""

    losses: np.ndarray  # [steps]
    seconds: np.ndarray  # [steps], of training until the end of the step's block

    def epoch_losses(self, steps: int) -> list[float]:
        """Mean loss of each whole epoch of ``steps`` steps."""
        whole = self.losses[: len(self.losses) // steps * steps].reshape(-1, steps)
        return [float(loss) for loss in whole.mean(1, dtype=np.float64)]


@dataclasses.dataclass
class Outcome:
    """What came of one way."""

    way: Way
    builds: list[Build] = dataclasses.field(default_factory=list)
    left_out: list[int] = dataclasses.field(default_factory=list)  # num_steps
    training: Training | None = None

    def build(self, num_steps: int) -> Build | None:
        """The build at ``num_steps``, if there was one."""
        return next((build for build in self.builds if build.num_steps == num_steps), None)


def build(
    config: Config, way: Way, num_steps: int, vocabulary_size: int, rows: Data
) -> tuple[Build, Callable[[], Any], jax.stages.Compiled]:
    """Trace and compile the training block of one way.

    Returns:
      How long it took, what makes the arguments ``(state, data)`` of the program, and the program.
    """
    options = config.at(num_steps)
    model, mesh = build_model(options, vocabulary_size), data_mesh(config.batch_size)

    def start() -> Any:
        return spread(mesh, init_state(options, model), rows)

    arguments = (*jax.block_until_ready(start()), jnp.zeros(BLOCK), jnp.int32(BLOCK))
    began = time.perf_counter()
    lowered = make_block(options, model, mesh, WAYS[way]).lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    took = Build(num_steps, traced - began, time.perf_counter() - traced)
    return took, start, program


def train(
    config: Config, start: Callable[[], Any], program: jax.stages.Compiled, total: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Take ``total`` steps; yields the losses of each block, and the seconds it took."""
    state, data = jax.block_until_ready(start())
    rates = jnp.full(BLOCK, config.at(config.num_steps).learning_rate, jnp.float32)
    for first in range(0, total, BLOCK):
        count = min(BLOCK, total - first)
        began = time.perf_counter()
        state, losses = program(state, data, rates, jnp.int32(count))
        yield np.asarray(losses)[:count], time.perf_counter() - began  # asarray waits for them
