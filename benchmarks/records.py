"""Time to read, parse, bucket and batch records, compared with tf.data and Grain.

::

    python -m benchmarks.records    about 5 minutes on 2 cores

The data are 100,000 sequences of 1 to 200 steps (mean 40) in 8 uncompressed shards. A sequence has
a label, and a token and 4 floats per step. All pipelines shuffle (tf.data and Grain within 10,000
records, seqjax all records) and return NumPy batches of 64. They run in turns, and the fastest run
counts, since other processes may be running.

tf.data parses either whole batches, which cannot be combined with ``padded_batch`` or buckets, or
one example at a time. The words are 20,000 sentences with a list of letters at each step, which
tf.data parses as ragged tensors. At the end, a GRU is trained to measure how long its steps wait
for data.
"""

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax

import seqjax
from seqjax.data import Bucketed, Loader, Padded, Policy, Ragged
from seqjax.data.records import Feature, RecordSource, Schema, write
from seqjax.data.streaming import RecordStream
from seqjax.data.tfrecord import walk
from seqjax.terminal import replace_what_cannot_be_shown

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
import tensorflow as tf

EXAMPLES, SHARDS, BATCH, VOCABULARY, LONGEST = 100_000, 8, 64, 1000, 200
SENTENCES = 20_000
BOUNDARIES = (16, 32, 64, 128, LONGEST)
RUNS = 3
SCHEMA = Schema(
    context={"label": Feature(np.int64)},
    sequence={"tokens": Feature(np.int64), "frames": Feature(np.float32, (4,))},
)
WORDS = Schema(sequence={"letters": Feature(np.int64, (None,))})
CONTEXT = {"label": tf.io.FixedLenFeature([], tf.int64)}
SEQUENCE = {
    "tokens": tf.io.FixedLenSequenceFeature([], tf.int64),
    "frames": tf.io.FixedLenSequenceFeature([4], tf.float32),
}

Batches = Iterator[tuple[int, int]]  # examples and steps, padding included, of each batch


def examples() -> Iterator[dict[str, Any]]:
    """Draw the sequences."""
    rng = np.random.default_rng(0)
    for number, length in enumerate(np.clip(rng.geometric(1 / 40, EXAMPLES), 1, LONGEST)):
        yield {
            "label": number % 10,
            "tokens": rng.integers(0, VOCABULARY, length),
            "frames": rng.normal(size=(length, 4)).astype(np.float32),
        }


def sentences() -> Iterator[dict[str, Any]]:
    """Draw sentences of 1 to 40 words of 1 to 12 letters."""
    rng = np.random.default_rng(0)
    for words in rng.integers(1, 40, SENTENCES):
        counts = rng.integers(1, 13, words)
        yield {"letters": Ragged(rng.integers(0, 26, counts.sum()), counts)}


def ours_read(files: list[str]) -> Batches:
    """Read records and verify their checksums."""
    for name in files:
        with open(name, "rb") as file:
            for _ in walk(file, os.path.getsize(name)):
                yield 1, 0


def ours_parse(source: RecordSource) -> Batches:
    """Read and parse examples in random order, with no padding."""
    order = np.random.default_rng(0).permutation(EXAMPLES)
    for start in range(0, EXAMPLES, BATCH):
        yield len(source.read(order[start : start + BATCH])), 0


def ours(source: RecordSource, policy: Policy) -> Batches:
    """Read, parse and batch with a policy."""
    with Loader(source, policy, seed=0, epochs=1) as loader:
        for batch in loader:
            yield batch.features["tokens"].shape


def ours_streamed(files: list[str], policy: Padded | Bucketed) -> Batches:
    """Read in one pass, parse and batch with a policy."""
    pattern = str(Path(files[0]).parent / "data-*")
    for batch in RecordStream(pattern, policy, SCHEMA, seed=0, epochs=1):
        yield batch.features["tokens"].shape


def ours_lists(source: RecordSource) -> Batches:
    """Read and pad the letters of all words."""
    with Loader(source, Padded(BATCH), seed=0, epochs=1) as loader:
        for batch in loader:
            yield batch.features["letters"].shape[:2]


def ours_streamed_lists(directory: Path) -> Batches:
    """Read in one pass and pad the letters of all words."""
    for batch in RecordStream(directory, Padded(BATCH), seed=0, epochs=1):
        yield batch.features["letters"].shape[:2]


def tf_lists(files: list[str]) -> Batches:
    """Parse whole batches as ragged tensors and pad the letters of all words."""

    def parse(records: Any) -> Any:
        _, sequence, _ = tf.io.parse_sequence_example(records, *WORDS.to_tensorflow())
        letters = sequence["letters"]
        return letters.to_tensor(), letters.bounding_shape(1), letters.row_lengths(2).to_tensor()

    dataset = tf_records(files).batch(BATCH).map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    for letters, _, _ in dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
        yield letters.shape[:2]


def tf_records(files: list[str]) -> Any:
    """A tf.data pipeline of shuffled records."""
    return tf.data.TFRecordDataset(files, num_parallel_reads=2).shuffle(10_000, seed=0)


