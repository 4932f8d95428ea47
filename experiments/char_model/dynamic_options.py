"""The options of dynamic evaluation, which need no JAX."""

import dataclasses
from typing import Literal, NamedTuple

from experiments.command_line import option
from seqjax.checks import check_number, check_size

Rule = Literal["sgd", "rms"]


class Settings(NamedTuple):
    """How a model learns from the text that it has just scored.

    Attributes:
      rule: the function of `seqjax.dynamic_evaluation`.
      learning_rate: of the rule, at least 0.
      decay: of the rule, towards the trained parameters; at least 0, and at most 1 for ``sgd``.
      chunk: the characters between two steps, at least 1.
    """

    rule: Rule
    learning_rate: float
    decay: float
    chunk: int

    def __str__(self) -> str:
        """The options that give these settings.

        >>> print(Settings("sgd", 0.05, 0.001, 32))
        --dynamic sgd --learning-rate 0.05 --decay 0.001 --chunk 32
        """
        return (
            f"--dynamic {self.rule} --learning-rate {self.learning_rate:g} "
            f"--decay {self.decay:g} --chunk {self.chunk}"
        )


# chosen by tune-dynamic for the preset small, see docs/decisions/0008-dynamic-evaluation.md
DEFAULTS: dict[Rule, Settings] = {
    "sgd": Settings("sgd", 0.4, 1e-3, 32),
    "rms": Settings("rms", 3.2e-3, 5e-3, 128),
}


@dataclasses.dataclass(frozen=True)
class DynamicOptions:
    """Dynamic evaluation: score a chunk, then learn from it."""

    dynamic: Literal["none", "sgd", "rms"] = "none"
    """Let the model learn from each chunk after its score. rms also reads the training text."""
    learning_rate: float | None = None
    """Learning rate of --dynamic. None: the rate chosen for the preset small."""
    decay: float | None = None
    """Part of the distance to the trained parameters that each step of --dynamic moves back. None:
    the decay chosen for the preset small."""
    chunk: int | None = None
    """Characters between two steps of --dynamic. None: 32 for sgd, 128 for rms."""

    @property
    def settings(self) -> Settings | None:
        """The settings; None without dynamic evaluation.

        Raises:
          ValueError: an option is out of range or has no effect.

        >>> print(DynamicOptions("sgd", learning_rate=0.5, decay=0.0, chunk=20).settings)
        --dynamic sgd --learning-rate 0.5 --decay 0 --chunk 20
        """
        names = ("learning_rate", "decay", "chunk")
        given = {n: getattr(self, n) for n in names if getattr(self, n) is not None}
        if self.dynamic == "none":
            if given:
                name = option(next(iter(given)))
                raise ValueError(f"{name} has no effect without --dynamic sgd or rms")
            return None
        settings = DEFAULTS[self.dynamic]._replace(**given)
        owner = f"--dynamic {self.dynamic}"
        for name in ("learning_rate", "decay"):
            value = getattr(settings, name)
            check_number(owner, option(name), value)
            if value < 0:
                raise ValueError(f"{owner}: {option(name)} must be at least 0, got {value}")
        if self.dynamic == "sgd" and settings.decay > 1:
            raise ValueError(f"{owner}: --decay must be at most 1, got {settings.decay}")
        check_size(owner, option("chunk"), settings.chunk)
        return settings


STATIC = DynamicOptions()
