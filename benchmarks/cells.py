"""Parameters, time and memory of a training step of every cell, beside the LSTM's.

    python -m benchmarks.cells            measure, about 80 s on 2 cores
    python -m benchmarks.cells --table    print docs/cells.md

A step is the forward and backward pass over `STEPS` steps of a batch of `BATCH`, with `FEATURES`
inputs and `UNITS` units, as one jitted program. All programs are compiled first and then run in
turns; the median of the repetitions counts. Memory is what XLA allots for the intermediates.
"""

import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import seqjax
from seqjax import Cell, unroll

BATCH, STEPS, FEATURES, UNITS = 32, 100, 64, 128
REPETITIONS = 5


class Entry(NamedTuple):
    """A cell of the catalogue."""

    cell: Cell
    source: str
    equals: str  # what its equality is held to
    input_size: int | tuple[int, ...] = FEATURES
    inputs: Callable[[jax.Array], Any] | None = None  # where xs is not one array of features

    def draw_inputs(self, key: jax.Array) -> Any:
        """Draw ``[BATCH, STEPS, ...]``."""
        if self.inputs is not None:
            return self.inputs(key)
        size = self.input_size
        return jax.random.normal(
            key, (BATCH, STEPS, *(size if isinstance(size, tuple) else (size,)))
        )


SPECTRUM: dict[str, Any] = {"frequencies": FEATURES, "window": 16, "stride": 16}
INNER = seqjax.LSTM(UNITS)


def timed_inputs(key: jax.Array) -> seqjax.TimedInputs:
    """Features and the times that they were seen at."""
    times = jnp.broadcast_to(jnp.arange(STEPS, dtype=jnp.float32), (BATCH, STEPS))
    return seqjax.TimedInputs(times, jax.random.normal(key, (BATCH, STEPS, FEATURES)))


def starting_inputs(key: jax.Array) -> seqjax.ResetInputs:
    """Features of rows with a start every 25 steps."""
    starts = jnp.broadcast_to(jnp.arange(STEPS) % 25 == 0, (BATCH, STEPS))
    return seqjax.ResetInputs(starts, jax.random.normal(key, (BATCH, STEPS, FEATURES)))


# The core of TensorFlow 1, its contributed cells, what came since, and what goes around a cell.
CATALOGUE = (
    Entry(
        seqjax.BasicRNN(UNITS), "Elman 1990", "`core_basic_rnn*`, `torch_rnn*`, `keras_simplernn*`"
    ),
    Entry(
        seqjax.GRU(UNITS),
        "Cho et al. 2014",
        "`core_gru*`, `contrib_grublockcellv2`, `torch_gru*`, `keras_gru*`",
    ),
    Entry(
        INNER,
        "Hochreiter and Schmidhuber 1997",
        "`core_lstm*`, `core_basic_lstm*`, `core_*lstmblock*`, `contrib_layernormlstm*`, `contrib_lnbasiclstm`, `torch_lstm*`, `keras_lstm*`",
    ),
    Entry(seqjax.Stack([INNER, INNER]), "", "`core_multi*`, `torch_*_2l_*`"),
    Entry(seqjax.CoupledInputForgetGateLSTM(UNITS), "Greff et al. 2017", "`contrib_cifg*`"),
    Entry(seqjax.TimeFreqLSTM(INNER, **SPECTRUM), "Li et al. 2015", "`contrib_timefreq*`"),
    Entry(seqjax.GridLSTM(UNITS, **SPECTRUM), "Kalchbrenner et al. 2016", "`contrib_gridlstm*`"),
    Entry(
        seqjax.BidirectionalGridLSTM(seqjax.GridLSTM(UNITS, **SPECTRUM)),
        "Sainath and Li 2016",
        "`contrib_bigridlstm*`",
    ),
    Entry(seqjax.AttentionCell(INNER, length=10), "Cheng et al. 2016", "`contrib_attn*`"),
    Entry(seqjax.UGRNN(UNITS), "Collins et al. 2017", "`contrib_ugrnn`"),
    Entry(seqjax.IntersectionRNN(FEATURES), "Collins et al. 2017", "`contrib_intersection`"),
    Entry(seqjax.NAS(UNITS), "Zoph and Le 2017", "`contrib_nas`"),
    Entry(seqjax.PhasedLSTM(UNITS), "Neil et al. 2016", "`contrib_phased`", inputs=timed_inputs),
    Entry(
        seqjax.ConvLSTM((8, 8, 1), 8, (3, 3)), "Shi et al. 2015", "`contrib_conv2dlstm`", (8, 8, 1)
    ),
    Entry(seqjax.GLSTM(UNITS, groups=4), "Kuchaiev and Ginsburg 2017", "`contrib_glstm`"),
    Entry(seqjax.SRU(UNITS), "Lei et al. 2017", "`contrib_sru`"),
    Entry(seqjax.IndRNN(UNITS), "Li et al. 2018", "`contrib_indrnn`"),
    Entry(seqjax.IndyGRU(UNITS), "Li et al. 2018", "NumPy loop"),
    Entry(seqjax.IndyLSTM(UNITS), "Gonnet and Deselaers 2019", "`contrib_indylstm`"),
    Entry(seqjax.MinimalRNN(UNITS), "Chen et al. 2018", "`contrib_minimalrnn`"),
    Entry(seqjax.CFN(UNITS), "Laurent and von Brecht 2017", "NumPy loop"),
    Entry(seqjax.WeightNorm(INNER), "Salimans and Kingma 2016", "`contrib_weightnormlstm*`"),
    Entry(seqjax.GridRNN(INNER), "Kalchbrenner et al. 2016", "`contrib_grid1*`, `contrib_grid2*`"),
    Entry(seqjax.MGU(UNITS), "Zhou et al. 2016", "NumPy loop"),
    Entry(seqjax.Mogrifier(INNER), "Melis et al. 2020", "NumPy loop"),
    Entry(seqjax.LRU(UNITS, UNITS), "Orvieto et al. 2023", "NumPy loop"),
    Entry(seqjax.RGLRU(FEATURES), "De et al. 2024", "NumPy loop"),
    Entry(seqjax.MinGRU(UNITS), "Feng et al. 2024", "NumPy loop"),
    Entry(seqjax.MinLSTM(UNITS), "Feng et al. 2024", "NumPy loop"),
    Entry(seqjax.SLSTM(UNITS), "Beck et al. 2024", "NumPy loop"),
    Entry(seqjax.MLSTM(UNITS), "Beck et al. 2024", "NumPy loop"),
    Entry(seqjax.Dropout(INNER, 0.1, 0.1, 0.1), "Gal and Ghahramani 2016", "`core_dropout*`"),
    Entry(seqjax.Zoneout(INNER, rate=0.1), "Krueger et al. 2017", "NumPy loop"),
    Entry(seqjax.Reset(INNER), "", "one row a sequence", inputs=starting_inputs),
    Entry(seqjax.WithState(INNER), "", "the state of each prefix"),
    Entry(seqjax.Residual(seqjax.LSTM(FEATURES)), "Wu et al. 2016", "`core_residual*`"),
    Entry(seqjax.Highway(seqjax.LSTM(FEATURES)), "Srivastava et al. 2015", "`contrib_highway*`"),
    Entry(seqjax.InputProjection(INNER, 32), "", "`contrib_inputprojection`"),
    Entry(seqjax.OutputProjection(INNER, 32), "", "`contrib_outputprojection`"),
    Entry(seqjax.LanguageModel(INNER, FEATURES), "Mikolov et al. 2010", "NumPy loop"),
)


