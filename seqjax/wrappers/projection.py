"""Linear layers before or after a cell."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_activation, check_size
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Activation, Array, Loop, Noise, Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import ParametrisedWrapper, Wrapper, check_one_axis


class ProjectionParams(NamedTuple):
    """Parameters of `InputProjection` and `OutputProjection`.

    Attributes:
      cell: the parameters of the wrapped cell.
      kernel: ``[D, size]`` of an `InputProjection`, or ``[H, size]`` of an `OutputProjection`.
      bias: ``[size]``.
    """

    cell: Params
    kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class _Projection(ParametrisedWrapper):
    """A wrapper with a linear layer."""

    size: int
    activation: Activation | None = None

    _steps_cell: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(type(self).__name__, "size", self.size)
        if self.activation is not None:
            check_activation(type(self).__name__, self.activation)

    def _init(self, key: Array, cell_input: int, layer_input: int, dtype: Any) -> ProjectionParams:
        cell_key, kernel_key = jax.random.split(key)
        return ProjectionParams(
            self.cell.init(cell_key, cell_input, dtype),
            glorot_uniform(kernel_key, (layer_input, self.size), dtype=dtype),
            jnp.zeros(self.size, dtype),
        )

    def _layer(self, params: ProjectionParams, xs: Array) -> Array:
        ys = affine(xs, params.kernel, params.bias)
        return ys if self.activation is None else self.activation(ys)


@dataclasses.dataclass(frozen=True)
class InputProjection(_Projection):
    """A cell with a linear layer on its input.

    Maps ``[B, T, D]`` to the outputs of the wrapped cell; the state is that of the wrapped cell::

        s', y = cell(s, activation(x @ W + b))

    Integer tokens ``[B, T]`` select rows of ``W``, so the layer can embed tokens. The wrapper
    corresponds to TensorFlow's ``InputProjectionWrapper``.

    Args:
      cell: the wrapped cell.
      size: the number of input features of the wrapped cell.
      activation: applied to the layer; defaults to no activation.

    Raises:
      ValueError: ``cell`` is not a cell, or ``size`` is not a whole number of at least 1.

    >>> from seqjax import GRU, InputProjection, unroll
    >>> cell = InputProjection(GRU(4), size=2)
    >>> params = cell.init(jax.random.key(0), input_size=100)
    >>> state, ys = unroll(cell, params, jnp.array([[7, 99, 0]]))
    >>> params.cell.input_kernel.shape, ys.shape
    ((2, 12), (1, 3, 4))
    """

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> ProjectionParams:
        """Initialise the wrapped cell, a Glorot kernel and a bias of 0."""
        check_size("InputProjection", "input_size", input_size)
        return self._init(key, self.size, input_size, dtype)

    def input_size(self, params: ProjectionParams) -> int:
        """Return the number of input features, or the vocabulary size."""
        return params.kernel.shape[0]

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Draw the noise of the wrapped cell."""
        return self.cell.draw_noise(key, leading_shape, self.size)

    def project(self, params: ProjectionParams, xs: Array, noise: Noise = None) -> Projected:
        """Apply the layer, then project for the wrapped cell."""
        return self.cell.project(params.cell, self._layer(params, xs), noise)

    def sequence(
        self, loop: Loop, params: ProjectionParams, state: State, xs: Array, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Apply the layer to all steps at once, then run the wrapped cell."""
        return self.cell.sequence(loop, params.cell, state, self._layer(params, xs), noise)

    def features(self, xs: PyTree) -> PyTree:
        """Return all inputs."""
        return xs

    def leading_shape(self, params: ProjectionParams, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes of features or tokens."""
        return super(Wrapper, self).leading_shape(params, xs)


@dataclasses.dataclass(frozen=True)
class OutputProjection(_Projection):
    """A cell with a linear layer on its output, such as a readout of logits.

    Maps the inputs of the wrapped cell to ``[B, T, size]``; the state is that of the wrapped cell::

        s', o = cell(s, x)
        y     = activation(o @ W + b)

    Over a whole sequence the layer is one product for all steps. The wrapper corresponds to
    TensorFlow's ``OutputProjectionWrapper``.

    Args:
      cell: the wrapped cell.
      size: the number of output features.
      activation: applied to the layer; defaults to no activation.

    Raises:
      ValueError: ``cell`` is not a cell with one output feature axis, or ``size`` is not a whole
        number of at least 1.

    >>> from seqjax import GRU, OutputProjection, unroll
    >>> cell = OutputProjection(GRU(4), size=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, logits = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, logits.shape
    ((2, 4), (2, 7, 2))
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("OutputProjection", self.cell)
        super().__post_init__()

    @property
    def output_size(self) -> int:
        """The number of output features, ``size``."""
        return self.size

    @property
    def outputs_hidden(self) -> bool:
        """False: the output is projected."""
        return False

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> ProjectionParams:
        """Initialise the wrapped cell, a Glorot kernel and a bias of 0."""
        return self._init(key, input_size, self.cell.output_size, dtype)

    def step(self, params: ProjectionParams, state: State, z: Projected) -> tuple[State, Array]:
        """Step the wrapped cell and project its output."""
        state, y = self.cell.step(params.cell, state, z)
        return state, self._layer(params, y)

    def sequence(
        self, loop: Loop, params: ProjectionParams, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, Array]:
        """Run the wrapped cell, then project all outputs at once."""
        state, ys = self.cell.sequence(loop, params.cell, state, xs, noise)
        return state, self._layer(params, ys)
