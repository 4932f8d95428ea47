"""The network, and the training of all seeds at once."""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cells import make_cell
from experiments.processes import place
from experiments.sequence_classification.config import Config, Pooling
from experiments.sequence_classification.layout import Layout
from experiments.sequence_classification.sets import Examples
from seqjax import Bidirectional, Cell, Dropout, OutputProjection, Stack, unroll
from seqjax.devices import data_mesh
from seqjax.pooling import attention_pool, last_valid, mean_valid
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

WINDOW = 50  # training steps per program
TESTED_AT_ONCE = 1000  # examples per batch of the test set
MAX_NORM = 1.0  # the maximum global norm of gradients


class NetworkParams(NamedTuple):
    """Parameters of a `Network`.

    Attributes:
      cell: the parameters of the cell.
      embedding: ``[V, E]`` for V tokens; None if the inputs are numbers.
    """

    cell: Params
    embedding: Array | None = None


class Network(NamedTuple):
    """A recurrent network with a pooled readout.

    Attributes:
      cell: the whole network, from inputs to the logits of each step. With the pooling
        ``"attention"`` it has one more output, the score of each step.
      pooling: how the logits of all steps become those of the sequence.
      input_size: the number of inputs D, or of tokens V.
      embedding_size: E, the width of the embedding of tokens; None if the inputs are numbers.
    """

    cell: Cell
    pooling: Pooling
    input_size: int
    embedding_size: int | None = None

    def init(self, key: Array) -> NetworkParams:
        """Initialize the float32 parameters."""
        if self.embedding_size is None:
            return NetworkParams(self.cell.init(key, self.input_size))
        cell_key, embedding_key = jax.random.split(key)
        shape = (self.input_size, self.embedding_size)
        table = jax.random.normal(embedding_key, shape, jnp.float32)
        return NetworkParams(self.cell.init(cell_key, self.embedding_size), table)


def build_model(config: Config, classes: int, features: int) -> Network:
    """The network of the options; by default that of the article.

    Args:
      config: the options.
      classes: the number of classes.
      features: the numbers of each step as they are stored, or the number of different tokens.
    """
    layer: Cell = Dropout(make_cell(config.cell, config.units), output_rate=config.dropout)
    if config.bidirectional:
        layer = Bidirectional(layer, layer)
    scores = config.pooling == "attention"
    cell = OutputProjection(Stack([layer] * config.layers), classes + scores)
    input_size = 1 if config.pixels else features * config.join
    return Network(cell, config.pooling, input_size, config.embedding)


