"""The command line of the character model: train, evaluate, sample, score and more."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.char_model.config import PRESETS, Config, check_effects, check_model, extend
from experiments.char_model.scoring import Evaluate, ScoreText, Which
from experiments.char_model.tune_dynamic import TuneDynamic
from experiments.command_line import exit_codes, join_alone, set_up, values_of
from experiments.errors import StoppedError
from experiments.run_directory import RunDirectory
from seqjax.hosts import Hosts, join

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from experiments.char_model.trained import Trained
    from seqjax.sampling import Sampling

PROGRAM = "python -m experiments.char_model"
BLOCK = 32  # characters drawn per compiled call


@dataclasses.dataclass(frozen=True)
class Sample:
    """Sample text from a trained model, character by character."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    prime: str = "\n"
    """Text to continue."""
    length: int = 500
    """Characters to sample."""
    count: int = 1
    """Number of texts, sampled as one batch."""
    temperature: float = 1.0
    """Divisor of the logits. Below 1 it favours likely characters; 0 takes the most likely one."""
    top_k: int | None = None
    """Sample only from the k most likely characters."""
    top_p: float = 1.0
    """Sample from the smallest set of likely characters whose probabilities sum to this value."""
    seed: int = 0
    """Random seed of the samples."""
    which: Which = "best"
    """Checkpoint to read."""

    def main(self, console: "Console") -> None:
        """Print one text while it is sampled, or several texts when they are complete."""
        import numpy as np

        from experiments.char_model.trained import load
        from seqjax.sampling import Sampling

        for name in ("length", "count"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        sampling = Sampling(self.temperature, self.top_k, self.top_p)
        if not self.prime:
            raise ValueError("--prime must hold at least one character, got ''; give a text")
        trained = load(self.run, self.which)
        start = np.tile(trained.vocabulary.encode(self.prime), (self.count, 1))
        blocks = self._draw(trained, start, sampling)
        if self.count == 1:
            sys.stdout.write(self.prime)
            for piece in trained.vocabulary.decode_stream(block[0] for block in blocks):
                sys.stdout.write(piece)
                sys.stdout.flush()
            sys.stdout.write("\n")
            return
        for n, row in enumerate(np.concatenate([*blocks], axis=1)):
            sys.stdout.write(f"--- {n + 1} of {self.count} ---\n{self.prime}")
            sys.stdout.write(trained.vocabulary.decode(row) + "\n")

    def _draw(
        self, trained: "Trained", start: "np.ndarray", sampling: "Sampling"
    ) -> "Iterator[np.ndarray]":
        import jax
        import jax.numpy as jnp
        import numpy as np

        from seqjax.sampling import generate, prime

        generation = prime(trained.model, trained.params, jnp.asarray(start))
        key = jax.random.key(self.seed)
        for done in range(0, self.length, BLOCK):
            # all blocks have one length, so they compile once; extra characters of the last are cut
            generation, drawn = generate(
                trained.model, trained.params, generation, key, BLOCK, sampling
            )
            yield np.asarray(drawn)[:, : self.length - done]


@dataclasses.dataclass(frozen=True)
class Report:
    """Write a page about a trained model: curves, samples, surprises, units and calibration."""

    run: tyro.conf.Positional[Path]
    """Folder of a run that has ended. The page is its report.html, and needs no other file."""
    length: int = 600
    """Characters of each sample."""
    seed: int = 0
    """Random seed of the samples."""
    which: Which = "best"
    """Checkpoint to read."""

    def main(self, console: "Console") -> None:
        """Write the page and print its path."""
        from experiments.char_model.report.command import report

        if self.length < 1:
            raise ValueError(f"--length must be at least 1, got {self.length}")
        path = report(self.run, self.which, self.length, self.seed)
        console.print(f"wrote {path}", highlight=False)


@dataclasses.dataclass(frozen=True)
class Verify:
    """Check all checkpoints of a run; exit code 1 if one is damaged."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""

    def main(self, console: "Console") -> None:
        """Print a line for each checkpoint."""
        from experiments.char_model.trained import verify

        problems = verify(self.run)
        for step, problem in problems.items():
            console.print(f"step {step}: {problem or 'intact'}", highlight=False, markup=False)
        if any(problems.values()):
            sys.exit(1)


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a character model. A preset sets the options that are not given."""

    config: tyro.conf.OmitArgPrefixes[Config]
    preset: Literal["article", "small", "best"] = "small"
    """article: the model of the article of 2016. small: the best model that trains in about 100 s
    on 2 CPU cores. best: an ensemble of ten such models, which takes about an hour."""
    out: Path | None = None
    """New folder for the run. None: runs/char_model/<time>."""
    resume: Path | None = None
    """Folder of a run to resume with its own options. Larger --epochs or --max-seconds extend
    the run; the learning rate then follows the longer schedule."""
    which: Literal["last", "best"] = "last"
    """Checkpoint that --resume starts from; later checkpoints are deleted."""
    changed_corpus: bool = False
    """Let --resume train on a changed text, with the vocabulary of the run."""
    hosts: tyro.conf.OmitArgPrefixes[Hosts] = dataclasses.field(default_factory=Hosts)
    """The processes that train together."""

    def main(self, console: "Console") -> None:
        """Train and print the results."""
        join(self.hosts, values_of(self))
        from rich.console import Console

        from experiments.char_model import anchors
        from experiments.char_model.resume import Resume
        from experiments.char_model.run import train as train_run
        from experiments.char_model.trained import read_config
        from experiments.processes import ALL

        if not ALL.is_first:
            console = Console(quiet=True)
        if self.resume is None:
            config = self.config
            check_effects(config)
            check_model(config)
            # the time in its name is that of process 0
            path = ALL.by_first(lambda: str(RunDirectory("char_model", config, self.out).path))
            folder = RunDirectory("char_model", config, Path(path))
        else:
            if self.out is not None:
                raise ValueError(
                    "--out names a new folder, but --resume continues in the folder of its run; "
                    "give one of them"
                )
            config = extend(read_config(self.resume), self.config, self.resume)
            folder = RunDirectory.reopen(self.resume)
        try:
            resume = Resume(self.which, self.changed_corpus)
            result = train_run(config, folder, console, resume)
        except StoppedError as stopped:
            console.print(
                f"stopped by {stopped}; resume with {PROGRAM} train --resume {folder.path}",
                highlight=False,
            )
            sys.exit(0)
        console.print_json(json.dumps(result))
        console.print(anchors.table(result))


def _default_train(arguments: list[str]) -> Train:
    """The defaults of the options: those of the resumed run or of the preset."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for names in (["--preset"], ["--resume"], ["--epochs"], ["--max-seconds", "--max_seconds"]):
        parser.add_argument(*names, nargs="?")
    given = parser.parse_known_args(arguments)[0]
    if given.resume is None:
        config = PRESETS.get(given.preset, PRESETS["small"])
    elif given.preset is None:
        from experiments.char_model.trained import read_config

        config = read_config(Path(given.resume))
    else:
        raise ValueError(
            "--preset sets the options of a new run, but --resume uses those of its run; give one "
            "of them"
        )
    if given.epochs is not None and given.max_seconds is None:
        config = dataclasses.replace(config, max_seconds=None)
    elif given.epochs is not None and given.max_seconds != "None":
        raise ValueError("--epochs and --max-seconds both limit training; give one of them")
    return Train(config)


def main() -> None:
    """Run the command line; exit code 2 for an invalid option or file, 1 for other errors."""
    set_up()
    arguments = sys.argv[1:]
    with exit_codes():
        default = _default_train(arguments if arguments[:1] == ["train"] else [])
        command = tyro.cli(
            Annotated[Train, tyro.conf.subcommand("train", default=default)]
            | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
            | Annotated[Sample, tyro.conf.subcommand("sample")]
            | Annotated[ScoreText, tyro.conf.subcommand("score")]
            | Annotated[TuneDynamic, tyro.conf.subcommand("tune-dynamic")]
            | Annotated[Report, tyro.conf.subcommand("report")]
            | Annotated[Verify, tyro.conf.subcommand("verify")],
            prog=PROGRAM,
            config=(tyro.conf.PositionalMetavarFromFieldName,),
        )
        # imported here and in the commands, because --help needs only the options
        from rich.console import Console

        if not isinstance(command, Train):
            join_alone(f"{PROGRAM} {sys.argv[1]}", Hosts())
        command.main(Console())


if __name__ == "__main__":
    main()
