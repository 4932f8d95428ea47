"""The examples, each with its expected and its measured value."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import seqjax
from experiments.article_examples.config import Config
from experiments.run_directory import RunDirectory
from seqjax import GRU, LSTM, BasicRNN, Bidirectional, Dropout, OutputProjection, Stack, unroll
from seqjax.data import ListSource, Loader, Padded, Report, plan
from seqjax.data.encoding import encode
from seqjax.data.schema import Feature, Schema
from seqjax.truncation import chunks, truncated_unroll
from seqjax.types import Array

# make_example([1, 2, 3], [0, 1, 0]) of the guide, serialized deterministically by TensorFlow 2.21
EXAMPLE_OF_TENSORFLOW = (
    "0a110a0f0a066c656e67746812051a030a0103"
    "12420a1f0a066c6162656c7312150a051a030a01000a051a030a01010a051a030a0100"
    "0a1f0a06746f6b656e7312150a051a030a01010a051a030a01020a051a030a0103"
)
FRAMING = 16  # bytes that a TFRecord adds to each message
CELLS = {  # from names in the guide's list to names in seqjax
    "BasicRNNCell": "BasicRNN",
    "GRUCell": "GRU",
    "BasicLSTMCell": "LSTM",
    "LSTMCell": "LSTM",
    "MultiRNNCell": "Stack",
    "DropoutWrapper": "Dropout",
    "CoupledInputForgetGateLSTMCell": "CoupledInputForgetGateLSTM",
    "TimeFreqLSTMCell": "TimeFreqLSTM",
    "GridLSTMCell": "GridLSTM",
    "AttentionCellWrapper": "AttentionCell",
    "LSTMBlockCell": "LSTM",
}


class Outcome(NamedTuple):
    """The result of an example.

    Attributes:
      expected: the expected value, a number or a nested list of numbers.
      measured: the value that the library computes, of the same structure.
    """

    expected: Any
    measured: Any


def sequence_example(seed: int) -> Outcome:
    """The bytes of a SequenceExample with tokens, labels and their length."""
    schema = Schema(
        context={"length": Feature(np.int32)},
        sequence={"labels": Feature(np.int32), "tokens": Feature(np.int32)},
    )
    example = {"length": 3, "tokens": [1, 2, 3], "labels": [0, 1, 0]}
    message, _ = encode(schema, example, "example")
    return Outcome(EXAMPLE_OF_TENSORFLOW, message.hex())


def record_size(seed: int) -> Outcome:
    """The size of a text as records of 20 characters, relative to its own bytes."""
    schema = Schema(sequence={"x": Feature(np.uint8)})
    texts = np.random.default_rng(seed).integers(97, 123, (1_000, 20), np.uint8)
    size = sum(len(encode(schema, {"x": x}, "example")[0]) + FRAMING for x in texts)
    return Outcome(10, size / texts.nbytes)


def padded_batch(seed: int) -> Outcome:
    """Sequences of 0 to 4 steps, padded to one batch."""
    source = ListSource([{"y": np.arange(1, n + 1)} for n in range(5)], {"y"})
    (batch,) = Loader(source, Padded(batch_size=5), epochs=1)
    return Outcome([[*range(1, n + 1)] + [0] * (4 - n) for n in range(5)], batch.features["y"])


def long_sequence(seed: int) -> Outcome:
    """The number of batches that one sequence of 1,000 steps lengthens, among many of about 20."""
    lengths = np.random.default_rng(seed).geometric(1 / 20, size=6_400)
    lengths[1234] = 1_000
    batches = plan(lengths, [len(lengths)], Padded(batch_size=32), seed=seed)
    return Outcome(1, sum(int(lengths[batch].max()) == 1_000 for batch in batches))


def padding_share(seed: int) -> Outcome:
    """The fraction of padding if all rows have the same length, and if each batch has its own."""
    lengths = np.random.default_rng(seed).geometric(1 / 20, size=6_400)
    lengths[1234] = 1_000
    batches = plan(lengths, [len(lengths)], Padded(batch_size=32), seed=seed)
    report = Report.of_plan(batches, lengths, Padded(batch_size=32))
    widths = [int(lengths[batch].max()) * len(batch) for batch in batches]
    total = lengths.sum()
    shares = [1 - total / (1_000 * len(lengths)), 1 - total / sum(widths)]
    one_length = 1 - report.steps / (report.longest * report.examples)
    return Outcome(shares, [one_length, 1 - report.steps / report.slots])


def lengths_freeze(seed: int) -> Outcome:
    """Rows of 13 and 20 steps with lengths: outputs after step 13 are zero, and the state is kept.

    The values are the largest output after step 13, the error of the state, and whether the state
    is wrong (1) or right (0) if the lengths are not given.
    """
    cell, (params_key, key) = LSTM(64), jax.random.split(jax.random.key(seed))
    params = cell.init(params_key, input_size=128)
    xs = jax.random.normal(key, (2, 20, 128)).at[0, 13:].set(0.0)
    state, ys = unroll(cell, params, xs, lengths=jnp.array([13, 20]))
    alone, _ = unroll(cell, params, xs[0, :13])
    careless, _ = unroll(cell, params, xs)
    past, off = jnp.abs(ys[0, 13:]).max(), _distance(state.h[0], alone.h)
    return Outcome([0, 0, 1], [past, off, jnp.sign(_distance(careless.h[0], alone.h))])


def dynamic_rnn(seed: int) -> Outcome:
    """The shape of the outputs of 64 units on rows of 10 and 6 steps, and the output at [1, 7]."""
    cell, (params_key, key) = LSTM(64), jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(key, (2, 10, 8)).at[1, 6:].set(0.0)
    params = cell.init(params_key, input_size=8)
    _, ys = unroll(cell, params, xs, lengths=jnp.array([10, 6]))
    return Outcome([[2, 10, 64], 0], [[*ys.shape], jnp.abs(ys[1, 7]).max()])


def bidirectional(seed: int) -> Outcome:
    """The shapes of both directions' outputs, and the error of the backward direction."""
    cell, (params_key, key) = LSTM(64), jax.random.split(jax.random.key(seed))
    both = Bidirectional(cell, cell)
    params, xs = both.init(params_key, input_size=8), jax.random.normal(key, (2, 10, 8))
    states, ys = unroll(both, params, xs, lengths=jnp.array([10, 6]))
    forward, backward = jnp.split(ys, 2, axis=-1)
    state, reversed_ys = unroll(cell, params.backward, xs[1, :6][::-1])
    off = [
        _distance(states.backward.h[1], state.h),
        _distance(backward[1, :6], reversed_ys[::-1]),
    ]
    return Outcome([[2, 10, 64], [2, 10, 64], 0, 0], [[*forward.shape], [*backward.shape], *off])


