"""The convolutional LSTM, for sequences of images, lines or volumes."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.lstm import LSTM, LSTMParams, LSTMProjected, LSTMState
from seqjax.checks import check_fixed_size, check_number, check_size
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Activation, Array, Cell, Noise, Role, State, with_roles


class ConvLSTMParams(NamedTuple):
    """Parameters of `ConvLSTM`, with gates in the order i, f, g, o.

    Attributes:
      input_kernel: ``[*window, C, 4F]``.
      recurrent_kernel: ``[*window, F, 4F]``.
      bias: ``[4F]``, including the forget bias; None if ``use_bias`` is false.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None


class ConvLSTMProjected(NamedTuple):
    """The projected inputs of `ConvLSTM`.

    Attributes:
      lstm: the projected inputs of the gates.
      skipped: ``[B, *space, C]``, the inputs; None if there is no skip connection.
    """

    lstm: LSTMProjected
    skipped: Array | None


@dataclasses.dataclass(frozen=True)
class ConvLSTM(Cell):
    """The convolutional LSTM (ConvLSTM), over 1, 2 or 3 spatial axes.

    Maps ``[B, T, *space, C]`` to ``[B, T, *space, F]``; the state is ``c`` and ``h``, each
    ``[B, *space, F]``. The gate order is i, f, g, o (input, forget, candidate, output)::

        i  = sigmoid(x * W_i + h * U_i + b_i)
        f  = sigmoid(x * W_f + h * U_f + b_f)
        g  = tanh(x * W_g + h * U_g + b_g)
        o  = sigmoid(x * W_o + h * U_o + b_o)
        c' = f c + i g
        h' = o tanh(c')

    Here ``*`` is a convolution with zero padding that keeps the shape. The output is ``h'``. The
    cell corresponds to TensorFlow's ``Conv1DLSTMCell``, ``Conv2DLSTMCell`` and ``Conv3DLSTMCell``,
    except that the forget bias is part of the initial ``b_f``.

    Args:
      input_shape: ``(*space, C)``, the shape of one input.
      filters: F, the number of channels of the state.
      window: the shape of the kernels, one size per spatial axis.
      skip_connection: whether the output is ``concat(h', x)``, with F + C channels. TensorFlow's
        cell also puts this into the state, and therefore fails at the second step.
      use_bias: whether biases are learned. Otherwise ``b_f`` is fixed at ``forget_bias`` and the
        other biases are 0.
      forget_bias: the initial ``b_f``.
      activation: applied to the candidate and to ``c'``.
      gate_activation: applied to the gates; Keras's ``recurrent_activation``.

    Raises:
      ValueError: a size is not a whole number of at least 1, there are not 1, 2 or 3 spatial axes,
        or ``window`` does not have one size for each of them.

    Reference: Shi et al., "Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting", 2015; the peepholes are omitted.

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
    _: dataclasses.KW_ONLY
    skip_connection: bool = False
    use_bias: bool = True
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh
    gate_activation: Activation = jax.nn.sigmoid

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("ConvLSTM", "filters", self.filters)
        check_number("ConvLSTM", "forget_bias", self.forget_bias)
        for name in ("input_shape", "window"):
            if not isinstance(getattr(self, name), Sequence):
                raise ValueError(
                    f"ConvLSTM: {name} must be a tuple of sizes, got {getattr(self, name)!r}"
                )
            object.__setattr__(self, name, tuple(getattr(self, name)))
            for axis, size in enumerate(getattr(self, name)):
                check_size("ConvLSTM", f"{name}[{axis}]", size)
        if not len(self.window) == len(self.input_shape) - 1 in (1, 2, 3):
            raise ValueError(
                "ConvLSTM: window must have one size for each of the 1, 2 or 3 spatial axes of "
                f"input_shape, got window {self.window} and input_shape {self.input_shape}"
            )

    @property
    def _lstm(self) -> "_ConvolvedLSTM":
        return _ConvolvedLSTM(
            self.filters,
            forget_bias=self.forget_bias,
            activation=self.activation,
            gate_activation=self.gate_activation,
            window=tuple(self.window),
        )

    @property
    def output_size(self) -> tuple[int, ...]:
        """``(*space, F)``, or ``(*space, F + C)`` with a skip connection."""
        skipped = self.input_shape[-1] if self.skip_connection else 0
        return (*self.input_shape[:-1], self.filters + skipped)

    @property
    def roles(self) -> State:
        """``c`` is the memory and ``h`` the hidden vector."""
        return with_roles(LSTMState, Role.MEMORY, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """Whether the output is ``h``: true unless there is a skip connection."""
        return not self.skip_connection

    def init(
        self, key: Array, input_size: tuple[int, ...], dtype: Any = jnp.float32
    ) -> ConvLSTMParams:
        """Initialise Glorot kernels, the forget bias and other biases of 0."""
        check_fixed_size("ConvLSTM", "input_size", input_size, self.input_shape)
        params = self._lstm.init(key, self.input_shape[-1], dtype)
        bias = params.bias if self.use_bias else None
        return ConvLSTMParams(params.input_kernel, params.recurrent_kernel, bias)

    def input_size(self, params: ConvLSTMParams) -> tuple[int, ...]:
        """Return ``(*space, C)``."""
        return tuple(self.input_shape)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """Return ``c = h = 0``, each ``[B, *space, F]``."""
        return self._lstm.initial_state((*batch_shape, *self.input_shape[:-1]), dtype)

    def project(self, params: ConvLSTMParams, xs: Array, noise: Noise = None) -> ConvLSTMProjected:
        """Compute ``x * W + b`` of i, f, g and o, each ``[..., *space, F]``.

        With a skip connection, also keep x.
        """
        z = self._lstm.project(self._lstm_params(params), xs)
        return ConvLSTMProjected(z, xs if self.skip_connection else None)

    def step(
        self,
        params: ConvLSTMParams,
        state: LSTMState,
        z: ConvLSTMProjected,
    ) -> tuple[LSTMState, Array]:
        """Compute ``c'``, ``h'`` and the output from the state and the projected inputs."""
        state, h = self._lstm.step(self._lstm_params(params), state, z.lstm)
        if z.skipped is not None:
            h = jnp.concatenate([h, z.skipped.astype(h.dtype)], -1)
        return state, h

    def _lstm_params(self, params: ConvLSTMParams) -> LSTMParams:
        bias = params.bias
        if bias is None:
            bias = self._lstm.initial_bias(params.input_kernel.dtype)
        return LSTMParams(params.input_kernel, params.recurrent_kernel, bias)


@dataclasses.dataclass(frozen=True)
class _ConvolvedLSTM(LSTM):
    """An LSTM with convolutions instead of matrix products; its units are channels."""

    _: dataclasses.KW_ONLY
    window: tuple[int, ...] = ()

    def _input_kernel(self, key: Array, input_size: int, dtype: Any) -> Array:
        return glorot_uniform(key, (*self.window, input_size, self.units), 4, dtype)

    def _recurrent_kernel(self, key: Array, dtype: Any) -> Array:
        return self._input_kernel(key, self.units, dtype)

    def _of_input(self, params: LSTMParams, xs: Array) -> Array:
        return _convolve(xs, params.input_kernel)

    def _of_state(self, params: LSTMParams, h: Array) -> Array:
        return _convolve(h, params.recurrent_kernel)


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
