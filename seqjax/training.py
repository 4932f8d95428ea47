"""Training as pure functions of a state: one step, many in one program, and on many devices."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

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


def mean_value_and_grad(
    loss_fn: Callable[..., tuple[Array, PyTree]], axis_name: str | None
) -> Callable[..., tuple[tuple[Array, PyTree], Params]]:
    """`jax.value_and_grad` of the mean of a loss over the devices along a mesh axis.

    Each device differentiates the loss of its own rows; then losses and gradients meet, in one
    reduction. The mean of means is that of all rows where each device's loss is a mean over equally
    many of them: with lengths that differ, divide a sum by a number that is the same everywhere.

    Args:
      loss_fn: ``(params, ...) -> (loss, more)``, with what is more left as each device has it.
      axis_name: of the mesh axis, within `jax.shard_map`; without, there is one device.

    Returns:
      ``(params, ...) -> ((loss, more), gradients)``.

    >>> gradient = mean_value_and_grad(lambda w, x: ((w * x) ** 2, None), axis_name=None)
    >>> (loss, _), slope = gradient(2.0, 3.0)
    >>> print(loss, slope)
    36.0 36.0
    """
    gradient = jax.value_and_grad(loss_fn, has_aux=True)
    if axis_name is None:
        return gradient

    def mean_gradient(params: Params, *arguments: PyTree) -> tuple[tuple[Array, PyTree], Params]:
        # as values of each device's own, their gradients are summed up once and not at every use
        own = jax.tree.map(lambda p: jax.lax.pcast(p, axis_name, to="varying"), params)
        (loss, more), grads = gradient(own, *arguments)
        loss, grads = jax.lax.pmean((loss, grads), axis_name)
        return (loss, more), grads

    return mean_gradient


def train_step(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    axis_name: str | None = None,
) -> tuple[TrainState, Array]:
    """Take one optimizer step on ``batch``.

    The carry enters as a constant, so no error flows back into the chunk before: this is truncated
    backpropagation by chunks when ``batch`` is the next of `seqjax.truncation.chunks`.

    Args:
      loss_fn: ``(params, carry, batch) -> (loss, next carry)``.
      optimizer: any optax transformation.
      state: from `init_train_state` or from the step before.
      batch: what ``loss_fn`` takes.
      axis_name: as in `mean_value_and_grad`: of the mesh axis that the batch is split along.

    Returns:
      ``(next state, loss)``, the loss before the update.

    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, loss = train_step(loss_fn, optax.sgd(0.5), state, jnp.ones(2, jnp.float32))
    >>> print(loss, state.params, state.step)
    2.0 [1. 1.] 1
    """
    gradient = mean_value_and_grad(loss_fn, axis_name)
    (loss, carry), grads = gradient(state.params, state.carry, batch)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, opt_state, carry), loss


def train_steps(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batches: Batch,
    axis_name: str | None = None,
) -> tuple[TrainState, Array]:
    """Take one step on each of ``batches``, arrays ``[K, ...]``, in one `jax.lax.scan`.

    One program for K steps: where a step takes microseconds, its dispatch would cost more than the
    step. ``axis_name`` is as in `train_step`. Returns ``(next state, losses [K])``.

    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = train_steps(loss_fn, optax.sgd(0.5), state, jnp.ones((3, 2), jnp.float32))
    >>> print(losses, state.step)
    [2. 0. 0.] 3
    """
    step = functools.partial(train_step, loss_fn, optimizer, axis_name=axis_name)
    return jax.lax.scan(step, state, batches)


def data_parallel_steps(
    loss_fn: LossFn, optimizer: optax.GradientTransformation, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, Array]]:
    """Make `train_steps` for batches whose rows are split over devices.

    Parameters and optimizer are the same on all devices, each of which steps its own rows of the
    batch and of the carry; the gradients meet once a step, as in `mean_value_and_grad`. The numbers
    are those of one device up to the order of sums. Make it once: every call of this function makes
    a program of its own.

    On several CPU devices the steps of a call are waited for. A program that is queued behind
    another there may begin on some devices only and wait for the others for ever, until XLA aborts
    the process; so take many steps in one call.

    Args:
      loss_fn: ``(params, carry, batch) -> (loss, next carry)``, the loss a mean over rows.
      optimizer: any optax transformation.
      mesh: with the axis ``"data"``, from `seqjax.devices.data_mesh`.

    Returns:
      ``(state, batches) -> (next state, losses [K])``, compiled. Arrays of the carry are
      ``[B, ...]`` and of the batches ``[K, B, ...]``, where the number of devices divides B. The
      state that is given is used up (donated): go on with the one that is returned.

    >>> from seqjax.devices import data_mesh
    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).mean(), carry
    >>> steps = data_parallel_steps(loss_fn, optax.sgd(0.5), data_mesh(4))
    >>> state = init_train_state(jnp.zeros((), jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = steps(state, jnp.ones((3, 4), jnp.float32))  # 3 steps on 4 rows
    >>> print(losses, state.params)
    [1. 0. 0.] 1.0
    """
    rows: PyTree = PartitionSpec("data")
    whole: PyTree = PartitionSpec()
    spec = TrainState(whole, whole, whole, rows)
    mapped = jax.shard_map(
        functools.partial(train_steps, loss_fn, optimizer, axis_name="data"),
        mesh=mesh,
        in_specs=(spec, PartitionSpec(None, "data")),
        out_specs=(spec, whole),
    )
    program = jax.jit(mapped, donate_argnums=0)
    if mesh.size == 1 or mesh.devices.flat[0].platform != "cpu":
        return program

    def run_and_wait(state: TrainState, batches: Batch) -> tuple[TrainState, Array]:
        return jax.block_until_ready(program(state, batches))

    return run_and_wait
