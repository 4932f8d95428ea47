"""Training steps as pure functions: one step, many steps in one program, and many devices."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVarTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from seqjax.arrays import as_arrays, as_params, check_leading_axes
from seqjax.checks import check_key, describe
from seqjax.types import Array, Params, PyTree, State

Batch = PyTree
Metrics = TypeVarTuple("Metrics")
# (params, carry, batch) -> (loss, next carry). A key, if there is one, is a fourth argument, and
# metrics, if there are any, are a third result.
LossFn = Callable[..., tuple[Array, State, *Metrics]]


class TrainState(NamedTuple):
    """The state of training between two steps.

    Attributes:
      step: the number of steps taken, ``int32[]``.
      params: the parameters.
      opt_state: the state of the optimizer.
      carry: the recurrent state after the previous chunk.
    """

    step: Array
    params: Params
    opt_state: optax.OptState
    carry: State


def init_train_state(
    params: Params, optimizer: optax.GradientTransformation, carry: State
) -> TrainState:
    """Create the `TrainState` of step 0, with the recurrent state ``carry``.

    Raises:
      ValueError: ``params`` are not floating arrays, ``carry`` is not a pytree of arrays, or
        ``optimizer`` is not an optax transformation.

    >>> print(init_train_state(jnp.zeros(2), optax.sgd(0.1), carry=None).step)
    0
    """
    _check_optimizer(optimizer)
    params, carry = _check_params(params), as_arrays("carry", carry)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), carry)


def _check_params(params: Params) -> Params:
    if not jax.tree.leaves(params):
        raise ValueError(f"params must hold at least one array to train, got {describe(params)}")
    return as_params(params)


def _check_optimizer(optimizer: Any) -> None:
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise ValueError(
            "optimizer must be an optax transformation, such as optax.adam(1e-3), got "
            f"{optimizer!r}"
        )


def _check_loss_fn(loss_fn: Any) -> None:
    if not callable(loss_fn):
        raise ValueError(
            "loss_fn must be a function (params, carry, batch) -> (loss, next carry), got "
            f"{loss_fn!r}"
        )


def _check_state(state: Any) -> TrainState:
    """Check that ``state`` is a `TrainState`; return arrays."""
    if not isinstance(state, TrainState):
        raise ValueError(f"state must be a TrainState from init_train_state, got {describe(state)}")
    state = TrainState(*as_arrays("state", state._replace(params=None)))._replace(
        params=_check_params(state.params)
    )
    step = state.step
    if not isinstance(step, Array) or step.shape or not jnp.issubdtype(step.dtype, jnp.integer):
        raise ValueError(f"the step of state must be one integer, got {describe(step)}")
    return state


def _check_opt_state(optimizer: optax.GradientTransformation, state: TrainState) -> None:
    """Raise ``ValueError`` unless the state of the optimizer has the shapes that ``init`` gives."""
    shapes = [
        (jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)])
        for tree in (state.opt_state, jax.eval_shape(optimizer.init, state.params))
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the opt_state of state is for another optimizer or other parameters; make the state "
            "with init_train_state and this optimizer"
        )


def mean_value_and_grad(
    loss_fn: Callable[..., tuple[Array, PyTree, *Metrics]], axis_name: str | None
) -> Callable[..., tuple[tuple[Array, PyTree, *Metrics], Params]]:
    """Transform a loss into its value and gradient, averaged over the devices of a mesh axis.

    Each device differentiates the loss of its own rows. Losses, metrics and gradients are then
    averaged in one reduction. The average equals the loss of the whole batch only if each device
    averages over the same number of elements: with varying lengths, divide a sum by a constant.

    Args:
      loss_fn: ``(params, ...) -> (loss, aux)`` or ``(loss, aux, metrics)``. Each device keeps its
        own ``aux``.
      axis_name: the name of the mesh axis, inside of `jax.shard_map`; None for one device.

    Returns:
      ``(params, ...) -> (the results of loss_fn, gradients)``.

    Raises:
      ValueError: ``loss_fn`` is not a function, or ``axis_name`` is not a string or None; also when
        the result is called, if ``loss_fn`` returns anything else or a loss with axes, or if
        ``axis_name`` is given outside of `jax.shard_map`.

    >>> gradient = mean_value_and_grad(lambda w, x: ((w * x) ** 2, None), axis_name=None)
    >>> (loss, _), slope = gradient(2.0, 3.0)
    >>> print(loss, slope)
    36.0 36.0
    """
    _check_loss_fn(loss_fn)
    if not isinstance(axis_name, str | None):
        raise ValueError(f"axis_name must be the name of a mesh axis or None, got {axis_name!r}")

    def split(params: Params, *arguments: PyTree) -> tuple[Array, Any]:
        loss, *more = _check_result(loss_fn(params, *arguments))
        return loss, more

    gradient = jax.value_and_grad(split, has_aux=True)

    def mean_gradient(params: Params, *arguments: PyTree) -> Any:
        if axis_name is not None:
            _check_axis(axis_name)
            # with varying parameters the gradients are reduced once, not at every use
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
            f"{given}; return None as the carry if there is none"
        )
    if jnp.shape(result[0]):
        raise ValueError(
            f"the loss must be one number, got an array of shape {jnp.shape(result[0])}; take its "
            "mean"
        )
    return result


def _check_axis(axis_name: str) -> None:
    try:
        jax.lax.axis_size(axis_name)
    except NameError:
        raise ValueError(
            "axis_name must be an axis of the mesh inside of jax.shard_map, and None outside of "
            f"it, got {axis_name!r}"
        ) from None


def train_step(
    loss_fn: LossFn[*Metrics],
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batch: Batch,
    axis_name: str | None = None,
    *,
    key: Array | None = None,
) -> tuple[TrainState, Array, *Metrics]:
    """Take one optimizer step on a batch.

    The carry is a constant, so no gradient flows back into the previous chunk. With the batches of
    `seqjax.truncation.chunks` this is truncated backpropagation.

    Args:
      loss_fn: ``(params, carry, batch) -> (loss, next_carry)``. It gets a key as a fourth argument
        if ``key`` is given, and may return a pytree of metrics as a third value.
      optimizer: any optax transformation.
      state: from `init_train_state` or from the previous step.
      batch: the batch for ``loss_fn``.
      axis_name: the mesh axis that the batch is split along, see `mean_value_and_grad`; None for
        one device.
      key: the PRNG key of the whole run, for noise such as dropout. The key for ``loss_fn`` is
        derived from it and from ``state.step``, and differs between devices.

    Returns:
      ``(next_state, loss)``, with the loss before the update, and the metrics if ``loss_fn``
      returns any. Metrics of several devices are averaged.

    Raises:
      ValueError: ``key`` is not a key, ``loss_fn`` is not a function, ``optimizer`` is not an
        optax transformation, ``state`` is not a `TrainState` for this optimizer, or as in
        `mean_value_and_grad`.

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
    _check_optimizer(optimizer)
    state = _check_state(state)
    _check_opt_state(optimizer, state)
    gradient = mean_value_and_grad(loss_fn, axis_name)
    keys: tuple[Array, ...] = ()
    if key is not None:
        check_key(key)
        if axis_name is not None:
            _check_axis(axis_name)
        key = jax.random.fold_in(key, state.step)
        keys = (
            key if axis_name is None else jax.random.fold_in(key, jax.lax.axis_index(axis_name)),
        )
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
    """Take K optimizer steps in one program, with `jax.lax.scan`.

    For a small model, the dispatch of a program can cost more than a step.

    Args:
      loss_fn: as in `train_step`.
      optimizer: any optax transformation.
      state: from `init_train_state` or from the previous call.
      batches: one batch for each step, arrays ``[K, ...]``.
      axis_name: as in `train_step`.
      key: as in `train_step`. K steps in one program use the same keys as K calls.

    Returns:
      ``(next_state, losses)``, with ``losses [K]``, and metrics ``[K, ...]`` if there are any.

    Raises:
      ValueError: as in `train_step`, or the arrays of ``batches`` differ in K.

    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).sum(), carry
    >>> state = init_train_state(jnp.zeros(2, jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = train_steps(loss_fn, optax.sgd(0.5), state, jnp.ones((3, 2), jnp.float32))
    >>> print(losses, state.step)
    [2. 0. 0.] 3
    """
    _check_loss_fn(loss_fn)
    _check_optimizer(optimizer)
    if key is not None:
        check_key(key)
    state, batches = _check_state(state), as_arrays("batches", batches)
    check_leading_axes("batches", batches, "K")

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Any]:
        state, *measured = train_step(loss_fn, optimizer, state, batch, axis_name, key=key)
        return state, measured

    state, measured = jax.lax.scan(step, state, batches)
    return state, *measured


