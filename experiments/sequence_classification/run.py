"""The network, and the training of all seeds at once."""

import functools
from collections.abc import Iterator

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from experiments.cells import make_cell
from experiments.sequence_classification.config import Config, Pooling
from experiments.sequence_classification.data import Examples
from seqjax import Cell, Dropout, OutputProjection, Stack, unroll
from seqjax.devices import split_leading_axis
from seqjax.pooling import attention_pool, last_valid, mean_valid
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

WINDOW = 50  # training steps per program
TESTED_AT_ONCE = 1000  # examples per batch of the test set
MAX_NORM = 1.0  # the maximum global norm of gradients


def build_model(config: Config, classes: int) -> Cell:
    """The article's network. With attention it has one more output, the score of each step."""
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
    """The logits of sequences, from the last output of the network or from a mean of its outputs.

    The readout is linear and the weights of the mean sum to 1, so pooling logits equals pooling the
    outputs before the readout.

    Args:
      model: from `build_model`.
      pooling: the pooling for which the model was built.
      params: the parameters of the model.
      xs: ``[B, T, D]``.
      lengths: ``int[B]``, at least 1.
      key: a PRNG key for dropout; None for no dropout.

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
    """The number of full batches in ``count`` examples; raises ``ValueError`` if there is none."""
    if count < config.batch_size:
        raise ValueError(
            f"--batch-size {config.batch_size} is more than the {count} examples to train on"
        )
    return count // config.batch_size


def train(
    config: Config, model: Cell, examples: Examples
) -> Iterator[tuple[int, np.ndarray, Params]]:
    """Train all seeds in one program; each epoch drops the examples after its last full batch.

    Yields:
      The epoch, the losses ``[seeds, steps]`` of the next steps, and the parameters after them,
      with a leading axis of seeds.

    Raises:
      ValueError: there are fewer examples than one batch needs.
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
    """The class probabilities ``[seeds, N, V]``; ``params`` have a leading axis of seeds."""
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
