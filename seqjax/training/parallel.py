"""Training steps on the devices of a mesh."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.arrays import as_arrays, check_leading_axes
from seqjax.checks import check_key, check_size
from seqjax.training.sharding import check_mesh
from seqjax.training.state import (
    Batch,
    LossFn,
    Metrics,
    TrainState,
    check_loss_fn,
    check_optimizer,
    check_state,
)
from seqjax.training.steps import train_steps
from seqjax.types import Array, Params, PyTree, State


def data_parallel_steps(
    loss_fn: LossFn[*Metrics],
    optimizer: optax.GradientTransformation,
    mesh: Mesh,
    *,
    accumulate: int = 1,
) -> Callable[..., tuple[TrainState, Array, *Metrics]]:
    """Create a version of `train_steps` that splits the rows of each batch over devices.

    The steps are those of `train_steps`, of which each device computes its own rows of the batch
    and of the carry. Losses, noise, metrics and the next state are those of one device, up to the
    order of sums. Gradients are reduced once per micro-batch. Create the function
    once: each call of `data_parallel_steps` compiles a new program.

    Parameters and optimizer state are replicated, or split as those of the given state are, for
    example by `state_shardings`. The returned state has the same layout.

    On several CPU devices, each call waits for its result. Otherwise a queued program could start
    on some devices, wait for the others and deadlock. Take many steps per call. An outer `jax.jit`
    would remove the wait, so the function raises an error if it is traced. To inspect the program,
    call its method ``lower`` with the same arguments, as with `jax.jit`.

    Args:
      loss_fn: as in `train_step`. It gets the whole batch. `seqjax.unroll` runs each row on the
        device that holds it, and JAX partitions all other operations.
      optimizer: any optax transformation.
      mesh: a mesh with the axis ``"data"``, from `seqjax.devices.data_mesh`.
      accumulate: the number of micro-batches, as in `train_step`.

    Returns:
      The compiled function ``(state, batches) -> (next_state, losses [K])``, or with a key
      ``(state, batches, key)``, and with metrics as in `train_steps`. The arrays of the carry are
      ``[B, ...]`` and those of the batches ``[K, B, ...]``; the number of devices must divide the
      ``B / accumulate`` rows of a micro-batch. The input state is donated: use the returned state
      from then on.

    Raises:
      ValueError: an argument has the wrong type, or ``mesh`` has other axes than ``"data"``. The
        returned function raises it as `train_steps` does, if rows do not divide evenly, and on
        several CPU devices if it is traced by an outer transformation such as `jax.jit`.

    >>> import jax.numpy as jnp
    >>> from seqjax.devices import data_mesh
    >>> from seqjax.training import init_train_state
    >>> def loss_fn(params, carry, batch):
    ...     return ((params - batch) ** 2).mean(), carry
    >>> steps = data_parallel_steps(loss_fn, optax.sgd(0.5), data_mesh(4))
    >>> state = init_train_state(jnp.zeros((), jnp.float32), optax.sgd(0.5), carry=None)
    >>> state, losses = steps(state, jnp.ones((3, 4), jnp.float32))  # 3 steps on 4 rows
    >>> print(losses, state.params)
    [1. 0. 0.] 1.0
    """
    check_loss_fn(loss_fn)
    check_optimizer(optimizer)
    check_mesh(mesh)
    check_size("data_parallel_steps", "accumulate", accumulate)
    chunks = NamedSharding(mesh, PartitionSpec(None, "data"))
    whole = NamedSharding(mesh, PartitionSpec())
    waits = mesh.size > 1 and mesh.devices.flat[0].platform == "cpu"

    @functools.lru_cache(maxsize=8)
    def program(structure: jax.tree_util.PyTreeDef, leaves: tuple[NamedSharding, ...]) -> Any:
        """The compiled steps of states with these shardings."""
        layout: TrainState = jax.tree.unflatten(structure, leaves)

        def steps(state: TrainState, batches: Batch, key: Array | None) -> tuple[TrainState, Any]:
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # read by seqjax.unroll
                state, *measured = train_steps(
                    loss_fn, _keep(optimizer, layout), state, batches, key=key,
                    accumulate=accumulate,
                )  # fmt: skip
            return state, measured

        return jax.jit(
            steps,
            donate_argnums=0,
            in_shardings=(layout, chunks, whole),
            out_shardings=(layout, whole),
        )

    def place(state: TrainState, batches: Batch, key: Array | None) -> tuple[Any, tuple[Any, ...]]:
        """The program for the layout of ``state``, and its arguments on the devices."""
        state, batches = check_state(state), as_arrays("batches", batches)
        if key is not None:
            check_key(key)
        _check_rows(mesh, state.carry, batches, accumulate)
        leaves, structure = jax.tree.flatten(_layout(state, mesh))
        # jax.device_put takes as long as a small step, even where nothing moves
        if not all(map(_is_placed, jax.tree.leaves(state), leaves)):
            state = jax.device_put(state, jax.tree.unflatten(structure, leaves))
        if not all(_can_pass(leaf, chunks) for leaf in jax.tree.leaves(batches)):
            batches = jax.device_put(batches, chunks)
        return program(structure, tuple(leaves)), (state, batches, key)

    def run(state: TrainState, batches: Batch, key: Array | None = None) -> Any:
        steps, arguments = place(state, batches, key)
        state, measured = steps(*arguments)
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
        steps, arguments = place(state, batches, key)
        return steps.lower(*arguments)

    run.lower = lower  # type: ignore[attr-defined]
    return run


def _is_placed(leaf: Array, sharding: NamedSharding) -> bool:
    return not isinstance(leaf, jax.core.Tracer) and leaf.sharding == sharding


def _can_pass(leaf: Array, sharding: NamedSharding) -> bool:
    """Whether `jax.jit` takes the array for this sharding."""
    if isinstance(leaf, jax.core.Tracer) or leaf.sharding == sharding:
        return True
    return not leaf.committed and sharding.is_fully_addressable


def _layout(state: TrainState, mesh: Mesh) -> TrainState:
    """The shardings of a state: the carry split by rows, parameters and optimizer as they are."""
    whole, rows = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in ((), ("data",)))

    def of(leaf: Array) -> NamedSharding:
        given = None if isinstance(leaf, jax.core.Tracer) else leaf.sharding
        return given if isinstance(given, NamedSharding) and given.mesh == mesh else whole

    params, opt_state = jax.tree.map(of, (state.params, state.opt_state))
    carry = jax.tree.map(lambda _: rows, state.carry)
    return TrainState(whole, params, opt_state, carry)  # type: ignore[arg-type]


def _keep(
    optimizer: optax.GradientTransformation, layout: TrainState
) -> optax.GradientTransformation:
    """The optimizer whose gradients, updates and state have a layout, on each device its part."""

    def update(
        grads: Params, opt_state: optax.OptState, params: Params
    ) -> tuple[Params, optax.OptState]:
        constrain: Callable[[PyTree, Any], PyTree] = jax.lax.with_sharding_constraint
        updates, opt_state = optimizer.update(constrain(grads, layout.params), opt_state, params)
        return constrain(updates, layout.params), constrain(opt_state, layout.opt_state)

    return optax.GradientTransformation(optimizer.init, update)


def _check_rows(mesh: Mesh, carry: State, batches: Batch, accumulate: int) -> None:
    """Raise ``ValueError`` unless the devices of ``mesh`` divide the rows of all arrays."""
    _, rows = check_leading_axes("batches", batches, "K", "B")
    if jax.tree.leaves(carry) and check_leading_axes("the carry", carry, "B") != (rows,):
        raise ValueError(f"the carry must be arrays [B, ...] with the B={rows} rows of batches")
    if rows % accumulate:
        raise ValueError(
            f"accumulate must divide the rows of a batch, got accumulate={accumulate} and {rows} "
            "rows"
        )
    micro = rows // accumulate
    if micro % mesh.size:
        of = "a batch" if accumulate == 1 else f"each of the accumulate={accumulate} micro-batches"
        raise ValueError(
            f"the {mesh.size} devices of mesh must divide the rows of {of}, got {micro}; use "
            f"data_mesh({micro})"
        )
