"""How fast a run trains, in each process and in all, and how long it waits for its input."""

from typing import Any, NamedTuple

from experiments.char_model.config import Config
from experiments.processes import Group


class Throughput(NamedTuple):
    """The speed of the processes of a run since its start or resumption.

    Attributes:
      devices: the number of devices in all processes.
      chars_per_second: the training characters per second of each process.
      input_wait_seconds: the seconds that each process waited for its input.
    """

    devices: int
    chars_per_second: list[float]
    input_wait_seconds: list[float]

    @property
    def shown(self) -> str:
        """One line for the console."""
        processes = len(self.chars_per_second)
        each = f", {_span(self.chars_per_second, ',.0f')} in each" if processes > 1 else ""
        devices = f"{self.devices} device{'s' * (self.devices > 1)}"
        of = f" of {processes} processes" if processes > 1 else ""
        return (
            f"trained on {devices}{of} at "
            f"{sum(self.chars_per_second):,.0f} chars/s{each}; waited "
            f"{_span(self.input_wait_seconds, '.2f')} s for input"
        )

    def to_json(self) -> dict[str, Any]:
        """The entry of ``result.json``."""
        return {
            "devices": self.devices,
            "chars_per_second": [round(speed) for speed in self.chars_per_second],
            "input_wait_seconds": [round(seconds, 3) for seconds in self.input_wait_seconds],
        }


class Speed(NamedTuple):
    """The times of this process.

    Attributes:
      start: the step at which it started.
      seconds: the seconds of training.
      waited: the seconds of them that it waited for its input.
    """

    start: int
    seconds: float = 0.0
    waited: float = 0.0

    def after(self, seconds: float, waited: float) -> "Speed":
        """The times after another block."""
        return Speed(self.start, self.seconds + seconds, self.waited + waited)

    def throughput(self, config: Config, step: int, devices: int, group: Group) -> Throughput:
        """Collect the times of the processes at this step."""
        rows = config.batch_size / group.size
        own = (step - self.start) * rows * config.num_steps / max(self.seconds, 1e-9)
        speeds, waited = zip(*group.gather([own, self.waited]), strict=True)
        return Throughput(devices, [*speeds], [*waited])


def _span(values: list[float], style: str) -> str:
    """The smallest and the largest value.

    >>> _span([1.0, 2.0], ".0f"), _span([1.0, 1.0], ".0f")
    ('1 to 2', '1')
    """
    low, high = f"{min(values):{style}}", f"{max(values):{style}}"
    return low if low == high else f"{low} to {high}"