def data_parallel_steps(
    loss_fn: LossFn[*Metrics], optimizer: optax.GradientTransformation, mesh: Mesh
) -> Callable[..., tuple[TrainState, Array, *Metrics]]:
    """Create a version of `train_steps` that splits the rows of each batch over devices.

    Parameters and optimizer state are replicated. Each device processes its own rows of the batch
    and of the carry, and gradients are averaged once per step, see `mean_value_and_grad`. The
    values equal those of one device up to rounding. Create the function once: each call of
    `data_parallel_steps` compiles a new program.

    On several CPU devices, each call waits for its result. Otherwise a queued program could start
    on some devices, wait for the others and deadlock. Take many steps per call. An outer `jax.jit`
    would remove the wait, so the function raises an error if it is traced. To inspect the program,
    call its method ``lower`` with the same arguments, as with `jax.jit`.

    Args:
      loss_fn: as in `train_step`, where the loss is a mean over rows.
      optimizer: any optax transformation.
      mesh: a mesh with the axis ``"data"``, from `seqjax.devices.data_mesh`.

    Returns:
      The compiled function ``(state, batches) -> (next_state, losses [K])``, or with a key
      ``(state, batches, key)``, and with metrics as in `train_steps`. The arrays of the carry are
      ``[B, ...]`` and those of the batches ``[K, B, ...]``; the number of devices must divide B.
      The input state is donated: use the returned state from then on.

    Raises:
      ValueError: an argument has the wrong type, or ``mesh`` has other axes than ``"data"``. The
        returned function raises it as `train_steps` does, if rows do not divide evenly, and on
        several CPU devices if it is traced by an outer transformation such as `jax.jit`.

    >>> from seqjax.devices import data_mesh
    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).mean(), carry
    >>> steps = data_parallel_steps(loss_fn, optax.sgd(0.5), data_mesh(4))
    >>> state = init_train_state(jnp.zeros((), jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = steps(state, jnp.ones((3, 4), jnp.float32))  # 3 steps on 4 rows
    >>> print(losses, state.params)
    [1. 0. 0.] 1.0
    """
    _check_loss_fn(loss_fn)
    _check_optimizer(optimizer)
    if not isinstance(mesh, Mesh) or mesh.axis_names != ("data",):
        raise ValueError(
            "mesh must have one axis, 'data', as seqjax.devices.data_mesh makes it, got "
            f"{describe(mesh)}"
        )
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
        state, batches = _check_state(state), as_arrays("batches", batches)
        if key is not None:
            check_key(key)
        _check_rows(mesh, state.carry, batches)
        state, measured = program(state, batches, key)
        result = (state, *measured)
        if not waits:
            return result
        if isinstance(state.step, jax.core.Tracer):
            raise ValueError(
                "data_parallel_steps was traced, for example by an outer jax.jit. On several CPU "
                "devices each call waits for its result, which a traced call cannot do, so queued "
                "programs could deadlock. The function is already compiled: call it outside of "
                "jit, with more steps per call"
            )
        return jax.block_until_ready(result)

    def lower(state: TrainState, batches: Batch, key: Array | None = None) -> Any:
        return program.lower(state, batches, key)

    run.lower = lower  # type: ignore[attr-defined]
    return run


def _check_rows(mesh: Mesh, carry: State, batches: Batch) -> None:
    """Raise ``ValueError`` unless the devices of ``mesh`` divide the rows of all arrays."""
    _, rows = check_leading_axes("batches", batches, "K", "B")
    if jax.tree.leaves(carry) and check_leading_axes("the carry", carry, "B") != (rows,):
        raise ValueError(f"the carry must be arrays [B, ...] with the B={rows} rows of batches")
    if rows % mesh.size:
        raise ValueError(
            f"the {mesh.size} devices of mesh must divide the rows of a batch, got {rows}; use "
            f"data_mesh({rows})"
        )
