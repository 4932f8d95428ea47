"""The training step of the character model: a pure function, compiled in blocks of steps."""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments.char_model.config import Config
from seqjax import LanguageModel, sequence_loss, unroll
from seqjax.operations.masking import zero_outside
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
    """

    inputs: np.ndarray
    targets: np.ndarray


class Data(NamedTuple):
    """The chunks of a block of K steps.

    Attributes:
      inputs: ``int32[K, B, S]``.
      targets: ``int32[K, B, S]``.
      is_first: ``bool[K]``, whether a chunk is the first of its rows.
    """

    inputs: np.ndarray
    targets: np.ndarray
    is_first: np.ndarray


def span(config: Config) -> int:
    """The number of characters of a row that one step reads."""
    return config.num_steps * (2 if config.truncation == "true" else 1)


def steps_per_epoch(config: Config, length: int) -> int:
    """The number of chunks in a row of ``length`` characters."""
    return (length - span(config)) // config.num_steps + 1


def init_state(config: Config, model: LanguageModel) -> RunState:
    """The state of training at step 0."""
    key, init_key = jax.random.split(jax.random.key(config.seed))
    params = model.init(init_key, model.vocabulary_size)
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
    inputs, targets = (np.moveaxis(a[:, places], 1, 0).astype(np.int32) for a in rows)
    return Data(inputs, targets, chunks == 0)


def spread(mesh: Mesh, state: RunState) -> RunState:
    """Shard the carry over the devices and replicate everything else."""
    carry = jax.device_put(state.carry, NamedSharding(mesh, PartitionSpec("data")))
    return jax.device_put(state, NamedSharding(mesh, PartitionSpec()))._replace(carry=carry)


@functools.lru_cache(maxsize=8)
def make_block(
    config: Config,
    model: LanguageModel,
    mesh: Mesh,
    unroll: Callable[..., tuple[State, Array]] = unroll,
) -> jax.stages.Wrapped:
    """Make the jitted ``(state, data, rates[K], count) -> (state, losses[K])`` of ``count`` steps.

    ``data`` are the chunks of K steps from `block_data`.

    The number of steps is an argument of the compiled function. Blocks of any length therefore take
    the same steps, and results do not depend on how a run is cut into blocks. Each device computes
    on its own rows, and the gradients are averaged once per step.
    """
    optimizer = config.optimizer_chain
    T = config.num_steps
    compute_dtype = jnp.dtype(config.precision)

    def loss_fn(
        params: Params, carry: State, xs: Array, ys: Array, key: Array
    ) -> tuple[Array, State]:
        if config.weight_dropout:
            key, weight_key = jax.random.split(key)
            params = drop_weights(weight_key, params, config.weight_dropout)
        params = jax.tree.map(lambda p: p.astype(compute_dtype), params)
        if config.truncation == "true":
            carry, logits = truncated_chunk(model, params, xs, T, initial_state=carry, key=key)
        else:
            carry, logits = unroll(model, params, xs, initial_state=carry, key=key)
        return sequence_loss(logits, ys[:, -T:]), carry

    def step(state: RunState, chunk: Data, rate: Array) -> tuple[RunState, Array]:
        xs, ys, is_first = chunk
        carry = jax.tree.map(lambda s: jnp.where(is_first, 0, s), state.carry)
        key = jax.random.fold_in(state.key, state.step)
        key = jax.random.fold_in(key, jax.lax.axis_index("data"))
        if config.fresh_state:
            key, fresh_key = jax.random.split(key)
            rows = jax.tree.leaves(carry)[0].shape[0]
            kept = jax.random.bernoulli(fresh_key, 1 - config.fresh_state, (rows,))
            carry = zero_outside(kept, carry)
        gradient = mean_value_and_grad(loss_fn, "data")
        (loss, carry), grads = gradient(state.params, carry, xs, ys, key)
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
            state, loss = step(state, jax.tree.map(lambda a: a[n], data), rates[n])
            return state, losses.at[n].set(loss)

        return jax.lax.fori_loop(0, count, body, (state, jnp.zeros_like(rates)))

    rows: Any = PartitionSpec("data")
    chunks: Any = PartitionSpec(None, "data")
    whole: Any = PartitionSpec()
    state_spec = RunState(whole, whole, whole, whole, rows, whole)
    mapped = jax.shard_map(
        block,
        mesh=mesh,
        in_specs=(state_spec, Data(chunks, chunks, whole), whole, whole),
        out_specs=(state_spec, whole),
    )
    return jax.jit(mapped, donate_argnums=0)


def learning_rate(config: Config, step: int, progress: float) -> float:
    """The learning rate of a step, counted from 0, at the fraction ``progress`` of the training.

    Warm-up counts steps and not seconds, because the first step includes compilation.
    """
    rate = config.learning_rate * min(1.0, (step + 1) / max(1, config.warm_up))
    if config.schedule == "constant":
        return rate
    low = 0.01
    return rate * (low + (1 - low) * 0.5 * (1 + math.cos(math.pi * progress)))
