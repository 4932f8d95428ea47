"""Skip connections from the input of a cell to its output."""

import dataclasses
import operator
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.affine import affine, split_gates
from seqjax.operations.features import check_features
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Loop, Noise, Params, Projected, State
from seqjax.wrappers.wrapper import (
    ParametrisedWrapper,
    Wrapper,
    check_one_axis,
    check_same_size,
)


@dataclasses.dataclass(frozen=True)
class Residual(Wrapper):
    """A residual connection around a cell, which adds the input to the output.

    Maps ``[B, T, D]`` to ``[B, T, H]``, with D = H for the default sum; parameters and state are
    those of the wrapped cell::

        s', o = cell(s, x)
        y     = combine(x, o)

    The wrapper corresponds to TensorFlow's ``ResidualWrapper``.

    Args:
      cell: the wrapped cell.
      combine: a function of input ``[..., D]`` and output ``[..., H]``; defaults to the sum.

    Raises:
      ValueError: ``cell`` is not a cell, ``combine`` is not a function, the sizes of a default sum
        differ, or the inputs are tokens.

    Reference: Wu et al., "Google's neural machine translation system", 2016.

    >>> from seqjax import GRU, Residual, unroll
    >>> cell = Residual(GRU(3))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> bool((ys[:, -1] == 1 + state.h).all())
    True
    """

    combine: Callable[[Array, Array], Array] = operator.add

    _steps_cell: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.combine):
            raise ValueError(
                "Residual: combine must be a function of input and output, such as operator.add, "
                f"got {self.combine!r}"
            )

    @property
    def outputs_hidden(self) -> bool:
        """False: the output is combined with the input."""
        return False

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> Params:
        """Initialise the wrapped cell."""
        if self.combine is operator.add:
            check_same_size("Residual", input_size, self.cell.output_size)
        return self.cell.init(key, input_size, dtype)

    def project(self, params: Params, xs: Array, noise: Noise = None) -> tuple[Projected, Array]:
        """Project for the wrapped cell, and pass on the inputs."""
        check_features("Residual", xs)
        return self.cell.project(params, xs, noise), xs

    def step(self, params: Params, state: State, z: tuple[Projected, Array]) -> tuple[State, Array]:
        """Step the wrapped cell, and combine its output with the input."""
        inner, x = z
        state, y = self.cell.step(params, state, inner)
        return state, self.combine(x, y)

    def sequence(
        self, loop: Loop, params: Params, state: State, xs: Array, noise: Noise = None
    ) -> tuple[State, Array]:
        """Run the wrapped cell, then combine all steps at once."""
        check_features("Residual", xs)
        state, ys = self.cell.sequence(loop, params, state, xs, noise)
        return state, self.combine(xs, ys)


@dataclasses.dataclass(frozen=True)
class KeepFeatures(Wrapper):
    """A cell that also outputs some of its input features, for the layers above it.

    Maps ``[B, T, D]`` to ``[B, T, H + size]``; parameters and state are those of the wrapped cell::

        s', o = cell(s, x)
        y     = concat(o, the last size features of x)

    Every layer of the decoder of Google's translation system reads the context vector that the
    lowest layer computes::

        Stack([
            ContextAttention(LSTM(64), Additive(64), memory_size=32, outputs="both"),
            KeepFeatures(LSTM(64), size=32),
            LSTM(64),
        ])

    Args:
      cell: the wrapped cell, whose outputs have one feature axis.
      size: the number of features to keep.

    Raises:
      ValueError: ``cell`` is not a cell with one output feature axis, ``size`` is not a whole
        number of at least 1, or the inputs are tokens or have fewer features.

    Reference: Wu et al., "Google's neural machine translation system", 2016.

    >>> from seqjax import GRU, unroll
    >>> from seqjax.wrappers import KeepFeatures
    >>> cell = KeepFeatures(GRU(4), size=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> ys.shape
    (2, 7, 6)
    """

    size: int

    _steps_cell: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("KeepFeatures", self.cell)
        check_size("KeepFeatures", "size", self.size)

    @property
    def output_size(self) -> int:
        """The output size of the wrapped cell plus the kept features."""
        return self.cell.output_size + self.size

    @property
    def outputs_hidden(self) -> bool:
        """False: the output includes features."""
        return False

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> Params:
        """Initialise the parameters of the wrapped cell."""
        if input_size < self.size:
            raise ValueError(
                f"KeepFeatures: size={self.size} needs at least as many input features, got "
                f"input_size={input_size}"
            )
        return self.cell.init(key, input_size, dtype)

    def project(self, params: Params, xs: Array, noise: Noise = None) -> tuple[Projected, Array]:
        """Project for the wrapped cell, and pass on the kept features."""
        return self.cell.project(self.inner(params), xs, noise), self._kept(xs)

    def step(self, params: Params, state: State, z: tuple[Projected, Array]) -> tuple[State, Array]:
        """Step the wrapped cell, and join its output and the kept features."""
        of_cell, kept = z
        state, o = self.cell.step(self.inner(params), state, of_cell)
        return state, self._join(o, kept)

    def sequence(
        self, loop: Loop, params: Params, state: State, xs: Array, noise: Noise = None
    ) -> tuple[State, Array]:
        """Run the wrapped cell, then join all outputs and features."""
        state, os = self.cell.sequence(loop, self.inner(params), state, xs, noise)
        return state, self._join(os, self._kept(xs))

    def _kept(self, xs: Array) -> Array:
        check_features("KeepFeatures", xs)
        return xs[..., -self.size :]

    def _join(self, o: Array, kept: Array) -> Array:
        return jnp.concatenate([o, kept.astype(o.dtype)], -1)


