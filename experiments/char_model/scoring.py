"""The commands that score texts: evaluate and score."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.char_model.dynamic_options import STATIC, DynamicOptions

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

Which = Literal["best", "last"]


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a trained model on its validation text or on another corpus."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    which: Which = "best"
    """Checkpoint to read."""
    corpus: str | None = None
    """Another corpus, scored as a whole. None: the validation part of the run's corpus."""
    window: int = 256
    """Characters per independent window."""
    dynamic: tyro.conf.OmitArgPrefixes[DynamicOptions] = STATIC

    def main(self, console: "Console") -> None:
        """Print the scores."""
        import numpy as np
        from rich.table import Table

        from experiments.char_model.baselines import baselines
        from experiments.char_model.dynamic import learn_and_score
        from experiments.char_model.evaluation import Score, rows_for, streaming, windowed
        from experiments.char_model.text import read_text
        from experiments.char_model.trained import load
        from seqjax.data.text import read_corpus

        settings = self.dynamic.settings
        trained = load(self.run, self.which)
        if self.corpus is None:
            text = read_text(trained.config, trained.text)
            tokens, name = text.validation, f"{trained.config.corpus}, {text.split}"
            size, ngrams = text.vocabulary.size, trained.config.ngrams
            floors = baselines(text.train, tokens, size, ngrams).nats
        else:
            tokens = trained.vocabulary.encode(read_corpus(self.corpus).text)
            name, floors = self.corpus, {}
        _check_length(tokens)
        table = Table(title=f"{name}: {len(tokens) - 1:,} characters, step {trained.step}")
        for column in ("", "nats/char", "bits/char"):
            table.add_column(column, justify="right" if column else "left")
        rows = rows_for(tokens)
        carried = "streaming, state carried" + f", in {rows} parts" * (rows > 1)
        scores = {
            carried: streaming(trained.model, trained.params, tokens, rows),
            f"windows of {self.window}": windowed(
                trained.model, trained.params, tokens, self.window
            ),
        }
        if settings:
            learned = learn_and_score(settings, trained, tokens, console)
            scores[f"dynamic, {settings.rule}"] = Score(float(learned.mean(dtype=np.float64)))
        scores |= {
            f"{order}-gram of the training text": Score(nats) for order, nats in floors.items()
        }
        for label, score in scores.items():
            table.add_row(label, f"{score.nats:.4f}", f"{score.bits:.4f}")
        console.print(table)
        if settings:
            console.print(f"dynamic: {settings}", highlight=False)


@dataclasses.dataclass(frozen=True)
class ScoreText:
    """Score a text in bits per character."""

    run: tyro.conf.Positional[Path]
    """Folder of the run."""
    text: str | None = None
    """Text to score. None: read it from --file or from standard input."""
    file: Path | None = None
    """UTF-8 file to score."""
    per_character: bool = False
    """Print a line for each character."""
    which: Which = "best"
    """Checkpoint to read."""
    dynamic: tyro.conf.OmitArgPrefixes[DynamicOptions] = STATIC

    def main(self, console: "Console") -> None:
        """Print the score."""
        import numpy as np

        from experiments.char_model.dynamic import learn_and_score
        from experiments.char_model.evaluation import token_losses
        from experiments.char_model.trained import load
        from seqjax.data.text import read_corpus

        settings = self.dynamic.settings
        if self.text is not None and self.file is not None:
            raise ValueError("--text and --file both give a text to score; give one of them")
        if self.text is not None:
            text = self.text
        elif self.file is not None:
            text = read_corpus(str(self.file)).text
        else:
            text = sys.stdin.read().removeprefix("\ufeff")  # a byte order mark
        trained = load(self.run, self.which)
        tokens = trained.vocabulary.encode(text)
        _check_length(tokens)
        nats = (
            learn_and_score(settings, trained, tokens, console)
            if settings
            else token_losses(trained.model, trained.params, tokens)
        )
        losses = nats / math.log(2)
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
            f"the text must hold at least 2 characters, because the first is not scored, got "
            f"{len(tokens)}; give a longer text"
        )
