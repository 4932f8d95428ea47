"""Run a cell one step at a time, for streams, reinforcement learning and sampling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_arrays, as_int32, as_params, given_array
from seqjax.engine.validation import (
    check_can_step,
    check_cell,
    check_contexts,
    check_noise,
    check_params,
    check_state,
    noise_of,
    state_dtype,
)
from seqjax.operations.masking import check_tokens, select
from seqjax.types import Array, Cell, Params, PyTree, State


def step(
    cell: Cell,
    params: Params,
    state: State | None,
    x: PyTree,
    *,
    start: Array | None = None,
    key: Array | None = None,
    deterministic: bool = False,
) -> tuple[State, PyTree]:
    """Run one time step of a cell.

    The result equals that of one step of `seqjax.unroll`.

    Args:
      cell: a cell that can run step by step; bidirectional layers cannot.
      params: the parameters of the cell, as `Cell.init` returns them.
      state: the state that the previous step returned, or `Cell.initial_state`; None for the first
        step.
      x: the input of the step, floating ``[B, D]`` or integer tokens ``[B]``, with any number of
        batch axes, or none.
      start: ``bool[B]``, True in rows that start a new sequence. The state of these rows is reset
        before the step, as `Reset` does in `seqjax.unroll`.
      key: a PRNG key for the noise of layers such as `Dropout`, in training. Use a new key for each
        call. Noise that `seqjax.unroll` shares between all time steps differs from call to call.
      deterministic: whether noisy layers run in evaluation mode, without noise. A noisy layer needs
        either ``key`` or ``deterministic=True``.

    Returns:
      ``(next_state, output)``: arrays ``[B, ...]`` and the output ``[B, H]``.

    Raises:
      ValueError: the arguments do not fit together. The values of tokens are checked outside of
        `jax.jit` only.

    >>> import seqjax
    >>> cell = seqjax.GRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> xs = jax.random.normal(jax.random.key(1), (2, 5, 3), jnp.float32)
    >>> state = None
    >>> for t in range(5):
    ...     state, y = step(cell, params, state, xs[:, t])
    >>> final_state, ys = seqjax.unroll(cell, params, xs)
    >>> bool(jnp.allclose(y, ys[:, -1])), bool(jnp.allclose(state.h, final_state.h))
    (True, True)
    """
    check_cell(cell)
    check_can_step(cell)
    check_noise(cell, key, deterministic)
    params, state = as_params(params), as_arrays("state", state)
    check_params(cell, params)
    given = jax.tree.map(functools.partial(given_array, "x"), x)
    leading_shape = cell.leading_shape(params, jax.tree.map(lambda a: a[None], given))
    batch_shape = leading_shape[1:]
    check_contexts(params, batch_shape)

    def convert(a: Array | np.ndarray) -> Array:
        if not jnp.issubdtype(a.dtype, jnp.integer):
            return jnp.asarray(a)[None]
        check_tokens("x", a, cell.input_size(params))
        return as_int32(a)[None]

    with_time = jax.tree.map(convert, given)
    dtype = state_dtype(cell, params, with_time)
    if state is not None:
        check_state(cell, params, state, batch_shape, dtype, "state")
    if start is not None:
        start = given_array("start", start)
        if start.shape != batch_shape or start.dtype != bool:
            raise ValueError(
                f"start must be bool of shape {batch_shape}, the batch axes of x, got "
                f"{start.dtype} of shape {start.shape}"
            )
    return _step(cell, params, state, with_time, start, key, batch_shape, dtype)


@functools.partial(jax.jit, static_argnames=("cell", "batch_shape", "dtype"))
def _step(
    cell: Cell,
    params: Params,
    state: State | None,
    xs: PyTree,
    start: Array | None,
    key: Array | None,
    batch_shape: tuple[int, ...],
    dtype: jnp.dtype,
) -> tuple[State, PyTree]:
    first = cell.first_state(params, batch_shape, dtype)
    if state is None:
        state = first
    elif start is not None:
        state = select(start, first, state)
    noise = noise_of(cell, params, key, (1, *batch_shape))
    z = jax.tree.map(lambda a: a[0], cell.project(params, xs, noise))
    return cell.step(params, state, z)
