"""The simple recurrent network of Elman: one layer that receives its own last output."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.types import Activation, Array, HiddenState, Noise


class BasicRNNParams(NamedTuple):
    """Parameters of `BasicRNN`.

    Attributes:
      input_kernel: ``[D, H]``.
      recurrent_kernel: ``[H, H]``, or ``[H]`` for an `IndRNN`.
      bias: ``[H]``.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class BasicRNN(HiddenCell):
    """The Elman network, or simple recurrent network.

    Maps ``[B, T, D]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``::

        h' = activation(x @ W + h @ U + b)

    The output is ``h'``. The cell corresponds to TensorFlow's ``BasicRNNCell``, whose one kernel
    stacks ``W`` on ``U``.

    Args:
      units: H, the width of the state and of the output.
      activation: applied to each unit.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Elman, "Finding structure in time", 1990.

    >>> from seqjax import BasicRNN, unroll
    >>> cell = BasicRNN(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    activation: Activation = jnp.tanh

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> BasicRNNParams:
        """Initialise a Glorot input kernel, an orthogonal recurrent kernel and a bias of 0."""
        check_size(type(self).__name__, "input_size", input_size)
        input_key, recurrent_key = jax.random.split(key)
        return BasicRNNParams(
            glorot_uniform(input_key, (input_size, self.units), dtype=dtype),
            self._recurrent_kernel(recurrent_key, dtype),
            jnp.zeros(self.units, dtype),
        )

    def project(self, params: BasicRNNParams, xs: Array, noise: Noise = None) -> Array:
        """Compute ``x @ W + b``, ``[..., H]``."""
        return affine(xs, params.input_kernel, params.bias)

    def step(
        self, params: BasicRNNParams, state: HiddenState, z: Array
    ) -> tuple[HiddenState, Array]:
        """Compute ``h'`` from ``h`` and the projected inputs."""
        h = self.activation(z + affine(state.h, params.recurrent_kernel))
        return HiddenState(h), h

    # Variants override:

    def _recurrent_kernel(self, key: Array, dtype: Any) -> Array:
        return orthogonal(key, self.units, dtype=dtype)