class HighwayParams(NamedTuple):
    """Parameters of `Highway`, with gates in the order carry, transform.

    G is 2, or 1 if the transform gate is coupled to the carry gate.

    Attributes:
      cell: the parameters of the wrapped cell.
      kernel: ``[D, G*D]``.
      bias: ``[G*D]``.
    """

    cell: Params
    kernel: Array
    bias: Array


@dataclasses.dataclass(frozen=True)
class Highway(ParametrisedWrapper):
    """A gated skip connection around a cell.

    Maps ``[B, T, D]`` to ``[B, T, D]``; the state is that of the wrapped cell. The gate order is
    carry, transform::

        s', o     = cell(s, x)
        carry     = sigmoid(x @ W_c + b_c)
        transform = 1 - carry                  coupled
        transform = sigmoid(x @ W_t + b_t)     coupled=False
        y         = carry * x + transform * o

    The gates read only the input, so they are computed for all steps at once. The wrapper
    corresponds to TensorFlow's ``HighwayWrapper``.

    Args:
      cell: the wrapped cell, whose output has the size of its input.
      coupled: whether the transform gate is ``1 - carry``.
      carry_bias: the initial ``b_c`` and ``-b_t``. A positive value mostly carries the input at
        first.

    Raises:
      ValueError: ``cell`` is not a cell with one output feature axis, its input and output sizes
        differ, or the inputs are tokens.

    Reference: Srivastava, Greff and Schmidhuber, "Highway networks", 2015.

    >>> from seqjax import GRU, Highway, unroll
    >>> cell = Highway(GRU(3))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 3), (2, 7, 3))
    """

    coupled: bool = True
    carry_bias: float = 1.0

    _steps_cell: ClassVar[bool] = False

    @property
    def outputs_hidden(self) -> bool:
        """False: the output is a gated sum."""
        return False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("Highway", self.cell)

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> HighwayParams:
        """Initialise the wrapped cell, Glorot kernels and the carry bias."""
        check_same_size("Highway", input_size, self.cell.output_size)
        cell_key, kernel_key = jax.random.split(key)
        carry_bias = jnp.full(input_size, self.carry_bias, dtype)
        bias = carry_bias if self.coupled else jnp.concatenate([carry_bias, -carry_bias])
        return HighwayParams(
            self.cell.init(cell_key, input_size, dtype),
            glorot_uniform(kernel_key, (input_size, input_size), 2 - self.coupled, dtype),
            bias,
        )

    def project(
        self, params: HighwayParams, xs: Array, noise: Noise = None
    ) -> tuple[Projected, Array, Array]:
        """Project for the wrapped cell; compute ``carry * x`` and ``transform``."""
        return self.cell.project(params.cell, xs, noise), *self._gates(params, xs)

    def step(
        self, params: HighwayParams, state: State, z: tuple[Projected, Array, Array]
    ) -> tuple[State, Array]:
        """Step the wrapped cell and gate its output."""
        inner, carried, transform = z
        state, y = self.cell.step(params.cell, state, inner)
        return state, carried + transform * y

    def sequence(
        self, loop: Loop, params: HighwayParams, state: State, xs: Array, noise: Noise = None
    ) -> tuple[State, Array]:
        """Run the wrapped cell, then apply the gates to all steps at once."""
        carried, transform = self._gates(params, xs)
        state, ys = self.cell.sequence(loop, params.cell, state, xs, noise)
        return state, carried + transform * ys

    def _gates(self, params: HighwayParams, xs: Array) -> tuple[Array, Array]:
        check_features("Highway", xs)
        gates = jax.nn.sigmoid(affine(xs, params.kernel, params.bias))
        if self.coupled:
            return gates * xs, 1 - gates
        carry, transform = split_gates(gates, 2)
        return carry * xs, transform
