"""The command line: train, predict, cross-validate, archive."""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.command_line import (
    check_seed,
    check_sizes,
    exit_codes,
    join_alone,
    run_options,
    set_up,
)
from experiments.run_directory import RunDirectory
from experiments.sequence_classification.config import Config
from experiments.sequence_classification.presets import defaults
from seqjax.checks import check_size
from seqjax.hosts import Hosts

if TYPE_CHECKING:
    from rich.console import Console

NAME = "sequence_classification"
PROGRAM = f"python -m experiments.{NAME}"


@dataclasses.dataclass(frozen=True)
class Train:
    """Train the network; its help shows the description of `Config`."""

    config: tyro.conf.OmitArgPrefixes[Config]
    hosts: tyro.conf.OmitArgPrefixes[Hosts] = dataclasses.field(default_factory=Hosts)
    """The processes that train together."""


@dataclasses.dataclass(frozen=True)
class Predict:
    """Predict the classes of new records with a trained model."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    records: tyro.conf.Positional[Path]
    """Directory or pattern of TFRecords with the feature that the model reads. Labels are
    optional; if there are any, the accuracy is printed."""
    rows: int = 20
    """Predictions to print."""
    out: Path | None = None
    """New file for all predictions, which ends in .csv or .json. None: print only."""

    def main(self, console: "Console") -> None:
        """Print the first predictions, and write all of them."""
        from experiments.sequence_classification import predictions
        from experiments.sequence_classification.trained import load

        check_size(NAME, "--rows", self.rows)
        if self.out is not None:
            predictions.check_out(self.out)
        trained = load(self.run)
        found = predictions.predict_records(trained, self.records)
        console.print(predictions.table(found, self.rows))
        total = len(found.labels)
        if self.rows < total:
            console.print(f"{self.rows} of {total} examples are shown; --out writes all.")
        for note in found.notes:
            console.print(note, highlight=False)
        if self.out is not None:
            predictions.write(found, self.out)
            console.print(f"wrote {self.out}", highlight=False, markup=False)


@dataclasses.dataclass(frozen=True)
class CrossValidate:
    """Compare options by cross-validation within the training set; the test set is not used."""

    config: tyro.conf.OmitArgPrefixes[Config]
    vary: tuple[str, ...] = ()
    """Options with the values to compare, such as units=16,32 noise=0,0.5; all combinations."""
    folds: int = 5
    """Parts of the training set; each is predicted by models that are trained on the others."""

    def main(self, console: "Console") -> None:
        """Print a table of accuracies."""
        from experiments.sequence_classification import cross_validation
        from experiments.sequence_classification.experiment import prepare

        check_size(NAME, "--folds", self.folds)
        scores = []
        for arguments in cross_validation.settings(self.vary):
            config = tyro.cli(Config, args=arguments, default=self.config, prog=PROGRAM)
            config = dataclasses.replace(config, validation=0.0)
            stored, read, reader = prepare(config)
            setting = " ".join(arguments)
            with console.status(setting):
                score = cross_validation.cross_validate(
                    config, read.train, read.classes, reader.features(stored), self.folds, setting
                )
            scores.append(score)
        count = len(read.train.labels)
        console.print(cross_validation.score_table(scores, count, self.folds))


@dataclasses.dataclass(frozen=True)
class Archive:
    """Compare the network with MiniRocket and published results on data sets of UCR and UEA."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Data sets; defaults to all that the package aeon ships."""
    seeds: int = 8
    """Seeds of the network and of MiniRocket."""
    seed: int = 0
    """Random seed from which all seeds are derived."""
    out: Path | None = None
    """New folder for the results. None: runs/sequence_classification/<time>."""

    def main(self, console: "Console") -> None:
        """Print the table, and write it and its numbers to the folder."""
        from rich.console import Console

        from experiments.sequence_classification import archive
        from experiments.sequence_classification.archive_table import archive_table, measure

        check_sizes(NAME, self, "seeds")
        check_seed(self.seed)
        names = self.names or archive.NAMES
        archive.load(names[0])  # fails before a folder is made
        folder = RunDirectory(NAME, self, self.out)
        folder.start()
        rows = []
        for name in names:
            with console.status(name):
                rows.append(measure(name, self.seeds, self.seed))
            folder.write_json("result.json", {row.name: row.to_json() for row in rows})
        table = archive_table(rows)
        with (
            folder.replacing("table.txt") as path,
            path.open("w", encoding="utf-8") as file,
        ):
            Console(file=file, width=140).print(table)
        console.print(table)
        console.print(f"Files in {folder.path}", highlight=False)


COMMANDS = ("train", "predict", "cross-validate", "archive")


def _subcommand(name: str, default: Any, description: str | None = None) -> Any:
    """A command with these defaults; None for those of its options, whose help imports no JAX."""
    if default is None:
        return tyro.conf.subcommand(name, description=description)
    return tyro.conf.subcommand(name, default=default, description=description)


def main() -> None:
    """Run the command line; options without a command are those of ``train``."""
    set_up()
    arguments = sys.argv[1:]
    if not arguments or arguments[0] not in (*COMMANDS, "-h", "--help"):
        arguments = ["train", *arguments]
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--dataset", nargs="?", default=Config.dataset)
    dataset = parser.parse_known_args(arguments)[0].dataset or Config.dataset
    with exit_codes():
        preset = defaults(dataset)
        command = tyro.cli(
            Annotated[Train, _subcommand("train", preset and Train(preset), Config.__doc__)]
            | Annotated[Predict, tyro.conf.subcommand("predict")]
            | Annotated[
                CrossValidate, _subcommand("cross-validate", preset and CrossValidate(preset))
            ]
            | Annotated[Archive, tyro.conf.subcommand("archive")],
            prog=PROGRAM,
            args=arguments,
            description="Without a command, the options are those of train.",
            config=(tyro.conf.PositionalMetavarFromFieldName,),
        )
        if not isinstance(command, Train):
            # imported here and in the commands, because --help needs only the options
            from rich.console import Console

            join_alone(f"{PROGRAM} {arguments[0]}", Hosts())
            command.main(Console())
            return
    run_options(NAME, command.config, command.hosts, several=True)


if __name__ == "__main__":
    main()
