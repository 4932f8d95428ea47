"""The training step of the character model: a pure function, compiled in blocks of steps."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.char_model.config import Config
from experiments.processes import place
from seqjax import Cell, Ensemble, sequence_loss, unroll
from seqjax.data.ngram_targets import SoftTargets
from seqjax.operations.masking import select
from seqjax.regularization import drop_weights
from seqjax.training import mean_value_and_grad
from seqjax.truncation import truncated_chunk
from seqjax.types import Array, Params, State


class RunState(NamedTuple):
    """The state of training, which each step updates and a checkpoint stores.

    Attributes:
      step: ``int32[]``, the number of steps taken; it determines the chunk that comes next.
      params: the parameters.
      average: the moving average of the parameters, which is evaluated.
      opt_state: the state of the optimizer.
      carry: the state of the recurrent cell, ``[B, ...]``.
      key: the key of the run; the key of a step is derived from it and from ``step``.
    """

    step: Array
    params: Params
    average: Params
    opt_state: optax.OptState
    carry: State
    key: Array


class Rows(NamedTuple):
    """The training text as contiguous rows, in memory or in a file.

    Attributes:
      inputs: integers ``[B, N]``.
      targets: integers ``[B, N]``, the character after each input.
      soft: the distribution of each target under an n-gram model, ``[B, N, K]``; None for none.
    """

    inputs: np.ndarray
    targets: np.ndarray
    soft: SoftTargets | None = None


class Data(NamedTuple):
    """The chunks of a block of K steps.

    Attributes:
      inputs: ``int32[K, B, S]``.
      targets: ``int32[K, B, S]``.
      is_first: ``bool[K]``, whether a chunk is the first of its rows.
      soft: the distributions of the targets, ``[K, B, S, N]``, or None.
      weight: the weight of the distributions in each step, ``float32[K]``, or None.
    """

    inputs: np.ndarray | Array
    targets: np.ndarray | Array
    is_first: np.ndarray
    soft: SoftTargets | None = None
    weight: np.ndarray | None = None


def span(config: Config) -> int:
    """The number of characters of a row that one step reads."""
    return config.num_steps * (2 if config.truncation == "true" else 1)


def steps_per_epoch(config: Config, length: int) -> int:
    """The number of chunks in a row of ``length`` characters."""
    return (length - span(config)) // config.num_steps + 1


def init_state(config: Config, model: Cell) -> RunState:
    """The state of training at step 0."""
    key, init_key = jax.random.split(jax.random.key(config.seed))
    params = model.init(init_key, model.output_size)  # the vocabulary size
    return RunState(
        jnp.zeros((), jnp.int32),
        params,
        jax.tree.map(jnp.copy, params),
        config.optimizer_chain.init(params),
        model.initial_state((config.batch_size,)),
        key,
    )


def block_data(config: Config, rows: Rows, step: int, size: int) -> Data:
    """Read the chunks of ``size`` steps, of which the first has the number ``step``.

    >>> rows = Rows(np.arange(8).reshape(1, 8), np.arange(1, 9).reshape(1, 8))
    >>> data = block_data(Config(batch_size=1, num_steps=3), rows, step=1, size=2)
    >>> print(data.inputs.tolist(), data.is_first)
    [[[3, 4, 5]], [[0, 1, 2]]] [False  True]
    """
    chunks = (step + np.arange(size)) % steps_per_epoch(config, rows.inputs.shape[1])
    places = chunks[:, None] * config.num_steps + np.arange(span(config))  # [K, S]
    inputs, targets, soft = jax.tree.map(lambda a: np.moveaxis(a[:, places], 1, 0), rows)
    return Data(inputs.astype(np.int32), targets.astype(np.int32), chunks == 0, soft)


def spread_block(mesh: Mesh, config: Config, rows: Rows, step: int, size: int) -> Data:
    """Read a block as `block_data` does, with the rows split over the devices of ``mesh``.

    Each process reads only the rows of its own devices.
    """
    split = NamedSharding(mesh, PartitionSpec(None, "data"))
    count = len(rows.inputs)

    @functools.cache
    def part(first: int, last: int) -> Data:
        return block_data(config, jax.tree.map(lambda a: a[first:last], rows), step, size)

    def read(place: int, shape: tuple[int, ...]) -> Array:
        def of_device(index: Any) -> np.ndarray:
            first, last, _ = index[1].indices(count)
            chunks: np.ndarray = jax.tree.leaves(part(first, last))[place]
            return chunks

        return jax.make_array_from_callback((size, count, *shape[2:]), split, of_device)

    own = part(0, 0)
    leaves, structure = jax.tree.flatten(own)
    data: Data = jax.tree.unflatten(
        structure,
        [read(place, leaf.shape) if leaf.ndim > 1 else leaf for place, leaf in enumerate(leaves)],
    )
    return data


def spread(mesh: Mesh, state: RunState) -> RunState:
    """Shard the carry over the devices and replicate everything else."""
    carry = place(state.carry, NamedSharding(mesh, PartitionSpec("data")))
    whole: RunState = place(state, NamedSharding(mesh, PartitionSpec()))
    return whole._replace(carry=carry)


@functools.lru_cache(maxsize=8)
def make_block(
    config: Config,
    model: Cell,
    mesh: Mesh,
    unroll: Callable[..., tuple[State, Array]] = unroll,
) -> jax.stages.Wrapped:
    """Make the jitted ``(state, data, rates[K], count) -> (state, losses[K])`` of ``count`` steps.

    ``data`` are the chunks of K steps from `block_data`. The losses are those of the characters,
    also where the model learns from soft targets too. The members of an ensemble train as if each
    was alone, and the loss is the mean of theirs.

    The number of steps is an argument of the compiled function. Blocks of any length therefore take
    the same steps, and results do not depend on how a run is cut into blocks. Each device computes
    its own rows, and the gradients are reduced once per step. The noise is that of one device.
    """
    optimizer = config.optimizer_chain
    T = config.num_steps
    compute_dtype = jnp.dtype(config.precision)

    def loss_fn(
        params: Params, carry: State, starts: Array, chunk: Data, key: Array
    ) -> tuple[Array, State, Array]:
        if config.members == 1:
            return loss_of_one(model, params, carry, starts, chunk, key)
        members = cast(Ensemble, model).members
        keys = jax.random.split(key, config.members)
        each = [
            loss_of_one(member, p, c, starts, chunk, k)
            for member, p, c, k in zip(members, params, carry, keys, strict=True)
        ]
        losses, carries, of_characters = zip(*each, strict=True)
        # the sum, so that each member has the gradient of its own loss
        return jnp.stack(losses).sum(), carries, jnp.stack(of_characters).mean()

    def loss_of_one(
        model: Cell, params: Params, carry: State, starts: Array, chunk: Data, key: Array
    ) -> tuple[Array, State, Array]:
        xs, ys = jnp.asarray(chunk.inputs), jnp.asarray(chunk.targets)[:, -T:]
        if config.weight_dropout:
            key, weight_key = jax.random.split(key)
            params = drop_weights(weight_key, params, config.weight_dropout)
        params = jax.tree.map(lambda p: p.astype(compute_dtype), params)
        carry = select(starts, model.first_state(params, starts.shape), carry)
        if config.truncation == "true":
            carry, logits = truncated_chunk(model, params, xs, T, initial_state=carry, key=key)
        else:
            carry, logits = unroll(model, params, xs, initial_state=carry, key=key)
        loss = of_characters = sequence_loss(logits, ys)
        if chunk.soft is not None and chunk.weight is not None:
            soft = jax.tree.map(lambda a: a[:, -T:], chunk.soft)
            of_ngrams = distillation_loss(logits, soft)
            loss = (1 - chunk.weight) * of_characters + chunk.weight * of_ngrams
        return loss, carry, of_characters

    def step(state: RunState, chunk: Data, rate: Array) -> tuple[RunState, Array]:
        rows = jax.tree.leaves(state.carry)[0].shape[0]
        starts = jnp.broadcast_to(chunk.is_first, (rows,))
        key = jax.random.fold_in(state.key, state.step)
        if config.fresh_state:
            key, fresh_key = jax.random.split(key)
            starts |= ~jax.random.bernoulli(fresh_key, 1 - config.fresh_state, (rows,))
        gradient = mean_value_and_grad(loss_fn)
        (_, carry, loss), grads = gradient(state.params, state.carry, starts, chunk, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = jax.tree.map(lambda p, u: p - rate * u, state.params, updates)
        # the decay rate starts low, so the average forgets the initial parameters soon
        seen = state.step.astype(jnp.float32)
        memory = jnp.minimum(config.average, (1 + seen) / (10 + seen))
        average = jax.tree.map(lambda a, p: memory * a + (1 - memory) * p, state.average, params)
        return RunState(state.step + 1, params, average, opt_state, carry, state.key), loss

    def block(state: RunState, data: Data, rates: Array, count: Array) -> tuple[RunState, Array]:
        def body(n: Array, carried: tuple[RunState, Array]) -> tuple[RunState, Array]:
            state, losses = carried
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # read by unroll
                state, loss = step(state, jax.tree.map(lambda a: a[n], data), rates[n])
            return state, losses.at[n].set(loss)

        return jax.lax.fori_loop(0, count, body, (state, jnp.zeros_like(rates)))

    rows, chunks, whole = (
        NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), (None, "data"), ())
    )
    sharded = Data(chunks, chunks, whole, chunks, whole)  # type: ignore[arg-type]
    layout: Any = RunState(whole, whole, whole, whole, rows, whole)  # type: ignore[arg-type]
    return jax.jit(
        block,
        donate_argnums=0,
        in_shardings=(layout, sharded, whole, whole),
        out_shardings=(layout, whole),
    )


def distillation_loss(logits: Array, soft: SoftTargets) -> Array:
    """The mean cross-entropy of ``logits``, ``[B, T, V]``, under distributions ``[B, T, K]``.

    >>> soft = SoftTargets(jnp.array([[[0, 1]]]), jnp.array([[[0.75, 0.25]]]))
    >>> print(f"{distillation_loss(jnp.zeros((1, 1, 4)), soft):.4f}")  # log 4
    1.3863
    """
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), soft.tokens.astype(jnp.int32), axis=-1)
    return -(jnp.asarray(soft.probabilities, log_p.dtype) * log_p).sum(-1).mean()


def ngram_weight(config: Config, progress: float) -> float:
    """The weight of n-gram targets at the fraction ``progress`` of the training.

    >>> config = Config(ngram_targets=0.6, ngram_targets_end=0.2)
    >>> [round(ngram_weight(config, progress), 3) for progress in (0, 0.5, 1)]
    [0.6, 0.4, 0.2]
    """
    start, end = config.ngram_targets, config.ngram_targets_end
    return start + (end - start) * progress


def learning_rate(config: Config, step: int, progress: float) -> float:
    """The learning rate of a step, counted from 0, at the fraction ``progress`` of the training.

    Warm-up counts steps and not seconds, because the first step includes compilation.
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warm_up))
    if config.schedule == "constant":
        return rate
    low = 0.01
    return rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))