def classify(
    model: Network, params: NetworkParams, xs: Array, lengths: Array, key: Array | None = None
) -> Array:
    """The logits of sequences, from the last output of the network or from a mean of its outputs.

    The readout is linear and the weights of the mean sum to 1, so pooling logits equals pooling the
    outputs before the readout.

    Args:
      model: from `build_model`.
      params: the parameters of the model.
      xs: numbers ``[B, T, D]``, or tokens ``int[B, T]``. The embedding of a token outside of
        ``[0, V)`` is 0.
      lengths: ``int[B]``, at least 1.
      key: a PRNG key for dropout; None for no dropout.

    Returns:
      ``[B, V]`` for V classes.
    """
    if params.embedding is not None:
        xs = params.embedding.at[xs].get(mode="fill", fill_value=0, wrap_negative_indices=False)
    _, ys = unroll(model.cell, params.cell, xs, lengths=lengths, key=key, deterministic=key is None)
    if model.pooling == "last":
        return last_valid(ys, lengths=lengths)
    if model.pooling == "mean":
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
    config: Config,
    model: Network,
    examples: Examples,
    members: np.ndarray | None = None,
) -> Iterator[tuple[int, np.ndarray, NetworkParams]]:
    """Train all seeds in one program; each epoch drops the examples after its last full batch.

    Several processes train the same seeds, each on its own rows of every batch.

    Args:
      config: the options.
      model: from `build_model`.
      examples: the examples, scaled.
      members: the examples that each seed is trained on, ``int[seeds, n]``; defaults to all
        examples for each of the seeds of the config.

    Yields:
      The epoch, the losses ``[seeds, steps]`` of the next steps, and the parameters after them,
      with a leading axis of seeds.

    Raises:
      ValueError: there are fewer examples than one batch needs, or the rows of a batch cannot be
        split between the processes.
    """
    if members is None:
        members = np.tile(np.arange(len(examples.labels)), (config.seeds, 1))
    seeds, count = members.shape
    batch_size, steps = config.batch_size, steps_an_epoch(config, count)
    layout = Layout.of(seeds, batch_size)
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.epochs * steps)
    optimizer = optax.chain(
        optax.clip_by_global_norm(MAX_NORM),
        optax.adamw(schedule, weight_decay=config.weight_decay),
    )

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        return init_train_state(model.init(key), optimizer, None)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, 0, None))
    def start_epoch(key: Array, members: Array, epoch: Array) -> tuple[Array, Array]:
        order_key, noise_key = jax.random.split(jax.random.fold_in(key, epoch))
        order = members[jax.random.permutation(order_key, count)[: steps * batch_size]]
        return order.reshape(steps, batch_size), jax.random.split(noise_key, steps)

    @functools.partial(jax.jit, out_shardings=layout.seeds)
    def train_window(
        state: TrainState, batches: tuple[Array, Array], data: Examples
    ) -> tuple[TrainState, Array]:
        def loss_fn(
            params: NetworkParams, carry: None, batch: tuple[Array, Array]
        ) -> tuple[Array, None]:
            indices, key = batch
            xs, lengths, labels = (array[indices] for array in data)
            if config.noise:
                key, noise_key = jax.random.split(key)
                xs = xs + config.noise * jax.random.normal(noise_key, xs.shape, xs.dtype)
            logits = classify(model, params, xs, lengths, key)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), carry

        with layout.within():
            return jax.vmap(functools.partial(train_steps, loss_fn, optimizer))(state, batches)

    keys = jax.random.split(jax.random.key(config.seed), (seeds, 2))
    state = start(keys[:, 0])
    keys, state, members = place((keys, state, members), layout.seeds)
    data = place(examples, layout.whole)
    for epoch in range(config.epochs):
        indices, step_keys = start_epoch(keys[:, 1], members, epoch)
        batches = jax.device_put(indices, layout.batches), step_keys
        for first in range(0, steps, WINDOW):
            window = jax.tree.map(lambda a: a[:, first : first + WINDOW], batches)  # noqa: B023
            state, losses = train_window(state, window, data)
            yield epoch, np.asarray(losses), state.params


@functools.partial(jax.jit, static_argnames=("model", "layout"))
def _probabilities(
    model: Network, layout: Layout, params: NetworkParams, xs: Array, lengths: Array
) -> Array:
    with layout.within():
        logits = jax.vmap(lambda p: classify(model, p, xs, lengths))(params)
    found = jax.nn.softmax(logits)
    return jax.lax.with_sharding_constraint(found, layout.whole) if layout.splits_rows else found


def predict(
    model: Network, params: NetworkParams, examples: Examples, layout: Layout | None = None
) -> np.ndarray:
    """The class probabilities ``[seeds, N, V]``.

    Args:
      model: from `build_model`.
      params: the parameters, with a leading axis of seeds.
      examples: the examples, scaled.
      layout: where the parameters are. Several processes share the examples, and all return the
        same probabilities. Defaults to this process.
    """
    layout = layout or Layout(data_mesh(1), splits_rows=False)
    parts = []
    for first in range(0, len(examples.lengths), TESTED_AT_ONCE):
        xs, lengths = (a[first : first + TESTED_AT_ONCE] for a in examples[:2])
        found = np.asarray(_probabilities(model, layout, params, *layout.rows((xs, lengths))))
        parts.append(found[:, : len(lengths)])
    return np.concatenate(parts, axis=1)
