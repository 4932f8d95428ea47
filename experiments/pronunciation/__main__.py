"""The command line: train, evaluate, predict, report."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.command_line import exit_codes, join_alone, set_up
from experiments.errors import StoppedError
from experiments.pronunciation.config import PRESETS, Config
from experiments.run_directory import RunDirectory
from seqjax.checks import check_size
from seqjax.hosts import Hosts

if TYPE_CHECKING:
    from rich.console import Console

PROGRAM = "python -m experiments.pronunciation"


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a model from spelling to pronunciation. A preset sets the options not given."""

    config: tyro.conf.OmitArgPrefixes[Config]
    preset: Literal["small", "full"] = "small"
    """small: trains in 3 minutes on 2 CPU cores. full: in an hour."""
    out: Path | None = None
    """New folder for the run. None: runs/pronunciation/<time>."""
    resume: Path | None = None
    """Folder of a run to resume with its own options."""
    hosts: tyro.conf.OmitArgPrefixes[Hosts] = dataclasses.field(default_factory=Hosts)
    """The processes that train together."""

    def main(self, console: "Console") -> None:
        """Train and print the results."""
        join_alone("pronunciation", self.hosts)
        from experiments.pronunciation.run import train
        from experiments.pronunciation.trained import read_config

        if self.resume is None:
            config = self.config
            folder = RunDirectory("pronunciation", config, self.out)
        else:
            if self.out is not None:
                raise ValueError(
                    "--out names a new folder, but --resume continues in the folder of its run; "
                    "give one of them"
                )
            config = read_config(self.resume)
            if config != self.config:
                raise ValueError(
                    f"--resume {self.resume}: the options of a run cannot change; give --resume "
                    "alone, or start a new run"
                )
            folder = RunDirectory.reopen(self.resume)
        try:
            result = train(config, folder, console)
        except StoppedError as stopped:
            console.print(
                f"stopped by {stopped}; resume with {PROGRAM} train --resume {folder.path}",
                highlight=False,
            )
            sys.exit(0)
        console.print_json(json.dumps(result))


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score trained models on the test words."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs. Several models decode together, with averaged log-probabilities."""
    beam: int | None = None
    """Width of the beam search. None: greedy decoding."""
    threshold: float | None = None
    """Drop pronunciations whose log-probability is this much, in nats, below the best. A beam
    search with a threshold of 4 takes about half as long. None: drop nothing."""
    which: Literal["best", "last"] = "best"
    """Checkpoint to read."""
    part: Literal["test", "validation"] = "test"
    """Words to score."""
    baselines: bool = False
    """Whether to also score a joint n-gram model and tables of letters, which takes minutes."""

    def main(self, console: "Console") -> None:
        """Print a table of error rates."""
        from experiments.pronunciation.evaluation import evaluate
        from experiments.pronunciation.report import score_table

        check_beam(self.beam)
        if self.threshold is not None and self.beam is None:
            raise ValueError(
                f"--threshold {self.threshold:g} needs a beam search; add, for example, --beam 8"
            )
        scores = evaluate(
            self.runs, self.which, self.part, self.beam, self.threshold, self.baselines
        )
        console.print(score_table(self.part, scores))


@dataclasses.dataclass(frozen=True)
class Predict:
    """Pronounce words, with an n-best list and the attention to the letters."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    words: tyro.conf.Positional[tuple[str, ...]]
    """Words in lower case."""
    beam: int = 8
    """Width of the beam search."""
    n_best: int = 3
    """Pronunciations to print for each word."""
    which: Literal["best", "last"] = "best"
    """Checkpoint to read."""

    def main(self, console: "Console") -> None:
        """Print the pronunciations of each word, and how the first one attends to its letters."""
        from experiments.pronunciation.decoding import align, pronounce
        from experiments.pronunciation.report import prediction
        from experiments.pronunciation.trained import load, speaker_of

        check_beam(self.beam)
        check_size("pronunciation", "--n-best", self.n_best)
        if not self.words:
            raise ValueError("give at least one word to pronounce")
        speaker = speaker_of([load(self.run, self.which)])
        words = list(dict.fromkeys(self.words))
        found = pronounce(speaker, words, self.beam, min(self.n_best, self.beam))
        for word, hypotheses in found.items():
            weights = align(speaker, word, hypotheses[0].phonemes)
            print(prediction(word, hypotheses, weights))


@dataclasses.dataclass(frozen=True)
class Report:
    """Draw figures of a trained model into its folder."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    beam: int | None = 8
    """Width of the beam search. None: greedy decoding."""
    which: Literal["best", "last"] = "best"
    """Checkpoint to read."""

    def main(self, console: "Console") -> None:
        """Write report.png and alignment.png, and print the names of the files."""
        from experiments.pronunciation.report import write_report

        check_beam(self.beam)
        for path in write_report(self.run, self.which, self.beam):
            console.print(f"wrote {path}", highlight=False, markup=False)


def check_beam(beam: int | None) -> None:
    """Raise ``ValueError`` unless ``--beam`` is a whole number of at least 1, or None."""
    if beam is not None:
        check_size("pronunciation", "--beam", beam)


def _default_train(arguments: list[str]) -> Train:
    """The defaults of the options: those of the resumed run or of the preset."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--preset", "--resume"):
        parser.add_argument(name, nargs="?")
    given = parser.parse_known_args(arguments)[0]
    if given.resume is None:
        return Train(PRESETS.get(given.preset, PRESETS["small"]))
    if given.preset is not None:
        raise ValueError(
            "--preset sets the options of a new run, but --resume uses those of its run; give one "
            "of them"
        )
    from experiments.pronunciation.trained import read_config

    return Train(read_config(Path(given.resume)))


def main() -> None:
    """Run the command line; exit code 2 for an invalid option or file, 1 for other errors."""
    set_up()
    arguments = sys.argv[1:]
    with exit_codes():
        default = _default_train(arguments if arguments[:1] == ["train"] else [])
        command = tyro.cli(
            Annotated[Train, tyro.conf.subcommand("train", default=default)]
            | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
            | Annotated[Predict, tyro.conf.subcommand("predict")]
            | Annotated[Report, tyro.conf.subcommand("report")],
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
