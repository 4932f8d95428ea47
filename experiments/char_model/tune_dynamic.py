"""The command that chooses the settings of dynamic evaluation on held-out training text."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from experiments.char_model.dynamic_options import DEFAULTS, Rule, Settings

if TYPE_CHECKING:
    from rich.console import Console

    from seqjax.types import PyTree

TUNED_ON = 50_000  # characters of the held-out text, at its start
SHORTEST = 16  # characters of a chunk; shorter ones take longer


@dataclasses.dataclass(frozen=True)
class TuneDynamic:
    """Choose the settings of dynamic evaluation by a run of train --tuning."""

    run: tyro.conf.Positional[Path]
    """Folder of a run that was trained with --tuning."""
    rule: Rule = "rms"
    """Rule whose settings are chosen."""

    def main(self, console: "Console") -> None:
        """Print the score of each setting and the options of the best."""
        import numpy as np

        from experiments.char_model.dynamic import dynamic_losses, gradient_statistics, make_rms
        from experiments.char_model.evaluation import streaming
        from experiments.char_model.text import read_text
        from experiments.char_model.trained import load
        from seqjax.dynamic_evaluation import sgd

        trained = load(self.run)
        if not trained.config.tuning:
            raise ValueError(
                f"{self.run} was trained on its whole training part; settings chosen by its "
                "validation text would score too well on it; give a run of train --tuning"
            )
        model, params = trained.model, trained.params
        text = read_text(trained.config, trained.text)
        held_out = text.validation[: TUNED_ON + 1]

        @functools.cache
        def statistics(chunk: int) -> "PyTree":
            return gradient_statistics(model, params, text.train, chunk)

        def score(settings: Settings) -> float:
            if settings.rule == "rms":
                rule = make_rms(settings, statistics(settings.chunk))
            else:
                rule = sgd(settings.learning_rate, settings.decay)
            losses = dynamic_losses(model, params, held_out, rule, settings.chunk)
            nats = float(losses.mean(dtype=np.float64))
            console.print(f"{nats:.4f} nats with {settings}", highlight=False, soft_wrap=True)
            return nats if math.isfinite(nats) else math.inf

        static = streaming(model, params, held_out).nats
        console.print(
            f"{trained.config.corpus}, {text.split}: {static:.4f} nats per character without "
            f"dynamic evaluation, over {len(held_out) - 1:,} characters",
            highlight=False,
            soft_wrap=True,
        )
        best, nats = climb(score, DEFAULTS[self.rule])
        console.print(f"best: {nats:.4f} nats with {best}", highlight=False, soft_wrap=True)


def climb(score: Callable[[Settings], float], start: Settings) -> tuple[Settings, float]:
    """Double or halve one setting after another while that lowers the score.

    Returns:
      The best settings and their score.

    >>> from math import log
    >>> best, _ = climb(
    ...     lambda s: abs(log(s.learning_rate / 0.4)) + abs(s.chunk - 64),
    ...     Settings("sgd", 0.1, 0.0, 32),
    ... )
    >>> print(best)
    --dynamic sgd --learning-rate 0.4 --decay 0 --chunk 64
    """
    scores = {start: score(start)}
    best, before = start, None
    while best != before:
        before = best
        for name in ("learning_rate", "decay", "chunk"):
            for factor in (2, 0.5):
                while True:
                    value = type(getattr(best, name))(getattr(best, name) * factor)
                    settings = best._replace(**{name: value})
                    if settings in scores or not _is_valid(settings):
                        break
                    scores[settings] = score(settings)
                    if not scores[settings] < scores[best]:
                        break
                    best = settings
    return best, scores[best]


def _is_valid(settings: Settings) -> bool:
    return settings.chunk >= SHORTEST and (settings.rule == "rms" or settings.decay <= 1)
