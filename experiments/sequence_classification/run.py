"""The network, its options, and the training of all seeds at once."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from experiments.cells import CellName, make_cell
from experiments.command_line import check_learning_rate, check_seed, check_sizes
from experiments.sequence_classification.data import Examples
from seqjax import Cell, Dropout, OutputProjection, Stack, unroll
from seqjax.checks import check_rate
from seqjax.devices import split_leading_axis
from seqjax.pooling import attention_pool, last_valid, mean_valid
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

Pooling = Literal["last", "mean", "attention"]

WINDOW = 50  # training steps of one program
TESTED_AT_ONCE = 1000  # examples
MAX_NORM = 1.0  # gradients are scaled down to it


@dataclasses.dataclass(frozen=True)
class Config:
    """Classify sequences by a recurrent network, beside baselines that see no sequence.

    The defaults are the network of the article: three layers of 200 GRU units with dropout on
    their outputs, whose last output is classified.
    """

    dataset: str = "digits"
    """digits (8 x 8, scikit-learn's), mnist (28 x 28), or the path of TFRecords; images row by
    row."""
    inputs: str | None = None
    """The sequence feature of the records; defaults to their only one of numbers."""
    label: str | None = None
    """The context feature of the records that is the class, a number or a text; defaults to their
    only integer, or their only text where there is no integer."""
    classes: tuple[str, ...] = ()
    """Names of the classes 0, 1, ... for the figures; defaults to their numbers."""
    pixels: bool = False
    """One pixel a step, not one row."""
    permuted: bool = False
    """All pixels of an image in one random order, the same for all images."""
    pooling: Pooling = "last"
    """What is classified: the last valid output, their mean, or a mean with learned weights."""
    cell: CellName = "gru"
    """The recurrent cell, by its name or imported."""
    layers: int = 3
    """Layers of it."""
    units: int = 200
    """Units of a layer."""
    dropout: float = 0.5
    """The part of each layer's outputs that is dropped while training."""
    epochs: int = 20
    """Passes over the training set."""
    batch_size: int = 50
    """Sequences of a training step."""
    learning_rate: float = 2e-3
    """Adam's at the start; it falls to 0 along a cosine."""
    seeds: int = 8
    """How many networks to train at once, on the same data."""
    seed: int = 0
    """From which the seeds are drawn."""
    out: Path | None = None
    """A new folder for the results; runs/sequence_classification/<time> without."""

    def __post_init__(self) -> None:
        sizes = ("layers", "units", "epochs", "batch_size", "seeds")
        check_sizes("sequence_classification", self, *sizes)
        check_rate("sequence_classification", "--dropout", self.dropout)
        make_cell(self.cell, self.units)
        check_learning_rate(self.learning_rate)
        check_seed(self.seed)
        named = self.inputs is not None or self.label is not None
        if named and self.dataset in ("digits", "mnist"):
            raise ValueError(
                f"--inputs and --label name features of records, but --dataset is {self.dataset}"
            )


def build_model(config: Config, classes: int) -> Cell:
    """The article's network; for attention it has one more output, the score of a step."""
    layer = Dropout(make_cell(config.cell, config.units), output_rate=config.dropout)
    scores = config.pooling == "attention"
    return OutputProjection(Stack([layer] * config.layers), classes + scores)


def classify(
    model: Cell,
    pooling: Pooling,
    params: Params,
    xs: Array,
    lengths: Array,
    key: Array | None = None,
) -> Array:
    """Logits of sequences, from one output of the network or from a mean of them.

    The layer that makes logits is linear and the weights of a mean sum to 1, so that it makes no
    difference that it comes before the mean.

    Args:
      model: from `build_model`.
      pooling: as it was built for.
      params: of the model.
      xs: ``[B, T, D]``.
      lengths: ``int[B]``, at least 1.
      key: for dropout; without one nothing is dropped.

    Returns:
      ``[B, V]``.
    """
    _, ys = unroll(model, params, xs, lengths=lengths, key=key, deterministic=key is None)
    if pooling == "last":
        return last_valid(ys, lengths=lengths)
    if pooling == "mean":
        return mean_valid(ys, lengths=lengths)
    return attention_pool(ys[..., :-1], ys[..., -1], lengths=lengths)


def steps_an_epoch(config: Config, count: int) -> int:
    """How many whole batches ``count`` examples make; none is a ``ValueError``."""
    if count < config.batch_size:
        raise ValueError(
            f"--batch-size {config.batch_size} is more than the {count} examples to learn from"
        )
    return count // config.batch_size


def train(
    config: Config, model: Cell, examples: Examples
) -> Iterator[tuple[int, np.ndarray, Params]]:
    """Train all seeds as one program; what is left of an epoch after its last batch is skipped.

    Yields:
      The epoch, the losses ``[seeds, steps]`` of the next steps, and the parameters after them,
      with an axis of seeds in front.

    Raises:
      ValueError: there are fewer examples than a batch has.
    """
    count, batch_size = len(examples.labels), config.batch_size
    steps = steps_an_epoch(config, count)
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * steps)
    optimizer = optax.chain(optax.clip_by_global_norm(MAX_NORM), optax.adam(schedule))

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        return init_train_state(model.init(key, examples.xs.shape[2]), optimizer, None)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def start_epoch(key: Array, epoch: Array) -> tuple[Array, Array]:
        order_key, noise_key = jax.random.split(jax.random.fold_in(key, epoch))
        order = jax.random.permutation(order_key, count)[: steps * batch_size]
        return order.reshape(steps, batch_size), jax.random.split(noise_key, steps)

    @jax.jit
    def train_window(
        state: TrainState, batches: tuple[Array, Array], data: Examples
    ) -> tuple[TrainState, Array]:
        def loss_fn(params: Params, carry: None, batch: tuple[Array, Array]) -> tuple[Array, None]:
            indices, key = batch
            xs, lengths, labels = (array[indices] for array in data)
            logits = classify(model, config.pooling, params, xs, lengths, key)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), carry

        return jax.vmap(functools.partial(train_steps, loss_fn, optimizer))(state, batches)

    keys = jax.random.split(jax.random.key(config.seed), (config.seeds, 2))
    state = start(keys[:, 0])
    keys, state = split_leading_axis((keys, state))
    data = jax.device_put(examples, NamedSharding(keys.sharding.mesh, PartitionSpec()))
    for epoch in range(config.epochs):
        batches = start_epoch(keys[:, 1], epoch)
        for first in range(0, steps, WINDOW):
            window = jax.tree.map(lambda a: a[:, first : first + WINDOW], batches)  # noqa: B023
            state, losses = train_window(state, window, data)
            yield epoch, np.asarray(losses), state.params


@functools.partial(jax.jit, static_argnames=("model", "pooling"))
def _probabilities(
    model: Cell, pooling: Pooling, params: Params, xs: Array, lengths: Array
) -> Array:
    logits = jax.vmap(lambda p: classify(model, pooling, p, xs, lengths))(params)
    return jax.nn.softmax(logits)


def predict(model: Cell, pooling: Pooling, params: Params, examples: Examples) -> np.ndarray:
    """Probabilities of the classes, ``[seeds, N, V]``, of ``params`` with an axis of seeds."""
    parts = [
        np.asarray(
            _probabilities(
                model,
                pooling,
                params,
                examples.xs[first : first + TESTED_AT_ONCE],
                examples.lengths[first : first + TESTED_AT_ONCE],
            )
        )
        for first in range(0, len(examples.labels), TESTED_AT_ONCE)
    ]
    return np.concatenate(parts, axis=1)
