"""The ways to unroll, and how each builds and trains the model."""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.char_model.config import build_model
from experiments.char_model.train import Rows, block_data, init_state, make_block, spread
from experiments.unroll_comparison.config import Config, Way
from seqjax import Cell, unroll
from seqjax.data.text import Vocabulary, read_corpus, streams
from seqjax.devices import data_mesh
from seqjax.types import Array, Params, State

BLOCK = 20  # training steps per compiled call


def unroll_with_lengths(
    model: Cell, params: Params, xs: Array, **options: Any
) -> tuple[State, Array]:
    """Scan over rows with lengths that the compiler cannot know, so it cannot omit their mask."""
    lengths = (xs >= 0).sum(1)  # the full length, because no token is negative
    return unroll(model, params, xs, lengths=lengths, method="scan", **options)


WAYS: dict[Way, Callable[..., tuple[State, Array]]] = {
    "static": functools.partial(unroll, method="static"),
    "dynamic": unroll_with_lengths,
    "scan": functools.partial(unroll, method="scan"),
    "auto": unroll,
}


def read(config: Config) -> tuple[int, int, Rows]:
    """Read the text; returns its number of characters, the size of its vocabulary and its rows.

    Raises:
      ValueError: the text cannot be read, or is too short.
    """
    text = read_corpus(config.corpus).text
    vocabulary = Vocabulary.of(text)
    rows = Rows(*streams(vocabulary.encode(text), config.batch_size))
    length, needed = rows.inputs.shape[1], max(config.num_steps, *config.sweep, 1)
    if length < needed:
        raise ValueError(
            f"--corpus {config.corpus}, cut into --batch-size {config.batch_size} rows, gives "
            f"{length} characters per row, too few for {needed} steps; give a longer text or fewer "
            "rows"
        )
    return len(text), vocabulary.size, rows


class Build(NamedTuple):
    """The time to build one program.

    Attributes:
      num_steps: the length of a chunk.
      trace_seconds: the time of tracing.
      compile_seconds: the time of compilation.
    """

    num_steps: int
    trace_seconds: float
    compile_seconds: float

    @property
    def seconds(self) -> float:
        """The time of tracing and compilation."""
        return self.trace_seconds + self.compile_seconds


class Training(NamedTuple):
    """The losses and times of a training run.

    Attributes:
      losses: ``[steps]``.
      seconds: the time of training until the end of the step's block, ``[steps]``.
    """

    losses: np.ndarray
    seconds: np.ndarray

    def epoch_losses(self, steps: int) -> list[float]:
        """The mean loss of each complete epoch of ``steps`` steps."""
        whole = self.losses[: len(self.losses) // steps * steps].reshape(-1, steps)
        return [float(loss) for loss in whole.mean(1, dtype=np.float64)]


@dataclasses.dataclass
class Outcome:
    """The results of one way.

    Args:
      way: the way.
      builds: its builds.
      left_out: the values of ``num_steps`` at which it was not built.
      training: its training run, if it was trained.
    """

    way: Way
    builds: list[Build] = dataclasses.field(default_factory=list)
    left_out: list[int] = dataclasses.field(default_factory=list)
    training: Training | None = None

    def build(self, num_steps: int) -> Build | None:
        """The build at ``num_steps``; None if it was omitted."""
        return next((build for build in self.builds if build.num_steps == num_steps), None)


def build(
    config: Config, way: Way, num_steps: int, vocabulary_size: int, rows: Rows
) -> tuple[Build, Callable[[], Any], jax.stages.Compiled]:
    """Trace and compile the training block of one way.

    Returns:
      The times, a function that makes the initial state, and the program.
    """
    options = config.at(num_steps)
    model, mesh = build_model(options, vocabulary_size), data_mesh(config.batch_size)

    def start() -> Any:
        return spread(mesh, init_state(options, model))

    data = block_data(options, rows, 0, BLOCK)
    arguments = jax.block_until_ready(start()), data, jnp.zeros(BLOCK), jnp.int32(BLOCK)
    began = time.perf_counter()
    lowered = make_block(options, model, mesh, WAYS[way]).lower(*arguments)
    traced = time.perf_counter()
    program = lowered.compile()
    took = Build(num_steps, traced - began, time.perf_counter() - traced)
    return took, start, program


def train(
    config: Config, start: Callable[[], Any], program: jax.stages.Compiled, rows: Rows, total: int
) -> Iterator[tuple[np.ndarray, float]]:
    """Take ``total`` steps; yields the losses and the seconds of each block."""
    options = config.at(config.num_steps)
    state = jax.block_until_ready(start())
    rates = jnp.full(BLOCK, options.learning_rate, jnp.float32)
    for first in range(0, total, BLOCK):
        count = min(BLOCK, total - first)
        data = block_data(options, rows, first, BLOCK)
        began = time.perf_counter()
        state, losses = program(state, data, rates, jnp.int32(count))
        yield np.asarray(losses)[:count], time.perf_counter() - began  # asarray waits for the block
