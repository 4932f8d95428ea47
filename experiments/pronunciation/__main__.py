"""The command line: train, evaluate, predict, report."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.char_model.errors import NotFiniteError, StoppedError
from experiments.command_line import set_up
from experiments.pronunciation.config import PRESETS, Config
from experiments.run_directory import RunDirectory

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

    def main(self, console: "Console") -> None:
        """Train and print the results."""
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
    """Score a trained model on the test words."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    which: Literal["best", "last"] = "best"
    """Checkpoint to read."""
    part: Literal["test", "validation"] = "test"
    """Words to score."""

    def main(self, console: "Console") -> None:
        """Print the scores."""
        from experiments.pronunciation.decoding import greedy
        from experiments.pronunciation.score import score
        from experiments.pronunciation.trained import load

        trained = load(self.run, self.which)
        words = getattr(trained.dictionary(), self.part)
        found = greedy(
            trained.model, trained.params, list(words), trained.letters, trained.phonemes
        )
        console.print(score(found, words).as_json())


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
    try:
        default = _default_train(arguments if arguments[:1] == ["train"] else [])
        command = tyro.cli(
            Annotated[Train, tyro.conf.subcommand("train", default=default)]
            | Annotated[Evaluate, tyro.conf.subcommand("evaluate")],
            prog=PROGRAM,
            config=(tyro.conf.PositionalMetavarFromFieldName,),
        )
        # imported here and in the commands, because --help needs only the options
        from rich.console import Console

        command.main(Console())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (NotFiniteError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:  # before training starts, or in a command that saves nothing
        sys.exit(130)


if __name__ == "__main__":
    main()
