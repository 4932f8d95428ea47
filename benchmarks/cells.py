"""Parameters, time and memory of a training step of every cell, relative to the LSTM.

::

    python -m seqjax.launch -m benchmarks.cells    measure, 5 minutes on 2 cores
    python -m benchmarks.cells --chunks            measure the mLSTM in chunks, a minute
    python -m benchmarks.cells --table             print docs/cells.md

A training step is the forward and backward pass over ``STEPS`` steps of a batch of ``BATCH``, with
``FEATURES`` inputs and ``UNITS`` units, as one compiled program. It is measured with the methods
``auto`` and ``scan`` of `seqjax.unroll`. All programs are compiled first and then run in turns,
with the two programs of a cell next to each other, in alternating order. The launcher keeps freed
memory; otherwise a program also pays for the memory that the one before it has returned. Times are
medians over repetitions. ``auto/scan`` is the median of the ratios within a repetition: below 1,
the derivative of the library is faster than that of `jax.lax.scan`. For a cell that prefers the
scan the ratio is about 1, since both programs are the same. Milliseconds and memory are those of
``auto``; memory is what XLA allocates for intermediates. A name in lower case is that of
``--cell``, for a cell with options; ``projected_lstm`` has half as many outputs as units.

``--chunks`` measures a training step of an mLSTM of ``HEADS`` heads in chunks of several sizes, and
step by step, with as many input features as units. ``x`` is the median of the ratios to the time
step by step.
"""

import dataclasses
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax import LSTM, MLSTM, Cell, unroll
from seqjax.catalogue import CATALOGUE, Entry
from seqjax.engine.loop import Method
from seqjax.terminal import replace_what_cannot_be_shown

BATCH, STEPS, FEATURES, UNITS = 32, 100, 64, 128
REPETITIONS = 11
HEADS, CHUNK_SIZES = 4, (16, 32, 64, 128)
METHODS: tuple[Method, Method] = ("auto", "scan")
ENTRIES = tuple(entry for entry in CATALOGUE if not entry.variant)  # one of each class


def rows() -> dict[str, Entry]:
    """The cells that are measured: all of the catalogue, and an LSTM with a projection."""
    named = {
        entry.short if entry.variant and entry.short else entry.name: entry for entry in CATALOGUE
    }

    def projected(units: int) -> Cell:
        return LSTM(units, projection_size=units // 2)

    return named | {"projected_lstm": named["LSTM"]._replace(make=projected)}


def parameter_count(entry: Entry) -> int:
    """The number of parameters of a cell."""
    cell, size = entry.make(UNITS), entry.size(UNITS, FEATURES)
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), size))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def options(cell: Cell) -> str:
    """The names of the options of a cell, except its sizes and inner cells."""
    sizes = {"units", "size", "cell", "layers", "members", "forward", "backward"}
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


class Program(NamedTuple):
    """A compiled training step.

    Attributes:
      run: runs the step to its end.
      memory: the bytes of its intermediates.
    """

    run: Callable[[], Any]
    memory: int


def compiled_step(
    cell: Cell, params: Any, xs: Any, method: Method, bind: Callable[[Any], Any]
) -> Program:
    """Compile a training step of a cell; ``bind`` binds a context to its parameters."""

    def loss(params: Any, xs: Any) -> jax.Array:
        _, ys = unroll(cell, bind(params), xs, key=jax.random.key(2), method=method)
        return jnp.stack([jnp.square(y).sum() for y in jax.tree.leaves(ys)]).sum()

    step = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    memory: Any = step.memory_analysis()
    return Program(lambda: jax.block_until_ready(step(params, xs)), memory.temp_size_in_bytes)


def step_of(entry: Entry, method: Method) -> Program:
    """Compile a training step of a cell of the catalogue."""
    cell, size = entry.make(UNITS), entry.size(UNITS, FEATURES)
    params = cell.init(jax.random.key(0), size)
    xs = entry.draw_inputs(jax.random.key(1), (BATCH, STEPS), size)

    def bind(params: Any) -> Any:
        return entry.bind(cell, params, jax.random.key(2), BATCH, UNITS)

    return compiled_step(cell, params, xs, method, bind)


def times(programs: dict[Any, Program]) -> dict[Any, list[float]]:
    """Run all programs in turns, forward and backward; the seconds of each repetition."""
    seconds: dict[Any, list[float]] = {program: [] for program in programs}
    for turn in range(REPETITIONS):
        for program in [*programs][:: (-1) ** turn]:
            began = time.perf_counter()
            programs[program].run()
            seconds[program].append(time.perf_counter() - began)
    return seconds


def measure_chunks() -> None:
    """Print time and memory of the mLSTM, step by step and in chunks."""
    print(f"MLSTM of {HEADS} heads, batch {BATCH}; jax {jax.__version__}")
    print(f"on {jax.devices()[0].device_kind}, median of {REPETITIONS}; x: relative to steps\n")
    print(f"{'steps':>6}{'units':>7}{'chunk':>8}{'ms':>9}{'x':>7}{'MiB':>9}")
    for steps, units in itertools.product((64, 256), (128, 256)):
        xs = jax.random.normal(jax.random.key(1), (BATCH, steps, units), jnp.float32)
        programs: dict[str, Program] = {}
        for size in (None, *(size for size in CHUNK_SIZES if size <= steps)):
            cell = MLSTM(units, heads=HEADS, chunk_size=size or steps)
            params = cell.init(jax.random.key(0), units)
            method: Method = "auto" if size else "scan"
            name = str(size) if size else "steps"
            programs[name] = compiled_step(cell, params, xs, method, lambda params: params)
        seconds = times(programs)
        for name, program in programs.items():
            ratios = (a / b for a, b in zip(seconds[name], seconds["steps"], strict=True))
            print(
                f"{steps:6}{units:7}{name:>8}{1000 * statistics.median(seconds[name]):9.1f}"
                f"{statistics.median(ratios):7.2f}{program.memory / 2**20:9.1f}"
            )


def main() -> None:
    """Measure, or print the table."""
    replace_what_cannot_be_shown()
    if sys.argv[1:] == ["--table"]:
        print(table())
        return
    if sys.argv[1:] == ["--chunks"]:
        measure_chunks()
        return
    programs: dict[tuple[str, Method], Program] = {}
    for name, entry in rows().items():
        for method in METHODS:
            programs[name, method] = step_of(entry, method)
        print(f"compiled {name}", file=sys.stderr)
    seconds = times(programs)
    memory = {key: program.memory for key, program in programs.items()}
    device = jax.devices()[0].device_kind
    print(
        f"batch {BATCH}, {STEPS} steps, {FEATURES} features, {UNITS} units; jax {jax.__version__}"
    )
    print(f"on {device}, median of {REPETITIONS}; x: relative to the LSTM\n")
    print(f"{'cell':28}{'parameters':>12}{'ms':>9}{'x':>7}{'MiB':>9}{'x':>7}{'auto/scan':>11}")
    lstm = "LSTM", METHODS[0]
    for name, entry in rows().items():
        auto, scan = ((name, method) for method in METHODS)
        median = statistics.median(seconds[auto])
        ratios = (a / b for a, b in zip(seconds[auto], seconds[scan], strict=True))
        print(
            f"{name:28}{parameter_count(entry):12,}{1000 * median:9.1f}"
            f"{median / statistics.median(seconds[lstm]):7.2f}{memory[auto] / 2**20:9.1f}"
            f"{memory[auto] / memory[lstm]:7.2f}{statistics.median(ratios):11.2f}"
        )


if __name__ == "__main__":
    main()
