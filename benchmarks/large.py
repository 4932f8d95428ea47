"""Memory, and the time to the first training step, on data that are large.

::

    python -m benchmarks.large    7 minutes on 2 cores, and 25 GB of disk

A text of 1 GB trains a character model, twice: the first run encodes the text, and the second one
finds its tokens. Records of 20 GB train a GRU, read in random order by a `Loader` and in one pass
by a `RecordStream`. Each run is a process of its own. Its memory is what it allocates, without the
pages of files that the system may drop.
"""

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from seqjax.data.schema import Feature, Schema
from seqjax.data.writing import write

STEPS, SIZE = 500, 16
SCHEMA = Schema({"label": Feature(np.int32)}, {"x": Feature(np.float32, (SIZE,))})
TRAIN = """
import sys
import jax, jax.numpy as jnp, optax
import seqjax
from seqjax.data import Loader, Padded
from seqjax.data.records import RecordSource
from seqjax.data.streaming import RecordStream

path, way, mark = sys.argv[1:]
model = seqjax.OutputProjection(seqjax.GRU(32), 2)
optimizer = optax.adam(1e-3)
params = model.init(jax.random.key(0), 16)
opt_state = optimizer.init(params)

@jax.jit
def step(params, opt_state, xs, lengths, labels):
    def loss_fn(params):
        _, ys = seqjax.unroll(model, params, xs, lengths=lengths)
        logits = seqjax.pooling.last_valid(ys, lengths=lengths)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    loss, grads = jax.value_and_grad(loss_fn)(params)
    updates, opt_state = optimizer.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss

if way == "loader":
    batches = Loader(RecordSource(path), Padded(64, multiple=500), seed=0)
else:
    batches = RecordStream(path, Padded(64, multiple=500), seed=0)
for number, batch in zip(range(300), batches):
    xs, labels = batch.features["x"], batch.features["label"]
    params, opt_state, loss = step(params, opt_state, xs, batch.lengths, labels)
    if not number:
        loss.block_until_ready()
        open(mark, "w").close()
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure the memory and the time to the first training step on large data."""

    text_gb: float = 1.0
    """The size of the text."""
    records_gb: float = 20.0
    """The size of the records."""
    folder: Path | None = None
    """A new folder for the data; defaults to a temporary one. It is removed at the end."""


def write_text(path: Path, size: int) -> None:
    """Write random words."""
    rng = np.random.default_rng(0)
    words = np.array(["the", "Quick", "brown", "fox.\n", "jumps", "over", "Lazy", "dogs,", "né"])
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            file.write(" ".join(words[rng.integers(len(words), size=200_000)]))


def write_records(folder: Path, size: int) -> None:
    """Write random series of up to 500 steps."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(10 * STEPS, SIZE)).astype(np.float32)
    mean = STEPS * 3 // 4 * SIZE * 4  # bytes of an example, about

    def examples() -> Iterator[dict[str, Any]]:
        for k in range(size // mean):
            start, length = rng.integers(9 * STEPS), rng.integers(STEPS // 2, STEPS + 1)
            yield {"x": noise[start : start + length], "label": k % 2}

    write(folder, SCHEMA, examples(), shards=64)


def measure(command: list[str], started: Callable[[], bool]) -> tuple[float, float]:
    """Run a process; return the seconds until ``started``, and its largest memory in bytes."""
    began, first, largest = time.perf_counter(), 0.0, 0
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            try:
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                largest = max(largest, int(status.split("RssAnon:")[1].split()[0]) * 1024)
            except (OSError, IndexError):  # the process ends
                pass
            if not first and started():
                first = time.perf_counter() - began
            time.sleep(0.05)
    if process.returncode or not first:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    return first, largest


def main(config: Config) -> None:
    """Print a row for each run."""
    print(f"{'':44} first step    memory")
    with tempfile.TemporaryDirectory(dir=config.folder) as name:
        folder = Path(name)
        os.environ["SEQJAX_DATA"] = str(folder / "cache")
        text = folder / "text.txt"
        write_text(text, int(config.text_gb * 1e9))
        for attempt in ("first", "second"):
            out = folder / attempt
            options = (
                "--units 64 --batch-size 32 --num-steps 64 --max-seconds 10 --evaluations 1 "
                f"--validation 0.001 --corpus {text} --out {out}"
            )
            command = [sys.executable, "-m", "experiments.char_model", "train", *options.split()]
            first, memory = measure(command, (out / "metrics.jsonl").exists)
            label = f"text of {config.text_gb:g} GB, {attempt} run"
            print(f"{label:44} {first:8.1f} s {memory / 1e9:6.2f} GB", flush=True)
        text.unlink()
        records, mark = folder / "records", folder / "mark"
        write_records(records, int(config.records_gb * 1e9))
        total = sum(path.stat().st_size for path in records.iterdir())
        for way in ("loader", "stream"):
            command = [sys.executable, "-c", TRAIN, str(records), way, str(mark)]
            first, memory = measure(command, mark.exists)
            mark.unlink()
            label = f"records of {total / 1e9:.1f} GB, {way}"
            print(f"{label:44} {first:8.1f} s {memory / 1e9:6.2f} GB", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
