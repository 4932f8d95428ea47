"""Training steps as pure functions: one step, and many steps in one program."""

from typing import Any

import jax
import optax

from seqjax.arrays import as_arrays, check_leading_axes
from seqjax.checks import check_key, check_size
from seqjax.training.gradient import mean_value_and_grad
from seqjax.training.state import (
    Batch,
    LossFn,
    Metrics,
    TrainState,
    check_loss_fn,
    check_opt_state,
    check_optimizer,
    check_state,
)
from seqjax.types import Array


def train_step(
    loss_fn: LossFn[*Metrics],
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    *,
    key: Array | None = None,
    accumulate: int = 1,
) -> tuple[TrainState, Array, *Metrics]:
    """Take one optimizer step on a batch.

    The carry is a constant, so no gradient flows back into the previous chunk. With the batches of
    `seqjax.truncation.chunks` this is truncated backpropagation.

    With ``accumulate=n``, the gradients of n micro-batches of ``B / n`` rows are computed one after
    another and averaged, before one update of the parameters. The memory of intermediate values is
    that of a micro-batch. The step equals that of the whole batch up to rounding if the loss and
    the metrics are means over rows; with varying lengths, divide a sum by a constant. Each
    micro-batch draws its own noise. On several devices, `data_parallel_steps` reduces the gradients
    of each micro-batch, and so exchanges n times as many bytes; `mean_value_and_grad` shows how to
    reduce them once. `optax.MultiSteps` also accumulates gradients, over calls. It
    is enough if each batch is small already and may be a step of its own, which moves the carry
    and the number of the step.

    Args:
      loss_fn: ``(params, carry, batch) -> (loss, next_carry)``. It gets a key as a fourth argument
        if ``key`` is given, and may return a pytree of metrics as a third value.
      optimizer: any optax transformation.
      state: from `init_train_state` or from the previous step.
      batch: the batch for ``loss_fn``.
      key: the PRNG key of the whole run, for noise such as dropout. The key for ``loss_fn`` is
        derived from it and from ``state.step``.
      accumulate: the number of micro-batches. The arrays of carry and batch are then ``[B, ...]``.

    Returns:
      ``(next_state, loss)``, with the loss before the update, and the metrics if ``loss_fn``
      returns any. Metrics of several micro-batches are averaged.

    Raises:
      ValueError: ``key`` is not a key, ``loss_fn`` is not a function, ``optimizer`` is not an
        optax transformation, ``state`` is not a `TrainState` for this optimizer, or as in
        `mean_value_and_grad`.

    >>> import jax.numpy as jnp
    >>> from seqjax.training import init_train_state
    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, loss = train_step(loss_fn, optax.sgd(0.5), state, jnp.ones(2, jnp.float32))
    >>> print(loss, state.params, state.step)
    2.0 [1. 1.] 1

    With a key, and with metrics:

    >>> def noisy_loss_fn(params, carry, batch, key):
    ...     noise = jax.random.normal(key, params.shape, params.dtype)
    ...     error = params + noise - batch
    ...     return (error**2).sum(), carry, {"largest": jnp.abs(error).max()}
    >>> state, loss, metrics = train_step(
    ...     noisy_loss_fn,
    ...     optax.sgd(0.5),
    ...     state,
    ...     jnp.ones(2, jnp.float32),
    ...     key=jax.random.key(0),
    ... )
    >>> print(*metrics, state.step)
    largest 2
    """
    check_optimizer(optimizer)
    state = check_state(state)
    check_opt_state(optimizer, state)
    gradient = mean_value_and_grad(loss_fn, accumulate)
    keys: tuple[Array, ...] = ()
    if key is not None:
        check_key(key)
        keys = (jax.random.fold_in(key, state.step),)
    measured: Any
    measured, grads = gradient(state.params, state.carry, batch, *keys)
    loss, carry, *metrics = measured
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, opt_state, carry), loss, *metrics


def train_steps(
    loss_fn: LossFn[*Metrics],
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batches: Batch,
    *,
    key: Array | None = None,
    accumulate: int = 1,
) -> tuple[TrainState, Array, *Metrics]:
    """Take K optimizer steps in one program, with `jax.lax.scan`.

    For a small model, the dispatch of a program can cost more than a step.

    Args:
      loss_fn: as in `train_step`.
      optimizer: any optax transformation.
      state: from `init_train_state` or from the previous call.
      batches: one batch for each step, arrays ``[K, ...]``.
      key: as in `train_step`. K steps in one program use the same keys as K calls.
      accumulate: as in `train_step`.

    Returns:
      ``(next_state, losses)``, with ``losses [K]``, and metrics ``[K, ...]`` if there are any.

    Raises:
      ValueError: as in `train_step`, or the arrays of ``batches`` differ in K.

    >>> import jax.numpy as jnp
    >>> from seqjax.training import init_train_state
    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = train_steps(loss_fn, optax.sgd(0.5), state, jnp.ones((3, 2), jnp.float32))
    >>> print(losses, state.step)
    [2. 0. 0.] 3
    """
    check_loss_fn(loss_fn)
    check_optimizer(optimizer)
    if key is not None:
        check_key(key)
    check_size("train_steps", "accumulate", accumulate)
    state, batches = check_state(state), as_arrays("batches", batches)
    check_leading_axes("batches", batches, "K")

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Any]:
        state, *measured = train_step(
            loss_fn, optimizer, state, batch, key=key, accumulate=accumulate
        )
        return state, measured

    state, measured = jax.lax.scan(step, state, batches)
    return state, *measured