def tf_read(files: list[str]) -> Batches:
    """Read and shuffle."""
    for batch in tf_records(files).batch(BATCH).as_numpy_iterator():
        yield len(batch), 0


def tf_parse_batch(files: list[str]) -> Batches:
    """Parse whole batches, which pads them to their longest example."""
    dataset = (
        tf_records(files)
        .batch(BATCH)
        .map(
            lambda records: tf.io.parse_sequence_example(records, CONTEXT, SEQUENCE),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .prefetch(tf.data.AUTOTUNE)
    )
    for _, sequence, _ in dataset.as_numpy_iterator():
        yield sequence["tokens"].shape


def tf_parsed(files: list[str]) -> Any:
    """A tf.data pipeline that parses one example at a time."""
    return tf_records(files).map(
        lambda record: tf.io.parse_single_sequence_example(record, CONTEXT, SEQUENCE),
        num_parallel_calls=tf.data.AUTOTUNE,
    )


def tf_padded_batch(files: list[str]) -> Batches:
    """Parse one example at a time and pad with ``padded_batch``, as in TensorFlow's guide."""
    dataset = tf_parsed(files).padded_batch(BATCH).prefetch(tf.data.AUTOTUNE)
    for _, sequence in dataset.as_numpy_iterator():
        yield sequence["tokens"].shape


def tf_buckets(files: list[str]) -> Batches:
    """Parse one example at a time and pad in buckets, to the longest example of each batch."""
    dataset = (
        tf_parsed(files)
        .bucket_by_sequence_length(
            lambda _, sequence: tf.shape(sequence["tokens"])[0],
            [boundary + 1 for boundary in BOUNDARIES],
            [BATCH] * (len(BOUNDARIES) + 1),
        )
        .prefetch(tf.data.AUTOTUNE)
    )
    for _, sequence in dataset.as_numpy_iterator():
        yield sequence["tokens"].shape


def grain_batches(files: list[str]) -> Batches:
    """Batch with Grain; the protobuf classes parse, since Grain has no parser for records."""
    import grain

    def parse(record: bytes) -> dict[str, Any]:
        message = tf.train.SequenceExample.FromString(record)
        lists = message.feature_lists.feature_list
        tokens = [step.int64_list.value[0] for step in lists["tokens"].feature]
        frames = [step.float_list.value for step in lists["frames"].feature]
        return {
            "label": message.context.feature["label"].int64_list.value[0],
            "tokens": np.array(tokens, np.int64),
            "frames": np.array(frames, np.float32),
        }

    def pad(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
        longest = max(len(row["tokens"]) for row in rows)
        tokens = np.zeros((len(rows), longest), np.int64)
        frames = np.zeros((len(rows), longest, 4), np.float32)
        for k, row in enumerate(rows):
            tokens[k, : len(row["tokens"])] = row["tokens"]
            frames[k, : len(row["frames"])] = row["frames"]
        return {
            "label": np.array([row["label"] for row in rows]),
            "tokens": tokens,
            "frames": frames,
        }

    for name in files:
        dataset = grain.experimental.TFRecordIterDataset(name)
        dataset = grain.experimental.WindowShuffleIterDataset(
            dataset, window_size=10_000 // SHARDS, seed=0
        )
        for batch in dataset.map(parse).batch(BATCH, batch_fn=pad):
            yield batch["tokens"].shape


class Result:
    """The results of one pipeline."""

    def __init__(self) -> None:
        """Start with no runs."""
        self.seconds: list[float] = []
        self.examples = self.steps = 0

    def run(self, batches: Callable[[], Batches]) -> None:
        """Time one run."""
        start = time.perf_counter()
        shapes = list(batches())
        self.seconds.append(time.perf_counter() - start)
        self.examples = sum(examples for examples, _ in shapes)
        self.steps = sum(examples * steps for examples, steps in shapes)


class GRUModel:
    """Next-token prediction with a GRU of 128 units."""

    def __init__(self) -> None:
        """Draw the parameters."""
        self.cell = seqjax.GRU(128)
        key, readout = jax.random.split(jax.random.key(0))
        self.params = {
            "cell": self.cell.init(key, VOCABULARY),
            "readout": 0.1 * jax.random.normal(readout, (128, VOCABULARY)),
        }
        self.optimizer = optax.adam(1e-3)
        self.state = self.optimizer.init(self.params)

    def loss(self, params: Any, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        """The cross-entropy of the next tokens."""
        ahead = jax.numpy.maximum(lengths - 1, 0)
        _, hidden = seqjax.unroll(self.cell, params["cell"], tokens[:, :-1], lengths=ahead)
        return seqjax.sequence_loss(hidden @ params["readout"], tokens[:, 1:], lengths=ahead)

    @functools.partial(jax.jit, static_argnums=0)
    def step(self, params: Any, state: Any, tokens: jax.Array, lengths: jax.Array) -> Any:
        """Take one training step."""
        grads = jax.grad(self.loss)(params, tokens, lengths)
        updates, state = self.optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state

    def train(self, source: RecordSource, policy: Policy, steps: int) -> tuple[float, float]:
        """Return the median time of a step in milliseconds, and the share of waiting for data."""
        waiting, times = 0.0, []
        with Loader(source, policy, seed=1) as loader:
            for _ in range(steps):
                start = time.perf_counter()
                batch = next(loader)
                waiting += time.perf_counter() - start
                tokens = batch.features["tokens"].astype(np.int32)
                self.params, self.state = self.step(self.params, self.state, tokens, batch.lengths)
                jax.block_until_ready(self.params)
                times.append(time.perf_counter() - start)
        return 1000 * statistics.median(times), waiting / sum(times)


def main() -> None:
    """Write the records, run all pipelines and print a table."""
    replace_what_cannot_be_shown()
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        write(directory, SCHEMA, examples(), shards=SHARDS)
        writing = time.perf_counter() - start
        source = RecordSource(directory)
        files = sorted(map(str, Path(directory).glob("data-*")))
        size = sum(os.path.getsize(name) for name in files)
        print(f"{EXAMPLES:,} sequences, {source.lengths.sum():,} steps, {size / 1e6:.0f} MB")
        print(f"tensorflow {tf.__version__}, jax {jax.__version__} on {jax.default_backend()}")
        print(f"written in {writing:.0f} s\n")
        word_directory = Path(directory) / "words"
        write(word_directory, WORDS, sentences(), shards=SHARDS)
        words = RecordSource(word_directory)
        word_files = sorted(map(str, word_directory.glob("data-*")))

        bucketed = Bucketed(BOUNDARIES, BATCH)
        longest = Bucketed(BOUNDARIES, BATCH, multiple=1)
        contenders: dict[str, Callable[[], Batches]] = {
            "seqjax: read": lambda: ours_read(files),
            "tf.data: read": lambda: tf_read(files),
            "seqjax: read, parse": lambda: ours_parse(source),
            "seqjax: pad": lambda: ours(source, Padded(BATCH)),
            "seqjax stream: pad": lambda: ours_streamed(files, Padded(BATCH)),
            "tf.data: parse and pad batches": lambda: tf_parse_batch(files),
            "tf.data: parse, padded_batch": lambda: tf_padded_batch(files),
            "Grain: parse, pad": lambda: grain_batches(files[:1]),
            "seqjax: buckets": lambda: ours(source, longest),
            "seqjax stream: buckets": lambda: ours_streamed(files, longest),
            "tf.data: buckets": lambda: tf_buckets(files),
            "seqjax: words": lambda: ours_lists(words),
            "seqjax stream: words": lambda: ours_streamed_lists(word_directory),
            "tf.data: words, ragged": lambda: tf_lists(word_files),
        }
        results = {name: Result() for name in contenders}
        for _ in range(RUNS):
            for name, batches in contenders.items():
                results[name].run(batches)
        steps = source.lengths.sum()
        print(f"{'':32}{'examples/s':>12}{'MB/s':>8}{'padding':>9}")
        for name, result in results.items():
            rate = result.examples / min(result.seconds)
            share = (
                1 - steps / result.steps if result.examples == EXAMPLES and result.steps else None
            )
            padding = "" if share is None else f"{share:8.1%}"
            megabytes = rate * size / EXAMPLES / 1e6
            volume = "" if "words" in name else f"{megabytes:8.0f}"
            print(f"{name:32}{rate:12,.0f}{volume:>8}{padding:>9}")
        print(f"{'padded to the longest of all':32}{'':20}{1 - steps / EXAMPLES / LONGEST:9.1%}\n")

        def ratio(name: str, other: str) -> str:
            fastest = min(results[other].seconds) / min(results[name].seconds)
            return f"{fastest * results[name].examples / results[other].examples:.2f} x"

        for ours_is, others in {
            "seqjax: pad": list(contenders)[5:8],
            "seqjax stream: pad": list(contenders)[5:7],
            "seqjax: buckets": ["tf.data: buckets"],
            "seqjax stream: buckets": ["tf.data: buckets"],
            "seqjax: words": ["tf.data: words, ragged"],
            "seqjax stream: words": ["tf.data: words, ragged"],
        }.items():
            for other in others:
                print(f"{ours_is:24} over {other:32} {ratio(ours_is, other)}")
        print()

        model = GRUModel()
        with Loader(source, bucketed, seed=0, epochs=1) as loader:
            for shape in {batch.features["tokens"].shape for batch in loader}:
                tokens, lengths = np.ones(shape, np.int32), np.full(shape[0], shape[1], np.int32)
                jax.block_until_ready(model.step(model.params, model.state, tokens, lengths))
            print(loader.report)
        milliseconds, waiting = model.train(source, bucketed, 300)
        print(
            f"a step of a GRU with 128 units: {milliseconds:.1f} ms, of which {waiting:.1%} waiting"
        )


if __name__ == "__main__":
    main()
