"""Mutual gating of input and state before each step."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.affine import affine
from seqjax.operations.features import check_features
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Noise, Params, PyTree, State
from seqjax.wrappers.wrapper import (
    ParametrisedWrapper,
    check_one_axis,
    has_hidden,
    hidden,
    with_hidden,
)


class MogrifierParams(NamedTuple):
    """Parameters of `Mogrifier`.

    Attributes:
      cell: the parameters of the wrapped cell.
      kernels: for each round a tuple of one kernel ``[H, D]`` or ``[D, H]`` in turn, or of its two
        factors ``[..., rank]`` and ``[rank, ...]``.
    """

    cell: Params
    kernels: tuple[tuple[Array, ...], ...]


@dataclasses.dataclass(frozen=True)
class Mogrifier(ParametrisedWrapper):
    """A cell whose input and state gate each other before each step.

    State and shapes are those of the wrapped cell::

        x = 2 * sigmoid(h @ Q) * x        rounds 1, 3, 5, ...
        h = 2 * sigmoid(x @ R) * h        rounds 2, 4, 6, ...

    Each round has its own kernel, which can be a product of two low-rank factors. The wrapped cell
    then takes its step. Because ``x`` depends on ``h``, the wrapped cell projects one step at a
    time. ``Mogrifier(LSTM(...))`` is the paper's Mogrifier LSTM.

    Args:
      cell: the wrapped cell, whose state has a real hidden vector ``h``.
      rounds: the number of gating rounds.
      rank: the rank of the kernels, or None for full kernels.

    Raises:
      ValueError: ``cell`` is not a cell with one output feature axis, its state has no real hidden
        vector, or ``rounds`` or ``rank`` is not a whole number of at least 1.

    Reference: Melis, Kocisky and Blunsom, "Mogrifier LSTM", 2020.

    >>> from seqjax import LSTM, Mogrifier, unroll
    >>> cell = Mogrifier(LSTM(units=4))
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    rounds: int = 5
    rank: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("Mogrifier", self.cell)
        real = has_hidden(self.cell) and jnp.issubdtype(
            hidden(self.cell, self._state_shape()).dtype, jnp.floating
        )
        if not real:
            raise ValueError(
                "Mogrifier: the state of the cell must have a real hidden vector, got "
                f"{self.cell}; use a cell such as LSTM or GRU"
            )
        check_size("Mogrifier", "rounds", self.rounds)
        if self.rank is not None:
            check_size("Mogrifier", "rank", self.rank)

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> MogrifierParams:
        """Initialise the wrapped cell and Glorot kernels."""
        cell_key, *keys = jax.random.split(key, 1 + self.rounds)
        params = self.cell.init(cell_key, input_size, dtype)
        sizes = [hidden(self.cell, self._state_shape()).shape[-1], input_size]
        kernels = []
        for n, round_key in enumerate(keys):
            rows, columns = sizes[::-1] if n % 2 else sizes
            shapes = [(rows, columns)]
            if self.rank is not None:
                shapes = [(rows, self.rank), (self.rank, columns)]
            factors = zip(jax.random.split(round_key, len(shapes)), shapes, strict=True)
            kernels.append(tuple(glorot_uniform(k, shape, dtype=dtype) for k, shape in factors))
        return MogrifierParams(params, tuple(kernels))

    def project(
        self, params: MogrifierParams, xs: Array, noise: Noise = None
    ) -> tuple[Array, Noise]:
        """Pass on the inputs and the noise, because gating requires the state."""
        check_features("Mogrifier", xs)
        return xs, noise

    def step(
        self, params: MogrifierParams, state: State, z: tuple[Array, Noise]
    ) -> tuple[State, PyTree]:
        """Gate input and state, then step the wrapped cell."""
        x, noise = z
        h = hidden(self.cell, state)
        x = x.astype(h.dtype)
        for n, factors in enumerate(params.kernels):
            if n % 2:
                h = 2 * jax.nn.sigmoid(functools.reduce(affine, factors, x)) * h
            else:
                x = 2 * jax.nn.sigmoid(functools.reduce(affine, factors, h)) * x
        z = self.cell.project(params.cell, x, noise)
        return self.cell.step(params.cell, with_hidden(self.cell, state, h), z)

    def _state_shape(self) -> State:
        return jax.eval_shape(self.cell.initial_state)
