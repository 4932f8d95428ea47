"""Weight normalisation."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.operations.affine import accumulation_dtype
from seqjax.types import Array, Loop, Noise, Params, PyTree, State
from seqjax.wrappers.wrapper import Wrapper


class WeightNormParams(NamedTuple):
    """Parameters of `WeightNorm`.

    Attributes:
      cell: the parameters of the wrapped cell; only the directions of the kernel columns matter.
      gains: for each kernel ``[..., N]`` its gains ``[N]``; None for any other parameter.
    """

    cell: Params
    gains: Params


@dataclasses.dataclass(frozen=True)
class WeightNorm(Wrapper):
    """A cell with weight normalisation, which separates length and direction of kernel columns.

    State and shapes are those of the wrapped cell::

        kernel = gain * v / sqrt(max(sum(v ** 2), 1e-12))

    for each column ``v`` of each kernel. Kernels are the parameters of the wrapped cell whose name
    ends in ``kernel`` or ``kernels``. Diagonal kernels stay unchanged, because their columns have
    no direction. Initially the kernels equal those of the wrapped cell. A whole sequence normalises
    them once. ``WeightNorm(LSTM(...))`` corresponds to TensorFlow's ``WeightNormLSTMCell``.

    Args:
      cell: the wrapped cell.

    Raises:
      ValueError: ``cell`` is not a cell.

    Reference: Salimans and Kingma, "Weight normalization: a simple reparameterization to accelerate
    training of deep neural networks", 2016.

    >>> from seqjax import LSTM, WeightNorm, unroll
    >>> cell = WeightNorm(LSTM(units=4))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> params.gains.input_kernel.shape, ys.shape
    ((16,), (2, 7, 4))
    """

    _steps_cell: ClassVar[bool] = False

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> WeightNormParams:
        """Initialise the wrapped cell, and the gains to the lengths of its columns."""
        cell = self.cell.init(key, input_size, dtype)

        def gain(path: tuple[Any, ...], param: Array) -> Array | None:
            names = [jax.tree_util.keystr((part,), simple=True) for part in path]
            is_kernel = any(name.endswith(("kernel", "kernels")) for name in names)
            return _length(param).astype(dtype) if is_kernel and param.ndim > 1 else None

        return WeightNormParams(cell, jax.tree.map_with_path(gain, cell))

    def inner(self, params: WeightNormParams) -> Params:
        """Return the parameters of the wrapped cell, with normalised kernels."""

        def make(gain: Array | None, v: Array) -> Array:
            if gain is None:
                return v
            length = _length(v)
            scale = jnp.broadcast_to(gain.astype(length.dtype) / length, v.shape)
            return (scale * v.astype(scale.dtype)).astype(v.dtype)

        return jax.tree.map(make, params.gains, params.cell, is_leaf=lambda gain: gain is None)

    def with_context(
        self, params: WeightNormParams, memory: Array, mask: Array
    ) -> WeightNormParams | None:
        """Bind the context, projected by normalised kernels, or return None."""
        bound = self.cell.with_context(self.inner(params), memory, mask)
        if bound is None:
            return None

        def place(own: Array | None, new: PyTree) -> PyTree:
            return new if own is None else own

        # a bound context is in the place of None
        cell = jax.tree.map(place, params.cell, bound, is_leaf=lambda own: own is None)
        return params._replace(cell=cell)

    def sequence(
        self, loop: Loop, params: WeightNormParams, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Normalise the kernels once, then run the wrapped cell."""
        return self.cell.sequence(loop, self.inner(params), state, xs, noise)


def _length(kernel: Array) -> Array:
    """Return the length of each column, ``[N]``; all axes but the last are rows."""
    square = jnp.square(kernel.astype(accumulation_dtype(kernel.dtype)))
    return jnp.sqrt(jnp.maximum(square.sum(range(kernel.ndim - 1)), 1e-12))
