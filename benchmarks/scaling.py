"""The cost of a training step as a function of steps, batch and units, and its compile time.

::

    python -m benchmarks.scaling         about 2 minutes on 2 cores; writes docs/images/scaling.png

The model is that of `benchmarks.training_step` with one LSTM layer. One of steps, batch and units
varies at a time, from ``BASE``. All points of an axis are timed in turns. The fastest repetition
counts, since other processes can only make a step slower. The exponents are those of power laws
through the larger half of the points, where constant costs matter least.
"""

import dataclasses
import itertools
import json
import time
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib.figure
import numpy as np
import tyro
from matplotlib.ticker import NullLocator, ScalarFormatter

from benchmarks.training_step import Config as StepConfig
from benchmarks.training_step import Size, of_jax, ours
from seqjax.terminal import replace_what_cannot_be_shown

BASE = Size(layers=1, units=128, batch=32, steps=100)
GRID = {
    "steps": (25, 50, 100, 200, 400, 800, 1600),
    "batch": (4, 8, 16, 32, 64, 128, 256),
    "units": (32, 64, 128, 256, 512, 1024),
}
AT_MOST = {"steps": 1, "batch": 1, "units": 2}  # the exponents of the number of operations


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure how the cost of a training step grows."""

    repetitions: int = 7
    """The number of repetitions of each point."""
    figure: Path = Path("docs/images/scaling.png")
    """The file for the plot."""
    json: Path | None = None
    """The file for the points."""


class Axis(NamedTuple):
    """The points along one axis.

    Attributes:
      name: the size that varies.
      values: its values.
      seconds: the time of a training step at each value.
      compile_seconds: the compile time at each value.
    """

    name: str
    values: tuple[int, ...]
    seconds: list[float]
    compile_seconds: list[float]

    @property
    def exponent(self) -> float:
        """The exponent of the power law through the larger half of the points."""
        half = len(self.values) // 2
        slope, _ = np.polyfit(np.log(self.values[half:]), np.log(self.seconds[half:]), 1)
        return float(slope)


def measure(name: str, repetitions: int) -> Axis:
    """Time the points of an axis in turns."""
    values, config = GRID[name], StepConfig()
    ways = []
    for value in values:
        size = BASE._replace(**{name: value})
        tokens = np.random.default_rng(0).integers(
            0, config.vocabulary, (2, size.batch, size.steps), dtype=np.int32
        )
        ways.append(of_jax(*ours(size, config, "auto"), (tokens[0], tokens[1])))
    seconds = [float("inf")] * len(ways)
    for repetition, (n, way) in itertools.product(range(repetitions + 1), enumerate(ways)):
        began = time.perf_counter()
        way.run()
        if repetition:  # the first one warms up
            seconds[n] = min(seconds[n], time.perf_counter() - began)
    return Axis(name, values, seconds, [way.compile_seconds or 0.0 for way in ways])


def draw(axes: list[Axis]) -> matplotlib.figure.Figure:
    """Plot the points on logarithmic axes, with a line for the number of operations."""
    figure = matplotlib.figure.Figure(figsize=(10, 3.4), layout="constrained")
    for panel, axis in zip(figure.subplots(1, len(axes), sharey=True), axes, strict=True):
        milliseconds = 1000 * np.array(axis.seconds)
        panel.loglog(axis.values, milliseconds, "o-", label=f"measured: {axis.exponent:.2f}")
        power = AT_MOST[axis.name]
        law = milliseconds[-1] * (np.array(axis.values) / axis.values[-1]) ** power
        panel.loglog(axis.values, law, "--", color="gray", label=f"exponent {power}")
        rest = ", ".join(f"{v} {n}" for n, v in BASE._asdict().items() if n != axis.name)
        panel.set_title(rest.replace("1 layers", "1 layer"), fontsize=9)
        panel.set_xlabel(axis.name)
        panel.set_xticks(axis.values, [str(v) for v in axis.values])
        panel.xaxis.set_minor_locator(NullLocator())
        panel.yaxis.set_major_formatter(ScalarFormatter())
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    figure.axes[0].set_ylabel("ms a training step")
    return figure


def main() -> None:
    """Print the points and plot them."""
    replace_what_cannot_be_shown()
    config = tyro.cli(Config, description=__doc__)
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; LSTM, {BASE}")
    axes = [measure(name, config.repetitions) for name in GRID]
    for axis in axes:
        print(f"\n{axis.name:>8}{'ms':>10}{'compile s':>11}")
        rows = zip(axis.values, axis.seconds, axis.compile_seconds, strict=True)
        for value, seconds, compile_seconds in rows:
            print(f"{value:8}{1000 * seconds:10.2f}{compile_seconds:11.2f}")
        print(f"grows as {axis.name}^{axis.exponent:.2f}")
    draw(axes).savefig(config.figure, dpi=120)
    if config.json is not None:
        config.json.write_text(
            json.dumps([axis._asdict() for axis in axes], indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
