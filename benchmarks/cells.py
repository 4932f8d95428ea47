"""Parameters, time and memory of a training step of every cell, relative to the LSTM.

::

    python -m benchmarks.cells            measure, some minutes on 2 cores
    python -m benchmarks.cells --table    print docs/cells.md

A training step is the forward and backward pass over ``STEPS`` steps of a batch of ``BATCH``, with
``FEATURES`` inputs and ``UNITS`` units, as one compiled program. It is measured with the methods
``auto`` and ``scan`` of `seqjax.unroll`. All programs are compiled first and then run in turns,
with the two programs of a cell next to each other. Times are medians over repetitions.
``auto/scan`` is the median of the ratios within a repetition: below 1, the derivative of the
library is faster than that of `jax.lax.scan`. For a cell that prefers the scan the ratio is about
1, since both programs are the same. Milliseconds and memory are those of ``auto``; memory is what
XLA allocates for intermediates.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax import Cell, unroll
from seqjax.catalogue import CATALOGUE, Entry
from seqjax.engine.loop import Method
from seqjax.terminal import replace_what_cannot_be_shown

BATCH, STEPS, FEATURES, UNITS = 32, 100, 64, 128
REPETITIONS = 5
METHODS: tuple[Method, Method] = ("auto", "scan")
ENTRIES = tuple(entry for entry in CATALOGUE if not entry.variant)  # one of each class


def parameter_count(entry: Entry) -> int:
    """The number of parameters of a cell."""
    cell, size = entry.make(UNITS), entry.size(UNITS, FEATURES)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), size))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def options(cell: Cell) -> str:
    """The names of the options of a cell, except its sizes and inner cells."""
    sizes = {"units", "size", "cell", "layers", "forward", "backward"}
    fields = dataclasses.fields(cell)  # type: ignore[arg-type] # every concrete cell is one
    names = [field.name for field in fields if field.name not in sizes]
    return listed(names)


def listed(names: list[str]) -> str:
    """Names for a row of the table."""
    return ", ".join(f"`{name}`" for name in names) or "-"


def table() -> str:
    """The catalogue as a Markdown page."""
    lines = [
        "# The cells",
        "",
        f"The number of parameters is for {UNITS} units and {FEATURES} input features, or {UNITS} features",
        "if a cell needs as many features as units. `ConvLSTM` has 8 filters on 8 x 8 positions, and",
        "wrappers contain an LSTM. *`--cell`* is the name in the experiments. *Tested against* names",
        "values of the original implementation in `tests/golden/`, or a plain NumPy loop in",
        "`tests/cells/`; the tests compare values and gradients. With its options, `LSTM` equals",
        "TensorFlow's `BasicLSTMCell`, `LSTMCell`, `LayerNormLSTMCell`, `LayerNormBasicLSTMCell` and",
        "`LSTMBlockCell`. The docstrings explain the options.",
        "",
        "`python -m benchmarks.cells --table` prints this page from `seqjax.catalogue`.",
        "`python -m benchmarks.cells` measures time and memory, with the results in",
        "[cells.txt](../benchmarks/results/cells.txt).",
        "",
        "| cell | `--cell` | source | options | tested against | parameters |",
        "|---|---|---|---|---|---:|",
    ]
    for entry in ENTRIES:
        short = [other.short for other in CATALOGUE if other.name == entry.name and other.short]
        lines.append(
            f"| `{entry.name}` | {listed(short)} | {entry.source} | {options(entry.make(UNITS))} "
            f"| {entry.tested_against} | {parameter_count(entry):,} |"
        )
    return "\n".join(lines)


def compiled_step(entry: Entry, method: Method) -> tuple[Callable[[], Any], int]:
    """A compiled training step, and the bytes of its intermediates."""
    cell, size = entry.make(UNITS), entry.size(UNITS, FEATURES)
    params = cell.init(jax.random.key(0), size)
    xs = entry.draw_inputs(jax.random.key(1), (BATCH, STEPS), size)
    key = jax.random.key(2)

    def loss(params: Any, xs: Any) -> jax.Array:
        bound = entry.bind(cell, params, key, BATCH, UNITS)
        _, ys = unroll(cell, bound, xs, key=key, method=method)
        return jnp.stack([jnp.square(y).sum() for y in jax.tree.leaves(ys)]).sum()

    step = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    memory: Any = step.memory_analysis()
    return lambda: jax.block_until_ready(step(params, xs)), memory.temp_size_in_bytes


def main() -> None:
    """Measure, or print the table."""
    replace_what_cannot_be_shown()
    if sys.argv[1:] == ["--table"]:
        print(table())
        return
    steps: dict[tuple[str, Method], Callable[[], Any]] = {}
    memory = {}
    for entry in ENTRIES:
        for method in METHODS:
            program = entry.name, method
            steps[program], memory[program] = compiled_step(entry, method)
        print(f"compiled {entry.name}", file=sys.stderr)
    seconds: dict[tuple[str, Method], list[float]] = {program: [] for program in steps}
    for _ in range(REPETITIONS):
        for program, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[program].append(time.perf_counter() - began)
    device = jax.devices()[0].device_kind
    print(
        f"batch {BATCH}, {STEPS} steps, {FEATURES} features, {UNITS} units; jax {jax.__version__}"
    )
    print(f"on {device}, median of {REPETITIONS}; x: relative to the LSTM\n")
    print(f"{'cell':28}{'parameters':>12}{'ms':>9}{'x':>7}{'MiB':>9}{'x':>7}{'auto/scan':>11}")
    lstm = "LSTM", METHODS[0]
    for entry in ENTRIES:
        auto, scan = ((entry.name, method) for method in METHODS)
        median = statistics.median(seconds[auto])
        ratios = (a / b for a, b in zip(seconds[auto], seconds[scan], strict=True))
        print(
            f"{entry.name:28}{parameter_count(entry):12,}{1000 * median:9.1f}"
            f"{median / statistics.median(seconds[lstm]):7.2f}{memory[auto] / 2**20:9.1f}"
            f"{memory[auto] / memory[lstm]:7.2f}{statistics.median(ratios):11.2f}"
        )


if __name__ == "__main__":
    main()
