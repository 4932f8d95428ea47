"""cuDNN's LSTM for NVIDIA GPUs, by way of `jax.experimental.rnn`."""

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from seqjax.cells.lstm import LSTM, LSTMParams, LSTMState
from seqjax.operations.masking import select
from seqjax.types import Array, Cell, Noise


def cudnn_loop(
    mask: Array | None, cell: Cell, params: LSTMParams, state: LSTMState, xs: Array, noise: Noise
) -> tuple[LSTMState, Array]:
    """Run all steps of an `LSTM` without options in one call of cuDNN, forward and backward.

    Its products are in TF32, a float32 with the mantissa of a float16; exact float32 is what
    ``with jax.default_matmul_precision("highest")`` asks for, as for any product in JAX.

    Args:
      mask: ``bool[T, B]``, holes allowed, or None: every step counts.
      cell: what to run.
      params: its parameters, float32.
      state: arrays ``float32[B, H]``.
      xs: ``float32[T, B, D]``, or tokens ``[T, B]``, which cuDNN gets as one-hot vectors.
      noise: of the cell, None.

    Returns:
      ``(final_state, hs)``; what ``hs`` holds outside of the mask has no meaning.

    Raises:
      ValueError: the cell is another one than cuDNN knows, a dtype is not float32, or there is no
        such GPU.

    >>> from seqjax import unroll
    >>> cell = LSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3, dtype=jnp.bfloat16)
    >>> try:
    ...     unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32), method="cudnn")
    ... except ValueError as error:
    ...     print(error)
    method 'cudnn' needs float32, got bfloat16
    """
    _check(cell, params, state, xs)
    D, H = params.input_kernel.shape[0], cell.output_size
    if jnp.issubdtype(xs.dtype, jnp.integer):
        xs = jax.nn.one_hot(xs, D, dtype=jnp.float32)
    num_steps, batch_shape = xs.shape[0], xs.shape[1:-1]
    xs = xs.reshape(num_steps, -1, D)
    lengths = jnp.full(xs.shape[1], num_steps, jnp.int32)
    order = None
    if mask is not None:
        # cuDNN has lengths and no holes, so the steps that count come first: a stable sort
        mask = mask.reshape(xs.shape[:2])
        order = jnp.argsort(~mask, axis=0)
        xs = jnp.take_along_axis(xs, order[..., None], axis=0)
        lengths = mask.sum(0, dtype=jnp.int32)
    c, h = (s.reshape(1, -1, H) for s in state)
    ys, h, c = rnn.lstm(
        xs.swapaxes(0, 1), h, c, _weights(params), jnp.maximum(lengths, 1), D, H, 1, 0.0, False
    )
    ys = ys.swapaxes(0, 1)
    if order is not None:
        ys = jnp.take_along_axis(ys, jnp.argsort(order, axis=0)[..., None], axis=0)
    after = LSTMState(*(s.reshape(*batch_shape, H) for s in (c, h)))
    if mask is not None:
        after = select((lengths > 0).reshape(batch_shape), after, state)
    return after, ys.reshape(num_steps, *batch_shape, H)


def _weights(params: LSTMParams) -> Array:
    """All weights in a row as cuDNN wants them, whose gates have our order and two biases."""
    kernels = [kernel.T.reshape(-1) for kernel in (params.input_kernel, params.recurrent_kernel)]
    return jnp.concatenate([*kernels, params.bias, jnp.zeros_like(params.bias)])


def _check(cell: Cell, params: LSTMParams, state: LSTMState, xs: Array) -> None:
    if not isinstance(cell, LSTM) or cell != LSTM(cell.units, cell.forget_bias):
        raise ValueError(f"method 'cudnn' needs an LSTM without options, got {cell}; use 'auto'")
    floats = [a.dtype for a in (*jax.tree.leaves((params, state)), xs)]
    wrong = {d.name for d in floats if jnp.issubdtype(d, jnp.floating) and d != jnp.float32}
    if wrong:
        raise ValueError(f"method 'cudnn' needs float32, got {', '.join(sorted(wrong))}")
    if jax.default_backend() != "gpu":
        raise ValueError(
            f"method 'cudnn' needs an NVIDIA GPU, and JAX runs on {jax.default_backend()} here; "
            "use 'auto'"
        )
