"""Training as pure functions of a state: one step, many in one program, and on many devices."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVarTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from seqjax.checks import check_key
from seqjax.types import Array, Params, PyTree, State

Batch = PyTree
Metrics = TypeVarTuple("Metrics")
# (params, carry, batch) -> (loss, next carry), or (params, carry, batch, key) -> (loss, next carry,
# metrics): the key where one is given to the step, and metrics where there are any
LossFn = Callable[..., tuple[Array, State, *Metrics]]


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
    loss_fn: Callable[..., tuple[Array, PyTree, *Metrics]], axis_name: str | None
) -> Callable[..., tuple[tuple[Array, PyTree, *Metrics], Params]]:
    """`jax.value_and_grad` of the mean of a loss over the devices along a mesh axis.

    Each device differentiates the loss of its own rows; then losses, metrics and gradients meet, in
    one reduction. The mean of means is that of all rows where each device's loss is a mean over
    equally many of them: with lengths that differ, divide a sum by a number that is the same
    everywhere.

    Args:
      loss_fn: ``(params, ...) -> (loss, more)`` or ``(loss, more, metrics)``, where ``more`` is
        left as each device has it.
      axis_name: of the mesh axis, within `jax.shard_map`; None for one device.

    Returns:
      ``(params, ...) -> (what loss_fn returns, gradients)``.

    Raises:
      ValueError: when it is called, if ``loss_fn`` returns anything else, or a loss with axes.

    >>> gradient = mean_value_and_grad(lambda w, x: ((w * x) ** 2, None), axis_name=None)
    >>> (loss, _), slope = gradient(2.0, 3.0)
    >>> print(loss, slope)
    36.0 36.0
    """

    def split(params: Params, *arguments: PyTree) -> tuple[Array, Any]:
        loss, *more = _check_result(loss_fn(params, *arguments))
        return loss, more

    gradient = jax.value_and_grad(split, has_aux=True)

    def mean_gradient(params: Params, *arguments: PyTree) -> Any:
        if axis_name is not None:
            # as values of each device's own, their gradients are summed up once, not at every use
            params = jax.tree.map(lambda p: jax.lax.pcast(p, axis_name, to="varying"), params)
        (loss, (more, *metrics)), grads = gradient(params, *arguments)
        if axis_name is not None:
            loss, metrics, grads = jax.lax.pmean((loss, metrics, grads), axis_name)
        return (loss, more, *metrics), grads

    return mean_gradient


def _check_result(result: Any) -> tuple[Any, ...]:
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        given = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(
            "the loss function must return (loss, next carry) or (loss, next carry, metrics), got "
            f"{given}; return None as the carry where there is none"
        )
    if jnp.shape(result[0]):
        raise ValueError(
            f"the loss must be one number, got an array of shape {jnp.shape(result[0])}; take its "
            "mean"
        )
    return result


def train_step(
    loss_fn: LossFn[*Metrics],
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    axis_name: str | None = None,
    *,
    key: Array | None = None,
) -> tuple[TrainState, Array, *Metrics]:
    """Take one optimizer step on ``batch``.

    The carry enters as a constant, so no error flows back into the chunk before: this is truncated
    backpropagation by chunks when ``batch`` is the next of `seqjax.truncation.chunks`.

    Args:
      loss_fn: ``(params, carry, batch) -> (loss, next carry)``. It gets a fourth argument where
        there is a ``key``, and may return a third value, any pytree of metrics.
      optimizer: any optax transformation.
      state: from `init_train_state` or from the step before.
      batch: what ``loss_fn`` takes.
      axis_name: as in `mean_value_and_grad`: of the mesh axis that the batch is split along.
      key: of the whole run, for dropout and the like. ``loss_fn`` gets the key of this step, which
        is folded in from ``state.step``, and on each device its own.

    Returns:
      ``(next state, loss)``, the loss before the update, and the metrics if ``loss_fn`` returns
      any. Those of several devices are averaged.

    Raises:
      ValueError: ``key`` is no key, or as in `mean_value_and_grad`.

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
    keys: tuple[Array, ...] = ()
    if key is not None:
        check_key(key)
        key = jax.random.fold_in(key, state.step)
        keys = (
            key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name)),
        )
    gradient = mean_value_and_grad(loss_fn, axis_name)
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
    axis_name: str | None = None,
    *,
    key: Array | None = None,
) -> tuple[TrainState, Array, *Metrics]:
    """Take one step on each of ``batches``, arrays ``[K, ...]``, in one `jax.lax.scan`.

    One program for K steps: where a step takes microseconds, its dispatch would cost more than the
    step. ``axis_name`` and ``key`` are as in `train_step`: K steps in one program are those of K
    calls. Returns ``(next state, losses [K])``, and metrics ``[K, ...]`` if there are any.

    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = train_steps(loss_fn, optax.sgd(0.5), state, jnp.ones((3, 2), jnp.float32))
    >>> print(losses, state.step)
    [2. 0. 0.] 3
    """

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Any]:
        state, *measured = train_step(loss_fn, optimizer, state, batch, axis_name, key=key)
        return state, measured

    state, measured = jax.lax.scan(step, state, batches)
    return state, *measured


def data_parallel_steps(
    loss_fn: LossFn[*Metrics], optimizer: optax.GradientTransformation, mesh: Mesh
) -> Callable[..., tuple[TrainState, Array, *Metrics]]:
    """Make `train_steps` for batches whose rows are split over devices.

    Parameters and optimizer are the same on all devices, each of which steps its own rows of the
    batch and of the carry; the gradients meet once a step, as in `mean_value_and_grad`. The numbers
    are those of one device up to the order of sums. Make it once: every call of this function makes
    a program of its own.

    On several CPU devices the steps of a call are waited for. A program that is queued behind
    another there may begin on some devices only and wait for the others for ever, until XLA aborts
    the process; so take many steps in one call.

    Args:
      loss_fn: as in `train_step`, the loss a mean over rows.
      optimizer: any optax transformation.
      mesh: with the axis ``"data"``, from `seqjax.devices.data_mesh`.

    Returns:
      ``(state, batches) -> (next state, losses [K])``, compiled, or with a key ``(state, batches,
      key)``, and with metrics as in `train_steps`. Arrays of the carry are ``[B, ...]`` and of the
      batches ``[K, B, ...]``, where the number of devices divides B. The state that is given is
      used up (donated): go on with the one that is returned.

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

    def steps(state: TrainState, batches: Batch, key: Array | None) -> tuple[TrainState, Any]:
        state, *measured = train_steps(loss_fn, optimizer, state, batches, "data", key=key)
        return state, measured

    mapped = jax.shard_map(
        steps,
        mesh=mesh,
        in_specs=(spec, PartitionSpec(None, "data"), whole),
        out_specs=(spec, whole),
    )
    program = jax.jit(mapped, donate_argnums=0)
    waits = mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"

    def run(state: TrainState, batches: Batch, key: Array | None = None) -> Any:
        state, measured = program(state, batches, key)
        result = (state, *measured)
        return jax.block_until_ready(result) if waits else result

    return run