def parameter_count(entry: Entry) -> int:
    """How many numbers a cell learns."""
    params = jax.eval_shape(lambda: entry.cell.init(jax.random.key(0), entry.input_size))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def options(cell: Cell) -> str:
    """The names of a cell's options, its sizes and inner cells left out."""
    sizes = {"units", "size", "cell", "layers"}
    fields = dataclasses.fields(cell)  # type: ignore[arg-type] # every concrete cell is one
    names = [field.name for field in fields if field.name not in sizes]
    return ", ".join(f"`{name}`" for name in names) or "-"


def table() -> str:
    """The catalogue as Markdown."""
    lines = [
        "# The cells",
        "",
        f"Parameters are those of {UNITS} units on {FEATURES} input features, of `ConvLSTM` those of",
        "8 filters on 8 x 8 places; cells around a cell are counted around an LSTM. *Held to* names",
        "the vectors of the originals in `tests/golden/`, or the plain NumPy loop in `tests/cells/`,",
        "that values and gradients are tested against. The options of `LSTM` make it TensorFlow's",
        "`BasicLSTMCell`, `LSTMCell`, `LayerNormLSTMCell`, `LayerNormBasicLSTMCell` and",
        "`LSTMBlockCell`. What each option does stands in the docstring.",
        "",
        "Printed by `python -m benchmarks.cells --table`; without `--table` it measures, as in",
        "[cells.txt](../benchmarks/results/cells.txt).",
        "",
        "| cell | source | options | held to | parameters |",
        "|---|---|---|---|---:|",
    ]
    for entry in CATALOGUE:
        name = type(entry.cell).__name__
        lines.append(
            f"| `{name}` | {entry.source} | {options(entry.cell)} | {entry.equals} "
            f"| {parameter_count(entry):,} |"
        )
    return "\n".join(lines)


def compiled_step(entry: Entry) -> tuple[Callable[[], Any], int]:
    """A training step ready to run, and the bytes of its intermediates."""
    params = entry.cell.init(jax.random.key(0), entry.input_size)
    xs = entry.draw_inputs(jax.random.key(1))
    key = jax.random.key(2)

    def loss(params: Any, xs: Any) -> jax.Array:
        _, ys = unroll(entry.cell, params, xs, key=key)
        return jnp.stack([jnp.square(y).sum() for y in jax.tree.leaves(ys)]).sum()

    step = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    memory: Any = step.memory_analysis()
    return lambda: jax.block_until_ready(step(params, xs)), memory.temp_size_in_bytes


def main() -> None:
    """Measure, or print the table."""
    if sys.argv[1:] == ["--table"]:
        print(table())
        return
    steps, memory = {}, {}
    for entry in CATALOGUE:
        name = type(entry.cell).__name__
        steps[name], memory[name] = compiled_step(entry)
        print(f"compiled {name}", file=sys.stderr)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(REPETITIONS):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    device = jax.devices()[0].device_kind
    print(
        f"batch {BATCH}, {STEPS} steps, {FEATURES} features, {UNITS} units; jax {jax.__version__}"
    )
    print(f"on {device}, median of {REPETITIONS}; x: beside the LSTM\n")
    print(f"{'cell':28}{'parameters':>12}{'ms':>9}{'x':>7}{'MiB':>9}{'x':>7}")
    for entry in CATALOGUE:
        name = type(entry.cell).__name__
        print(
            f"{name:28}{parameter_count(entry):12,}{1000 * medians[name]:9.1f}"
            f"{medians[name] / medians['LSTM']:7.2f}{memory[name] / 2**20:9.1f}"
            f"{memory[name] / memory['LSTM']:7.2f}"
        )


if __name__ == "__main__":
    main()
