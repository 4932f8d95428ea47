"""Training as pure functions of a state: one step, and many of them in one program."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqjax.types import Array, Params, PyTree, State

Batch = PyTree
# (params, carry, batch) -> (loss, next carry)
LossFn = Callable[[Params, State, Batch], tuple[Array, State]]


class TrainState(NamedTuple):
    """All that one training step hands to the next."""

    step: Array  # int32[], how many steps were taken
    params: Params
    opt_state: optax.OptState
    carry: State  # of the recurrent cell, from the chunk before


def init_train_state(
    params: Params, optimizer: optax.GradientTransformation, carry: State
) -> TrainState:
    """Start training of ``params`` at step 0 from the recurrent state ``carry``.

    >>> print(init_train_state(jnp.zeros(2), optax.sgd(0.1), carry=None).step)
    0
    """
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), carry)


def train_step(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, state: TrainState, batch: Batch
) -> tuple[TrainState, Array]:
    """Take one optimizer step on ``batch``.

    The carry enters as a constant, so no error flows back into the chunk before: this is truncated
    backpropagation by chunks when ``batch`` is the next of `seqjax.truncation.chunks`.

    Args:
      loss_fn: ``(params, carry, batch) -> (loss, next carry)``.
      optimizer: any optax transformation.
      state: from `init_train_state` or from the step before.
      batch: what ``loss_fn`` takes.

    Returns:
      ``(next state, loss)``, the loss before the update.

    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, loss = train_step(loss_fn, optax.sgd(0.5), state, jnp.ones(2, jnp.float32))
    >>> print(loss, state.params, state.step)
    2.0 [1. 1.] 1
    """
    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    (loss, carry), grads = gradient(state.params, state.carry, batch)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, opt_state, carry), loss


def train_steps(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, state: TrainState, batches: Batch
) -> tuple[TrainState, Array]:
    """Take one step on each of ``batches``, arrays ``[K, ...]``, in one `jax.lax.scan`.

    One program for K steps: where a step takes microseconds, its dispatch would cost more than the
    step. Returns ``(next state, losses [K])``.

    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = train_steps(loss_fn, optax.sgd(0.5), state, jnp.ones((3, 2), jnp.float32))
    >>> print(losses, state.step)
    [2. 0. 0.] 3
    """
    return jax.lax.scan(functools.partial(train_step, loss_fn, optimizer), state, batches)
