"""The examples, each with what has to come out and what came out."""

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
from seqjax.data.schema import Feature, Schema, encode
from seqjax.truncation import chunks, truncated_unroll
from seqjax.types import Array

# make_example([1, 2, 3], [0, 1, 0]) of the guide, serialized by TensorFlow 2.21 in its fixed order
EXAMPLE_OF_TENSORFLOW = (
    "0a110a0f0a066c656e67746812051a030a0103"
    "12420a1f0a066c6162656c7312150a051a030a01000a051a030a01010a051a030a0100"
    "0a1f0a06746f6b656e7312150a051a030a01010a051a030a01020a051a030a0103"
)
FRAMING = 16  # bytes that a TFRecord adds to each message
CELLS = {  # the guide's list, and what they are called here
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
    """What has to come out of an example, and what did: numbers, or lists of them."""

    expected: Any
    measured: Any


def sequence_example(seed: int) -> Outcome:
    """A sequence of tokens and labels, with its length, as the bytes of a SequenceExample."""
    schema = Schema(
        context={"length": Feature(np.int32)},
        sequence={"labels": Feature(np.int32), "tokens": Feature(np.int32)},
    )
    example = {"length": 3, "tokens": [1, 2, 3], "labels": [0, 1, 0]}
    message, _ = encode(schema, example, "example")
    return Outcome(EXAMPLE_OF_TENSORFLOW, message.hex())


def record_size(seed: int) -> Outcome:
    """How many times its own bytes a text takes, as records of 20 characters."""
    schema = Schema(sequence={"x": Feature(np.uint8)})
    texts = np.random.default_rng(seed).integers(97, 123, (1_000, 20), np.uint8)
    size = sum(len(encode(schema, {"x": x}, "example")[0]) + FRAMING for x in texts)
    return Outcome(10, size / texts.nbytes)


def padded_batch(seed: int) -> Outcome:
    """Sequences of 0 to 4 steps in one batch."""
    source = ListSource([{"y": np.arange(1, n + 1)} for n in range(5)], {"y"})
    (batch,) = Loader(source, Padded(batch_size=5), epochs=1)
    return Outcome([[*range(1, n + 1)] + [0] * (4 - n) for n in range(5)], batch.features["y"])


def long_sequence(seed: int) -> Outcome:
    """How many batches of 32 a sequence of 1,000 steps makes long, among many of about 20."""
    lengths = np.random.default_rng(seed).geometric(1 / 20, size=6_400)
    lengths[1234] = 1_000
    batches = plan(lengths, [len(lengths)], Padded(batch_size=32), seed=seed)
    return Outcome(1, sum(int(lengths[batch].max()) == 1_000 for batch in batches))


def padding_share(seed: int) -> Outcome:
    """The share of padding if all rows have one length, and if each batch has its own."""
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
    """Rows of 13 and 20 steps of 128 numbers: the greatest output past 13, and the state there.

    The last of the three numbers is how far off the state is without the lengths, as sign.
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
    """The shape of the outputs of 64 units on rows of 10 and 6 steps, and that at ``[1, 7]``."""
    cell, (params_key, key) = LSTM(64), jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(key, (2, 10, 8)).at[1, 6:].set(0.0)
    params = cell.init(params_key, input_size=8)
    _, ys = unroll(cell, params, xs, lengths=jnp.array([10, 6]))
    return Outcome([[2, 10, 64], 0], [[*ys.shape], jnp.abs(ys[1, 7]).max()])


def bidirectional(seed: int) -> Outcome:
    """Shapes of both directions' outputs, and how far the backward one is off the row reversed."""
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
    """How many of the cells and wrappers that the guide lists there are here."""
    return Outcome(len(CELLS), sum(name in seqjax.__all__ for name in CELLS.values()))


def masked_loss(seed: int) -> Outcome:
    """The guide's mean loss of 4 rows of 1, 2, 3 and 8 steps, of 10 classes."""
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
    """The loss of a guess of 99% for class 1, on labels 0 0 1 and 1 0: by sign, and by length."""
    targets, lengths = jnp.array([[0, 0, 1], [1, 0, 0]]), jnp.array([3, 2])
    logits = jnp.broadcast_to(jnp.log(jnp.array([0.01, 0.99])), (2, 3, 2))
    by_sign = seqjax.sequence_loss(logits, targets, weights=jnp.sign(targets).astype(logits.dtype))
    by_length = seqjax.sequence_loss(logits, targets, lengths=lengths)
    exact = -np.log([0.99, 0.01])
    return Outcome([exact[0], (2 * exact[0] + 3 * exact[1]) / 5], [by_sign, by_length])


def last_output(seed: int) -> Outcome:
    """Three layers of 200 GRU units on 100 steps of 28 numbers: the last output and the shape."""
    cell = Stack([Dropout(GRU(200), output_rate=0.5) for _ in range(3)])
    params_key, key = jax.random.split(jax.random.key(seed))
    xs = jax.random.normal(key, (2, 100, 28))
    state, ys = unroll(cell, cell.init(params_key, input_size=28), xs, deterministic=True)
    return Outcome([[2, 100, 200], 0], [[*ys.shape], _distance(ys[:, -1], state[-1].h)])


def static_and_dynamic(seed: int) -> Outcome:
    """How far outputs and state of a loop in Python are off those of a scan."""
    cell, (params_key, key) = GRU(200), jax.random.split(jax.random.key(seed))
    params, xs = cell.init(params_key, input_size=28), jax.random.normal(key, (2, 10, 28))
    (state, ys), (static_state, static_ys) = (
        unroll(cell, params, xs, method=method) for method in ("scan", "static")
    )
    return Outcome([0, 0], [_distance(ys, static_ys), _distance(state.h, static_state.h)])


def shared_readout(seed: int) -> Outcome:
    """How far one readout of all steps is off that of the steps flattened to a batch."""
    cell = OutputProjection(GRU(200), 10)
    params_key, key = jax.random.split(jax.random.key(seed))
    params, xs = cell.init(params_key, input_size=28), jax.random.normal(key, (2, 10, 28))
    _, logits = unroll(cell, params, xs)
    _, ys = unroll(GRU(200), params.cell, xs)
    flat = np.asarray(ys).reshape(-1, 200) @ np.asarray(params.kernel) + np.asarray(params.bias)
    return Outcome(0, _distance(logits, jnp.asarray(flat.reshape(2, 10, 10))))


def full_errors(seed: int) -> Outcome:
    """Of 49 errors, how many go back 7 steps: in chunks of 7, and each by itself."""
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
    """Numbers and lists of them, without arrays."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic | jax.Array) else value


def shown(value: Any) -> str:
    """A value in a table."""
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) < 40 else f"{text[:12]}... ({len(text)} digits)"


def main(config: Config, folder: RunDirectory) -> None:
    """Run all examples, print them, and write them down."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0), show_lines=True)
    for column in ("example", "has to be", "is"):
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
