"""cuDNN's LSTM on NVIDIA GPUs, through `jax.experimental.rnn`."""

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from seqjax.operations.masking import select
from seqjax.types import Array, Cell, Params, State


def run_cudnn(
    cell: Cell,
    params: Params,
    state: State,
    xs: Array,
    mask: Array | None,
    lengths: Array | None,
    reverse: bool,
) -> tuple[State, Array]:
    """Run an `LSTM` without options over all steps in one call of cuDNN.

    The products are in TF32 (float32 with a mantissa of 10 bits), except under
    ``jax.default_matmul_precision("highest")``.

    Args:
      cell: a cell with `Cell.cudnn_weights`.
      params: the parameters of the cell, float32.
      state: an `LSTMState` of arrays ``float32[B, H]``.
      xs: ``float32[T, B, D]``, or tokens ``[T, B]``, which become one-hot vectors.
      mask: ``bool[T, B]``, True at valid steps; defaults to all steps.
      lengths: ``int[B]`` if the mask comes from lengths. Any other mask costs a sort.
      reverse: run from the last step of each row to the first.

    Returns:
      ``(final_state, hs)``. The values of ``hs`` outside of the mask are undefined.

    Raises:
      ValueError: cuDNN does not support the cell, a dtype is not float32, or JAX does not run on a
        GPU.

    >>> from seqjax import LSTM, unroll
    >>> cell = LSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3, dtype=jnp.bfloat16)
    >>> try:
    ...     unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32), method="cudnn")
    ... except ValueError as error:
    ...     print(error)
    method 'cudnn' needs float32, got bfloat16
    """
    weights = cell.cudnn_weights(params)
    if weights is None:
        raise ValueError(f"method 'cudnn' needs an LSTM without options, got {cell}; use 'auto'")
    _check(weights, state, xs)
    D, H = cell.input_size(params), cell.output_size
    if jnp.issubdtype(xs.dtype, jnp.integer):
        xs = jax.nn.one_hot(xs, D, dtype=jnp.float32)
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    xs = xs.reshape(num_steps, -1, D)
    order, lengths = _order(mask, lengths, reverse, num_steps, xs.shape[1])
    if order is not None:
        xs = jnp.take_along_axis(xs, order[..., None], axis=0)
    c, h = (s.reshape(1, -1, H) for s in state)
    ys, h, c = rnn.lstm(
        xs.swapaxes(0, 1), h, c, weights, jnp.maximum(lengths, 1), D, H, 1, 0.0, False
    )
    ys = ys.swapaxes(0, 1)
    if order is not None:
        ys = jnp.take_along_axis(ys, jnp.argsort(order, axis=0)[..., None], axis=0)
    after = type(state)(*(s.reshape(*batch_shape, H) for s in (c, h)))
    if mask is not None:
        after = select((lengths > 0).reshape(batch_shape), after, state)
    return after, ys.reshape(num_steps, *batch_shape, H)


def _order(
    mask: Array | None, lengths: Array | None, reverse: bool, num_steps: int, rows: int
) -> tuple[Array | None, Array]:
    """The order ``[T, B]`` of the steps for cuDNN (None if unchanged), and the lengths ``[B]``."""
    steps = jnp.broadcast_to(jnp.arange(num_steps, dtype=jnp.int32)[:, None], (num_steps, rows))
    if mask is None:
        return steps[::-1] if reverse else None, jnp.full(rows, num_steps, jnp.int32)
    if lengths is not None:
        lengths = lengths.reshape(rows).astype(jnp.int32)
        # reverse the valid steps and leave the padding in place
        order = jnp.where(steps < lengths[None], lengths[None] - 1 - steps, steps)
        return order if reverse else None, lengths
    # cuDNN supports lengths but no masks: a stable sort puts the valid steps first
    mask = mask.reshape(num_steps, rows)
    place = -steps if reverse else steps
    order = jnp.argsort(jnp.where(mask, place, num_steps + steps), axis=0)
    return order, mask.sum(0, dtype=jnp.int32)


def _check(weights: Array, state: State, xs: Array) -> None:
    floats = [a.dtype for a in (weights, *jax.tree.leaves(state), xs)]
    wrong = {d.name for d in floats if jnp.issubdtype(d, jnp.floating) and d != jnp.float32}
    if wrong:
        raise ValueError(f"method 'cudnn' needs float32, got {', '.join(sorted(wrong))}")
    if jax.default_backend() != "gpu":
        raise ValueError(
            f"method 'cudnn' needs an NVIDIA GPU, but JAX runs on {jax.default_backend()}; "
            "use 'auto'"
        )
