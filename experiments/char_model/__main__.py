"""The command line of the character model: train, evaluate, sample, score."""

import dataclasses
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from experiments.char_model.config import PRESETS, Config, check_model
from experiments.char_model.errors import NotFiniteError, StoppedError
from experiments.command_line import set_up
from experiments.run_directory import RunDirectory

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

    from experiments.char_model.run import Trained
    from seqjax.sampling import Sampling

PROGRAM = "python -m experiments.char_model"
Which = Literal["best", "last"]
BLOCK = 32  # characters that are drawn in one program


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a trained model on the text that was held out, or on another one."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    which: Which = "best"
    """The checkpoint."""
    corpus: str | None = None
    """Another corpus, of which all is scored; without, the run's own validation part."""
    window: int = 256
    """Characters of an independent window."""

    def main(self, console: "Console") -> None:
        """Print the scores."""
        from rich.table import Table

        from experiments.char_model.evaluation import Score, streaming, windowed
        from experiments.char_model.run import NGRAMS, load, read_text
        from seqjax.data.ngram import ngram_losses
        from seqjax.data.text import read_corpus

        trained = load(self.run, self.which)
        if self.corpus is None:
            text = read_text(trained.config)
            tokens, name = text.validation, f"{trained.config.corpus}, {text.split}"
            ngrams = ngram_losses(text.train, tokens, NGRAMS, text.vocabulary.size)
        else:
            tokens = trained.vocabulary.encode(read_corpus(self.corpus).text)
            name, ngrams = self.corpus, {}
        _check_length(tokens)
        table = Table(title=f"{name}: {len(tokens) - 1:,} characters, {self.which} checkpoint")
        for column in ("", "nats/char", "bits/char"):
            table.add_column(column, justify="right" if column else "left")
        scores = {
            "streaming, the state carried": streaming(trained.model, trained.params, tokens),
            f"windows of {self.window}": windowed(
                trained.model, trained.params, tokens, self.window
            ),
        } | {f"{order}-gram of the training text": Score(nats) for order, nats in ngrams.items()}
        for label, score in scores.items():
            table.add_row(label, f"{score.nats:.4f}", f"{score.bits:.4f}")
        console.print(table)


@dataclasses.dataclass(frozen=True)
class Sample:
    """Write text, character by character, as it is drawn."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    prime: str = "\n"
    """What the text goes on from."""
    length: int = 500
    """Characters to write."""
    count: int = 1
    """How many texts, drawn side by side."""
    temperature: float = 1.0
    """Below 1 likely characters become likelier; 0 takes the likeliest."""
    top_k: int | None = None
    """Draw from the k likeliest characters only."""
    top_p: float = 1.0
    """Draw from the fewest characters that have this probability together."""
    seed: int = 0
    """From which everything is drawn."""
    which: Which = "best"
    """The checkpoint."""

    def main(self, console: "Console") -> None:
        """Print the text: one stream as it comes, several when they are whole."""
        import numpy as np

        from experiments.char_model.run import load
        from seqjax.sampling import Sampling

        for name in ("length", "count"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        sampling = Sampling(self.temperature, self.top_k, self.top_p)
        if not self.prime:
            raise ValueError("--prime must hold at least one character to go on from")
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
            # blocks of one length compile once; what is too much at the end is cut off
            generation, drawn = generate(
                trained.model, trained.params, generation, key, BLOCK, sampling
            )
            yield np.asarray(drawn)[:, : self.length - done]


@dataclasses.dataclass(frozen=True)
class ScoreText:
    """Say how many bits a text takes, character by character."""

    run: tyro.conf.Positional[Path]
    """The folder of the run."""
    text: str | None = None
    """The text; without, it is read from --file or from standard input."""
    file: Path | None = None
    """A UTF-8 file."""
    per_character: bool = False
    """Print a line for each character."""
    which: Which = "best"
    """The checkpoint."""

    def main(self, console: "Console") -> None:
        """Print the score."""
        import numpy as np

        from experiments.char_model.evaluation import token_losses
        from experiments.char_model.run import load
        from seqjax.data.text import read_corpus

        if self.text is not None:
            text = self.text
        elif self.file is not None:
            text = read_corpus(str(self.file)).text
        else:
            text = sys.stdin.read()
        trained = load(self.run, self.which)
        tokens = trained.vocabulary.encode(text)
        _check_length(tokens)
        losses = token_losses(trained.model, trained.params, tokens) / math.log(2)
        if self.per_character:
            for token, loss in zip(tokens[1:], losses, strict=True):
                print(f"{trained.vocabulary.decode([token])!r}\t{loss:.3f}")
        print(
            f"{losses.mean(dtype=np.float64):.4f} bits per character over {len(losses)} characters "
            f"after the first"
        )


def _check_length(tokens: "np.ndarray") -> None:
    if len(tokens) < 2:
        raise ValueError(
            f"the text must hold at least 2 characters, of which the first is given, got "
            f"{len(tokens)}"
        )


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a character model. A preset gives the options that are not given."""

    config: tyro.conf.OmitArgPrefixes[Config]
    preset: Literal["article", "small", "best"] = "small"
    """article: that of the article of 2016; small: the best in about 100 s on 2 CPU cores; best."""
    out: Path | None = None
    """A new folder for the run; runs/char_model/<time> without."""
    resume: Path | None = None
    """The folder of a run to go on with, with the options it was started with."""

    def main(self, console: "Console") -> None:
        """Train, and print the results."""
        from experiments.char_model.run import read_config
        from experiments.char_model.run import train as train_run

        if self.resume is None:
            config = self.config
            check_model(config)
            folder = RunDirectory("char_model", self.out)
            folder.write_json("config.json", config)
        else:
            config = read_config(self.resume)
            folder = RunDirectory.reopen(self.resume)
        console.print(f"files go to {folder.path}", highlight=False)
        try:
            result = train_run(config, folder, console)
        except StoppedError as stopped:
            console.print(
                f"stopped by {stopped}; go on with {PROGRAM} train --resume {folder.path}",
                highlight=False,
            )
            sys.exit(0)
        console.print_json(json.dumps(result))


def _default_train(arguments: list[str]) -> Train:
    """The options of the preset that is asked for."""
    name = "small"
    for flag, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if flag == "--preset" or flag.startswith("--preset="):
            name = flag.partition("=")[2] or value
    return Train(PRESETS.get(name, PRESETS["small"]))


def main() -> None:
    """Run from the command line; a bad option or file ends with exit code 2, trouble with 1."""
    set_up()
    arguments = sys.argv[1:]
    if "--resume" in arguments and len(arguments) > 3:
        sys.exit("error: --resume DIR goes on with the run's own options; give no others")
    try:
        command = tyro.cli(
            Annotated[Train, tyro.conf.subcommand("train", default=_default_train(arguments))]
            | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
            | Annotated[Sample, tyro.conf.subcommand("sample")]
            | Annotated[ScoreText, tyro.conf.subcommand("score")],
            prog=PROGRAM,
        )
        # imported now, as the rest: --help needs no more than the options
        from rich.console import Console

        command.main(Console())
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (NotFiniteError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
