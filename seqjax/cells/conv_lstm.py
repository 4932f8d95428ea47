"""The convolutional LSTM, for sequences of images, of lines or of volumes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.affine import accumulation_dtype, broadcast_like, split_gates
from seqjax.cells.lstm import LSTMState
from seqjax.checks import check_fixed_size, check_size
from seqjax.initializers import glorot_uniform
from seqjax.types import Array, Cell, Noise


class ConvLSTMParams(NamedTuple):
    """Parameters of `ConvLSTM`; gates in the order i, f, g, o."""

    input_kernel: Array  # [*window, C, 4F]
    recurrent_kernel: Array  # [*window, F, 4F]
    bias: Array  # [4F], the forget bias included


@dataclasses.dataclass(frozen=True)
class ConvLSTM(Cell):
    """An LSTM over 1, 2 or 3 axes of space, its products convolutions; gate order i, f, g, o::

        i  = sigmoid(x * W_i + h * U_i + b_i)
        f  = sigmoid(x * W_f + h * U_f + b_f)
        g  = tanh(x * W_g + h * U_g + b_g)
        o  = sigmoid(x * W_o + h * U_o + b_o)
        c' = f c + i g
        h' = o tanh(c')

    where ``*`` is a convolution that pads with zeros to keep the shape. The output is ``h'``.
    Inputs are ``[B, T, *space, C]``, states ``[B, *space, F]``. TensorFlow's ``Conv1DLSTMCell``,
    ``Conv2DLSTMCell`` and ``Conv3DLSTMCell``, but for the forget bias, which is here a part of the
    initial ``b_f``.

    Args:
      input_shape: ``(*space, C)`` of one input.
      filters: F, channels of the state.
      window: the shape of the kernels, one number for each axis of space.
      skip_connection: whether the output is ``concat(h', x)``, with F + C channels. TensorFlow
        makes that the state too, and so fails at the second step.
      forget_bias: the initial ``b_f``.

    Raises:
      ValueError: a size is not a whole number of at least 1, or ``window`` does not have an axis
        for each axis of space, of which there may be 1, 2 or 3.

    Reference: Shi et al., "Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting", 2015, without its peepholes.

    >>> from seqjax import ConvLSTM, unroll
    >>> cell = ConvLSTM(input_shape=(6, 5, 1), filters=4, window=(3, 3))
    >>> params = cell.init(jax.random.key(0), input_size=(6, 5, 1))
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 6, 5, 1), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 6, 5, 4), (2, 7, 6, 5, 4))
    """

    input_shape: Sequence[int]
    filters: int
    window: Sequence[int]
    skip_connection: bool = False
    forget_bias: float = 1.0

    def __post_init__(self) -> None:
        check_size("ConvLSTM", "filters", self.filters)
        for name in ("input_shape", "window"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            for axis, size in enumerate(getattr(self, name)):
                check_size("ConvLSTM", f"{name}[{axis}]", size)
        if not len(self.window) == len(self.input_shape) - 1 in (1, 2, 3):
            raise ValueError(
                "ConvLSTM: window must have an axis for each of the 1, 2 or 3 axes of space in "
                f"input_shape, got window {self.window} and input_shape {self.input_shape}"
            )

    @property
    def _state_shape(self) -> tuple[int, ...]:
        return (*self.input_shape[:-1], self.filters)

    @property
    def output_size(self) -> tuple[int, ...]:
        """``(*space, F)``, or ``(*space, F + C)`` with the skip connection."""
        skipped = self.input_shape[-1] if self.skip_connection else 0
        return (*self.input_shape[:-1], self.filters + skipped)

    def init(
        self, key: Array, input_size: tuple[int, ...], dtype: Any = jnp.float32
    ) -> ConvLSTMParams:
        """Draw Glorot kernels and the forget bias."""
        check_fixed_size("ConvLSTM", "input_size", input_size, self.input_shape)
        input_key, recurrent_key = jax.random.split(key)

        def kernel(key: Array, channels: int) -> Array:
            return glorot_uniform(key, (*self.window, channels, self.filters), 4, dtype)

        F = self.filters
        return ConvLSTMParams(
            kernel(input_key, self.input_shape[-1]),
            kernel(recurrent_key, F),
            jnp.zeros(4 * F, dtype).at[F : 2 * F].set(self.forget_bias),
        )

    def input_size(self, params: ConvLSTMParams) -> tuple[int, ...]:
        """``(*space, C)``."""
        return tuple(self.input_shape)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """``c = h = 0``, ``[B, *space, F]``."""
        zeros = jnp.zeros((*batch_shape, *self._state_shape), dtype)
        return LSTMState(zeros, zeros)

    def project(
        self, params: ConvLSTMParams, xs: Array, noise: Noise = None
    ) -> tuple[tuple[Array, ...], Array | None]:
        """``x * W + b`` of i, f, g and o, each ``[..., *space, F]``, and x if it is skipped to."""
        z = _convolve(xs, params.input_kernel)
        z = z + broadcast_like(params.bias, z)
        return split_gates(z, 4), xs if self.skip_connection else None

    def step(
        self,
        params: ConvLSTMParams,
        state: LSTMState,
        z: tuple[tuple[Array, ...], Array | None],
    ) -> tuple[LSTMState, Array]:
        """The equations above, given the four projections."""
        gates, x = z
        recurrent = split_gates(_convolve(state.h, params.recurrent_kernel), 4)
        i, f, g, o = (z_x + z_h for z_x, z_h in zip(gates, recurrent, strict=True))
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        y = h if x is None else jnp.concatenate([h, x.astype(h.dtype)], -1)
        return LSTMState(c, h), y


def _convolve(xs: Array, kernel: Array) -> Array:
    """Convolve ``[..., *space, C]`` with ``[*window, C, N]``, in the precision of the kernel."""
    axes = kernel.ndim - 1
    flat = xs.reshape(math.prod(xs.shape[:-axes]), *xs.shape[-axes:])  # one batch axis
    space = "DHW"[-(axes - 1) :]
    ys = jax.lax.conv_general_dilated(
        flat.astype(kernel.dtype),
        kernel,
        window_strides=(1,) * (axes - 1),
        padding="SAME",
        dimension_numbers=(f"N{space}C", f"{space}IO", f"N{space}C"),
        preferred_element_type=accumulation_dtype(kernel.dtype),
    )
    return ys.reshape(*xs.shape[:-1], -1)