def listed_cells(seed: int) -> Outcome:
    """The number of cells and wrappers of the guide's list that the library has."""
    return Outcome(len(CELLS), sum(name in seqjax.__all__ for name in CELLS.values()))


def masked_loss(seed: int) -> Outcome:
    """The guide's mean loss of 4 rows of 1, 2, 3 and 8 steps, with 10 classes."""
    rng, lengths = np.random.default_rng(seed), np.array([1, 2, 3, 8])
    targets = rng.integers(1, 10, (4, 8))
    targets[np.arange(8) >= lengths[:, None]] = 0
    outputs, kernel = rng.normal(size=(4, 8, 128)), rng.normal(size=(128, 10))
    logits = outputs @ kernel
    exp = np.exp(logits - logits.max(-1, keepdims=True))
    chances = np.take_along_axis(exp / exp.sum(-1, keepdims=True), targets[..., None], -1)[..., 0]
    losses = np.sign(targets) * -np.log(chances)
    expected = (losses.sum(1) / lengths).mean()
    measured = seqjax.sequence_loss(
        jnp.asarray(logits),
        jnp.asarray(targets),
        lengths=jnp.asarray(lengths),
        average_over_batch=False,
    )
    return Outcome(expected, measured.mean())


def class_zero(seed: int) -> Outcome:
    """The loss of predicting class 1 with 99% on labels 0 0 1 and 1 0, masked by sign or length."""
    targets, lengths = jnp.array([[0, 0, 1], [1, 0, 0]]), jnp.array([3, 2])
    logits = jnp.broadcast_to(jnp.log(jnp.array([0.01, 0.99])), (2, 3, 2))
    by_sign = seqjax.sequence_loss(logits, targets, weights=jnp.sign(targets).astype(logits.dtype))
    by_length = seqjax.sequence_loss(logits, targets, lengths=lengths)
    exact = -np.log([0.99, 0.01])
    return Outcome([exact[0], (2 * exact[0] + 3 * exact[1]) / 5], [by_sign, by_length])


