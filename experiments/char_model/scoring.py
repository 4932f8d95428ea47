"""The commands that score texts: evaluate and score."""

import dataclasses
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from experiments.char_model.dynamic_options import STATIC, DynamicOptions
from seqjax.checks import check_rate

if TYPE_CHECKING:
    import numpy as np
    from rich.console import Console

Which = Literal["best", "last"]


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Score a trained model on its validation text or on another corpus."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs. Several models are scored one by one, and together as an ensemble, which
    averages their log-probabilities."""
    which: Which = "best"
    """Checkpoint to read."""
    corpus: str | None = None
    """Another corpus, scored as a whole. None: the validation part of the run's corpus."""
    window: int = 256
    """Characters per independent window."""
    mix_ngrams: float = 0.0
    """Weight of 7-grams of the training text in a mixture with the model, such as 0.2."""
    dynamic: tyro.conf.OmitArgPrefixes[DynamicOptions] = STATIC

    def main(self, console: "Console") -> None:
        """Print the scores."""
        from rich.table import Table

        from experiments.char_model.baselines import baselines, mixed, ngrams_mixed
        from experiments.char_model.dynamic import learn_and_score
        from experiments.char_model.evaluation import (
            Score,
            mean_score,
            rows_for,
            token_losses,
            windowed,
        )
        from experiments.char_model.text import read_text
        from experiments.char_model.trained import load, together
        from seqjax.data.text import read_corpus

        settings = self.dynamic.settings
        check_rate("evaluate", "--mix-ngrams", self.mix_ngrams)
        members = [load(run, self.which) for run in self.runs]
        trained = together(members)
        size, train = trained.vocabulary.size, None
        if self.corpus is None or self.mix_ngrams:
            text = read_text(trained.config, trained.text)
            tokens, train = text.validation, text.train
            name = f"{trained.config.corpus}, {text.split}"
        if self.corpus is not None:
            tokens, name = trained.vocabulary.encode(read_corpus(self.corpus).text), self.corpus
        _check_length(tokens)

        rows = rows_for(tokens)
        carried = "streaming, state carried" + f", in {rows} parts" * (rows > 1)
        losses, together_as = [], ""
        if len(members) > 1:
            for run, member in zip(self.runs, members, strict=True):
                of_member = token_losses(member.model, member.params, tokens, rows)
                losses.append((f"{run}, {carried}", of_member))
            together_as = f"ensemble of {len(members)}, "
        of_all = token_losses(trained.model, trained.params, tokens, rows)
        losses.append((together_as + carried, of_all))
        if settings:
            learned = learn_and_score(settings, trained, tokens, console)
            losses.append((f"{together_as}dynamic, {settings.rule}", learned))
        scores = [(label, mean_score(of_tokens)) for label, of_tokens in losses]
        of_windows = windowed(trained.model, trained.params, tokens, self.window)
        scores.append((f"{together_as}windows of {self.window}", of_windows))
        if self.mix_ngrams and train is not None:
            of_ngrams = ngrams_mixed(train, tokens, size)
            for label, of_tokens in losses:
                both = mixed(of_tokens, of_ngrams, self.mix_ngrams)
                label += f", and 7-grams with weight {self.mix_ngrams:g}"
                scores.append((label, mean_score(both)))
        if self.corpus is None and train is not None:
            floors = baselines(train, tokens, size, trained.config.ngrams).nats
            for order, nats in floors.items():
                scores.append((f"{order}-gram of the training text", Score(nats)))
        steps = ", ".join(str(member.step) for member in members)
        table = Table(
            title=f"{name}: {len(tokens) - 1:,} characters, step{'s' * (len(members) > 1)} {steps}"
        )
        for column in ("", "nats/char", "bits/char"):
            table.add_column(column, justify="right" if column else "left")
        for label, score in scores:
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
