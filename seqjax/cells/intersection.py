"""The intersection network, with one gate through time and one through depth."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_input_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.features import check_features
from seqjax.operations.initializers import gate_biases, glorot_uniform, orthogonal
from seqjax.types import Activation, Array, HiddenState, Noise, Params


class IntersectionRNNParams(NamedTuple):
    """Parameters of `IntersectionRNN`, with gates in the order gh, n, gy, y.

    Attributes:
      input_kernel: ``[H, 4H]``.
      recurrent_kernel: ``[H, 4H]``.
      bias: ``[4H]``, including the forget biases.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class IntersectionRNN(HiddenCell):
    """The intersection network (+RNN).

    Maps ``[B, T, H]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is gh, n,
    gy, y (gate through time, candidate state, gate through depth, candidate output)::

        gh = sigmoid(x @ W_gh + h @ U_gh + b_gh)
        n  = tanh(x @ W_n + h @ U_n + b_n)
        gy = sigmoid(x @ W_gy + h @ U_gy + b_gy)
        y  = activation(x @ W_y + h @ U_y + b_y)
        h' = gh * h + (1 - gh) * n        through time
        y' = gy * x + (1 - gy) * y        through depth

    The output is ``y'``, so inputs must have H features. The cell corresponds to TensorFlow's
    ``IntersectionRNNCell``, except that the forget bias is part of the initial ``b_gh`` and
    ``b_gy``. Wrap the cell in an `InputProjection` to get its ``num_in_proj``.

    Args:
      units: H, the width of the input, of the state and of the output.
      forget_bias: the initial ``b_gh`` and ``b_gy``.
      activation: applied to the candidate output ``y``.
      gate_activation: applied to the gates; Keras's ``recurrent_activation``.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Collins, Sohl-Dickstein and Sussillo, "Capacity and trainability in recurrent neural
    networks", 2017.

    >>> from seqjax import IntersectionRNN, unroll
    >>> cell = IntersectionRNN(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=4)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 4), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    _: dataclasses.KW_ONLY
    forget_bias: float = 1.0
    activation: Activation = jax.nn.relu
    gate_activation: Activation = jax.nn.sigmoid

    @property
    def outputs_hidden(self) -> bool:
        """False: the output is ``y'``."""
        return False

    def merge_embedding(self, params: Params, table: Array) -> None:
        """Return None, because the output includes the input itself."""

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> IntersectionRNNParams:
        """Initialise Glorot input kernels, orthogonal recurrent kernels and the forget biases."""
        check_input_size("IntersectionRNN", input_size, self.units)
        input_key, recurrent_key = jax.random.split(key)
        biases = [self.forget_bias, 0, self.forget_bias, 0]
        return IntersectionRNNParams(
            glorot_uniform(input_key, (self.units, self.units), gates=4, dtype=dtype),
            orthogonal(recurrent_key, self.units, gates=4, dtype=dtype),
            gate_biases(biases, self.units, dtype),
        )

    def input_size(self, params: IntersectionRNNParams) -> int:
        """Return the number of input features, H."""
        return self.units

    def project(
        self, params: IntersectionRNNParams, xs: Array, noise: Noise = None
    ) -> tuple[Array, ...]:
        """Compute ``x @ W + b`` of gh, n, gy and y, and ``x`` itself, each ``[..., H]``."""
        check_features("IntersectionRNN", xs)
        z = split_gates(affine(xs, params.input_kernel, params.bias), 4)
        return *z, xs.astype(z[0].dtype)

    def step(
        self, params: IntersectionRNNParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, Array]:
        """Compute ``h'`` and ``y'`` from ``h`` and the projected inputs."""
        *projected, x = z
        recurrent = split_gates(affine(state.h, params.recurrent_kernel), 4)
        gh, n, gy, y = (z_x + z_h for z_x, z_h in zip(projected, recurrent, strict=True))
        gh, gy = self.gate_activation(gh), self.gate_activation(gy)
        h = gh * state.h + (1 - gh) * jnp.tanh(n)
        return HiddenState(h), gy * x + (1 - gy) * self.activation(y)
