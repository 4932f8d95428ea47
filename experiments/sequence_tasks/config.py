"""The options of the experiment, and its presets."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.cells import CellName
from experiments.command_line import check_learning_rate, check_seed, check_sizes
from seqjax.checks import check_rate, check_size

TaskName = Literal["reversal", "sorting", "addition"]
MechanismName = Literal["none", "additive", "general", "location", "monotonic"]
Preset = Literal["full", "quick"]

PRESETS: dict[Preset, dict[str, Any]] = {
    "full": {
        "tasks": ("reversal", "sorting", "addition"),
        "mechanisms": ("none", "additive", "general", "location", "monotonic"),
        "seeds": 2,
    },
    "quick": {"tasks": ("reversal",), "mechanisms": ("none", "location"), "seeds": 1},
}


class Trial(NamedTuple):
    """One mechanism to train on one task.

    Attributes:
      task: the name of the task.
      length: the largest length in training.
      mechanism: the name of the attention mechanism.
      steps: the number of training steps.
    """

    task: TaskName
    length: int
    mechanism: MechanismName
    steps: int


@dataclasses.dataclass(frozen=True)
class Config:
    """Train encoder-decoder models on short sequences, and test them on longer ones."""

    preset: Preset = "full"
    """Sets the tasks, mechanisms and seeds that are not given."""
    tasks: tuple[TaskName, ...] = ()
    """Tasks to train on."""
    mechanisms: tuple[MechanismName, ...] = ()
    """Attention mechanisms of the decoder."""
    seeds: int | None = None
    """Number of seeds, trained in one batch, each with its own data."""
    seed: int = 0
    """Random seed from which all seeds are derived."""
    length: int | None = None
    """Largest length in training. Defaults: reversal 10, sorting 10, addition 3 digits."""
    reach: int = 2
    """Test every length up to this multiple of the largest length in training."""
    cell: CellName = "gru"
    """Recurrent cell of encoder and decoder: a name, or an import path."""
    units: int = 64
    """Units of the decoder, and of both directions of the encoder together."""
    steps: int | None = None
    """Number of training steps. Defaults: reversal 1500, sorting 1500, addition 3000."""
    batch_size: int = 32
    """Examples per training step; no example is repeated."""
    learning_rate: float = 1e-2
    """Initial learning rate of Adam; decays to 0 along a cosine. Gradients are clipped to 1."""
    label_smoothing: float = 0.0
    """The share of the target distribution that is uniform over all tokens."""
    out: Path | None = None
    """New folder for the results. None: runs/sequence_tasks/<time>."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"--preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        for name, value in PRESETS[self.preset].items():
            if not getattr(self, name) and getattr(self, name) != 0:
                object.__setattr__(self, name, value)
        for name in ("tasks", "mechanisms"):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"--{name} must hold no name twice, got {list(values)}")
        check_sizes("sequence_tasks", self, "seeds", "units", "batch_size", "reach")
        for name in ("length", "steps"):
            if getattr(self, name) is not None:
                check_size("sequence_tasks", f"--{name}", getattr(self, name))
        if self.units % 2:
            raise ValueError(
                f"--units must be even, half for each direction of the encoder, got {self.units}"
            )
        check_rate("sequence_tasks", "--label-smoothing", self.label_smoothing)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        from experiments.sequence_tasks.models import build_model

        for trial in self.trials:
            build_model(self, trial)

    @property
    def trials(self) -> list[Trial]:
        """The trials in order."""
        from experiments.sequence_tasks.models import TASKS

        return [
            Trial(
                task, self.length or TASKS[task].length, mechanism, self.steps or TASKS[task].steps
            )
            for task in self.tasks
            for mechanism in self.mechanisms
        ]
