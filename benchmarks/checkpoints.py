"""Time to save and restore a checkpoint: `Checkpoints`, which checks all arrays, and plain orbax.

::

    python -m benchmarks.checkpoints             prints medians of 15 interleaved repetitions

The state is that of the character model's preset `small`, or one array of the same size or larger.
A save in the background returns when the arrays are copied; `waits` is the time until then.
"""

import dataclasses
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import tyro
from rich.console import Console
from rich.table import Table

from experiments.char_model.config import PRESETS, build_model
from experiments.char_model.train import init_state
from seqjax.checkpoint import Checkpoints
from seqjax.terminal import replace_what_cannot_be_shown
from seqjax.types import PyTree

VOCABULARY = 65


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure checkpoints."""

    megabytes: tuple[int, ...] = (16, 256)
    """Sizes of states of one array."""
    repetitions: int = 15
    """Number of repetitions, whose median is printed."""


def small() -> PyTree:
    """The training state of the preset `small`, with the key as plain numbers."""
    config = PRESETS["small"]
    state = init_state(config, build_model(config, VOCABULARY))
    return state._replace(key=jax.random.key_data(state.key))


def with_checks(folder: Path, state: PyTree) -> tuple[Callable[[], None], Callable[[], None]]:
    """Save and restore by `Checkpoints`."""

    def save() -> None:
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(1, state, {"config": {}}, 0.5)

    def restore() -> None:
        with Checkpoints(folder) as checkpoints:
            jax.block_until_ready(checkpoints.restore(state).state)

    return save, restore


def wait_in_background(folder: Path, state: PyTree) -> float:
    """The time that a save in the background takes from the caller, in seconds."""
    with Checkpoints(folder, background=True) as checkpoints:
        return seconds(lambda: checkpoints.save(2, state, {"config": {}}, 0.5))


def plain_orbax(folder: Path, state: PyTree) -> tuple[Callable[[], None], Callable[[], None]]:
    """Save and restore by orbax's `Checkpointer`."""
    path = folder / "1"

    def save() -> None:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            arguments = ocp.args.Composite(
                state=ocp.args.StandardSave(state), about=ocp.args.JsonSave({"config": {}})
            )
            checkpointer.save(path, args=arguments)

    def restore() -> None:
        like = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), state)
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            arguments = ocp.args.Composite(
                state=ocp.args.StandardRestore(like), about=ocp.args.JsonRestore()
            )
            jax.block_until_ready(checkpointer.restore(path, args=arguments).state)

    return save, restore


def seconds(act: Callable[[], None]) -> float:
    """The time of one call."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def main(config: Config) -> None:
    """Print the table."""
    states = {"char_model small": small()} | {
        f"one array, {size} MB": {"a": jax.random.normal(jax.random.key(0), (size * 250_000,))}
        for size in config.megabytes
    }
    table = Table(title=f"milliseconds, medians of {config.repetitions} interleaved repetitions")
    for column in ("state", "save", "orbax", "ratio", "waits", "restore", "orbax", "ratio"):
        table.add_column(column, justify="right" if column != "state" else "left")
    with tempfile.TemporaryDirectory() as temporary:
        for name, state in states.items():
            state = jax.tree.map(jnp.asarray, state)
            folders = Path(temporary) / "checks", Path(temporary) / "orbax"
            ways = with_checks(folders[0], state), plain_orbax(folders[1], state)
            times: list[list[float]] = [[], [], [], []]
            waits = []
            for repetition in range(config.repetitions + 1):
                for n, way in enumerate(ways):
                    folders[n].mkdir()
                    for k, act in enumerate(way):
                        spent = seconds(act)
                        if repetition:  # the first warms up
                            times[2 * k + n].append(spent)
                    if n == 0:
                        waits.append(wait_in_background(folders[0], state))
                    shutil.rmtree(folders[n])
            cells = []
            for checked, plain in (times[:2], times[2:]):
                a, b = statistics.median(checked), statistics.median(plain)
                cells += [f"{1000 * a:.0f}", f"{1000 * b:.0f}", f"{a / b:.2f}"]
            cells.insert(3, f"{1000 * statistics.median(waits[1:]):.0f}")
            table.add_row(name, *cells)
    Console().print(table)


if __name__ == "__main__":
    replace_what_cannot_be_shown()
    main(tyro.cli(Config, prog="python -m benchmarks.checkpoints"))