def last_output(seed: int) -> Outcome:
    """The shape of the outputs of three GRU layers, and the last output minus the final state."""
    cell = Stack([Dropout(GRU(200), output_rate=0.5) for _ in range(3)])
    params_key, key = jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(key, (2, 100, 28))
    state, ys = unroll(cell, cell.init(params_key, input_size=28), xs, deterministic=True)
    return Outcome([[2, 100, 200], 0], [[*ys.shape], _distance(ys[:, -1], state[-1].h)])


def static_and_dynamic(seed: int) -> Outcome:
    """The largest difference of outputs and state between a Python loop and a scan."""
    cell, (params_key, key) = GRU(200), jax.random.split(jax.random.key(seed))
    params, xs = cell.init(params_key, input_size=28), jax.random.normal(key, (2, 10, 28))
    (state, ys), (static_state, static_ys) = (
        unroll(cell, params, xs, method=method) for method in ("scan", "static")
    )
    return Outcome([0, 0], [_distance(ys, static_ys), _distance(state.h, static_state.h)])


def shared_readout(seed: int) -> Outcome:
    """The largest difference between a readout of all steps and one of the flattened steps."""
    cell = OutputProjection(GRU(200), 10)
    params_key, key = jax.random.split(jax.random.key(seed))
    params, xs = cell.init(params_key, input_size=28), jax.random.normal(key, (2, 10, 28))
    _, logits = unroll(cell, params, xs)
    _, ys = unroll(GRU(200), params.cell, xs)
    flat = np.asarray(ys).reshape(-1, 200) @ np.asarray(params.kernel) + np.asarray(params.bias)
    return Outcome(0, _distance(logits, jnp.asarray(flat.reshape(2, 10, 10))))


def full_errors(seed: int) -> Outcome:
    """How many of 49 errors flow back 7 steps: in chunks of 7, and with true truncation."""
    cell = BasicRNN(4)
    params_key, key = jax.random.split(jax.random.key(seed))
    params, xs = cell.init(params_key, input_size=1), jax.random.normal(key, (49, 1))

    def by_chunks(xs: Array) -> Array:
        state, outputs = cell.initial_state(), []
        for part in chunks(xs[None], 7)[:, 0]:
            state, ys = unroll(cell, params, part, initial_state=jax.lax.stop_gradient(state))
            outputs.append(ys.sum(-1))
        return jnp.concatenate(outputs)

    def each(xs: Array) -> Array:
        return truncated_unroll(cell, params, xs, 7)[1].sum(-1)

    def full(outputs: Callable[[Array], Array]) -> int:
        reach = np.asarray(jax.jacrev(outputs)(xs))[..., 0] != 0  # [error, step]
        return int(np.count_nonzero(np.diagonal(reach, -6)))

    return Outcome([7, 42], [full(by_chunks), full(each)])


EXAMPLES: tuple[Callable[[int], Outcome], ...] = (
    sequence_example,
    record_size,
    padded_batch,
    long_sequence,
    padding_share,
    lengths_freeze,
    dynamic_rnn,
    bidirectional,
    listed_cells,
    masked_loss,
    class_zero,
    last_output,
    static_and_dynamic,
    shared_readout,
    full_errors,
)


def _distance(a: Array, b: Array) -> Array:
    return jnp.abs(a - b).max()


def _plain(value: Any) -> Any:
    """Convert arrays to numbers and nested lists of numbers."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic | jax.Array) else value


def shown(value: Any) -> str:
    """Format a value for the table."""
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) < 40 else f"{text[:12]}... ({len(text)} digits)"


def main(config: Config, folder: RunDirectory) -> None:
    """Run all examples, print the table and write the results."""
    folder.start()
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_lines=True)
    for column in ("example", "expected", "measured"):
        table.add_column(column)
    content = {}
    for example in EXAMPLES:
        outcome = Outcome(*map(_plain, example(config.seed)))
        name, says = example.__name__, inspect.getdoc(example) or ""
        content[name] = outcome._asdict()
        folder.append_jsonl("metrics.jsonl", {"example": name, **outcome._asdict()})
        table.add_row(says.splitlines()[0], shown(outcome.expected), shown(outcome.measured))
    folder.write_json("result.json", content)
    console = Console()
    console.print(table, highlight=False)
    console.print(f"Files in {folder.path}", highlight=False)
