"""Training of the character model with bfloat16 products, compared with float32 products.

::

    python -m benchmarks.precision    3 minutes on 2 cores; writes docs/images/precision.png

Both precisions train one layer of 320 units with the options of the preset ``small``, from the same
seeds and on the same chunks. Parameters, state, sums and the optimizer are float32 in both. The
figure shows the difference between the precisions and, for comparison, between two seeds. The
validation loss is the streaming loss of the averaged parameters in float32.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import tyro

from experiments.char_model.config import PRESETS, build_model
from experiments.char_model.config import Config as ModelConfig
from experiments.char_model.evaluation import streaming
from experiments.char_model.run import BLOCK
from experiments.char_model.scores import EVALUATION_ROWS
from experiments.char_model.text import Text, read_text
from experiments.char_model.train import (
    Rows,
    block_data,
    init_state,
    learning_rate,
    make_block,
    spread,
    steps_per_epoch,
)
from seqjax.data.text import streams
from seqjax.devices import data_mesh, one_cpu_device_per_core
from seqjax.terminal import replace_what_cannot_be_shown

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Config:
    """Train with both precisions."""

    corpus: str = "tiny_shakespeare"
    """The corpus, as in the character model."""
    epochs: float = 1.0
    """The number of passes over the training text."""
    seeds: int = 5
    """The number of runs with each precision."""
    figure: Path = Path("docs/images/precision.png")
    """The file for the learning curves."""
    json: Path | None = None
    """The file for the results."""


class Run(NamedTuple):
    """The result of one training run.

    Attributes:
      precision: the precision of products.
      seed: the seed of the run.
      losses: the training loss of each step.
      validation_nats: the validation loss.
      seconds: the time of training, except for the first block, which compiles.
    """

    precision: Precision
    seed: int
    losses: list[float]
    validation_nats: float
    seconds: float


def train(config: ModelConfig, text: Text) -> Run:
    """Train for all epochs in blocks of steps, and evaluate."""
    model = build_model(config, text.vocabulary.size)
    mesh = data_mesh(config.batch_size)
    rows = Rows(*streams(text.train, config.batch_size))
    total = round(config.epochs * steps_per_epoch(config, rows.inputs.shape[1]))
    state = spread(mesh, init_state(config, model))
    block = make_block(config, model, mesh)
    losses: list[np.ndarray] = []
    began = time.perf_counter()
    for step in range(0, total, BLOCK):
        count = min(BLOCK, total - step)
        rates = [learning_rate(config, step + n, (step + n) / total) for n in range(BLOCK)]
        data = block_data(config, rows, step, BLOCK)
        state, block_losses = block(state, data, jnp.asarray(rates, jnp.float32), jnp.int32(count))
        losses.append(np.asarray(block_losses)[:count])
        if not step:
            began = time.perf_counter()
    seconds = time.perf_counter() - began
    average = jax.device_put(state.average, jax.devices()[0])
    score = streaming(model, average, text.validation, EVALUATION_ROWS)
    curve = np.concatenate(losses).astype(float).tolist()
    return Run(config.precision, config.seed, curve, score.nats, seconds)


def draw(runs: list[Run]) -> matplotlib.figure.Figure:
    """Plot the curves of both precisions, and the differences between precisions and seeds."""
    figure = matplotlib.figure.Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)

    def smooth(losses: list[float]) -> np.ndarray:
        return np.convolve(losses, np.ones(BLOCK) / BLOCK, "valid")

    by_name = {(run.precision, run.seed): smooth(run.losses) for run in runs}
    for precision, style in zip(PRECISIONS, ("-", "--"), strict=True):
        left.plot(by_name[precision, 0], style, label=precision)
    left.set_ylabel("training loss, nats per character")
    left.set_ylim(top=np.quantile(by_name["float32", 0], 0.95))
    right.plot(by_name["bfloat16", 0] - by_name["float32", 0], label="bfloat16 - float32, seed 0")
    if ("float32", 1) in by_name:
        difference = by_name["float32", 1] - by_name["float32", 0]
        right.plot(difference, color="gray", alpha=0.6, label="seed 1 - seed 0, float32")
    right.axhline(0, color="black", linewidth=0.5)
    for panel in (left, right):
        panel.set_xlabel(f"step; means of {BLOCK}")
        panel.grid(alpha=0.3)
        panel.legend(fontsize=8)
    return figure


def main() -> None:
    """Print validation losses and plot learning curves."""
    replace_what_cannot_be_shown()
    config = tyro.cli(Config, description=__doc__)
    one_cpu_device_per_core()
    base = dataclasses.replace(
        PRESETS["small"],
        corpus=config.corpus,
        layers=1,
        units=320,
        residual=False,
        fresh_state=0.0,
        epochs=config.epochs,
        max_seconds=None,
    )
    text = read_text(base)
    runs = []
    print(f"{jax.devices()[0].device_kind}; {config.epochs} passes over {config.corpus}")
    print(f"{'seed':>4}  {'products':10}{'validation, nats':>18}{'seconds':>9}")
    for seed in range(config.seeds):
        for precision in PRECISIONS:
            run = train(dataclasses.replace(base, seed=seed, precision=precision), text)
            runs.append(run)
            print(
                f"{seed:4}  {precision:10}{run.validation_nats:18.4f}{run.seconds:9.1f}",
                flush=True,
            )
    draw(runs).savefig(config.figure, dpi=120)
    if config.json is not None:
        config.json.write_text(json.dumps([run._asdict() for run in runs]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
