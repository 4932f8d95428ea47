"""Dropout around a cell."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.checks import check_rate
from seqjax.types import Array, Cell, Loop, Noise, Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import Wrapper, check_features


class DropoutNoise(NamedTuple):
    """The masks of `Dropout`, true where a unit is kept; None where nothing is dropped."""

    input: Array | None = None  # [T, B, D]
    state: PyTree = None  # [T, B, ...] for each array of the state
    output: Array | None = None  # [T, B, H]
    cell: Noise = None  # of the cell inside


@dataclasses.dataclass(frozen=True)
class Dropout(Wrapper):
    """Dropout on the inputs, the state and the outputs of a cell::

        s', o  = cell(s, drop(x, input_rate))
        y      = drop(o, output_rate)
        s'     = drop(s', state_rate)        after o is computed: next step sees it, and the caller
        drop(a, rate) = a * keep / (1 - rate),   keep ~ Bernoulli(1 - rate) for each unit

    TensorFlow's ``DropoutWrapper``, by rates of what is dropped and not of what is kept. Parameters
    and state are those of the cell inside. Without a key nothing is dropped.

    Args:
      cell: the cell inside.
      input_rate: the probability to drop a feature of the input.
      state_rate: that to drop a unit of the state. One number spares a memory ``c`` beside an
        ``h``, as TensorFlow does; or give one for each array, ``LSTMState(c=0.1, h=0.2)``. The
        ``c``, ``n`` and ``m`` of an xLSTM cannot be dropped.
      output_rate: that to drop a unit of the output.
      locked: draw one mask for all steps of a sequence (variational dropout) and not one for each
        step. Every row of the batch has masks of its own; TensorFlow's variational dropout uses one
        for all rows.

    Raises:
      ValueError: ``cell`` is not a cell, a rate is outside ``[0, 1)``, or the rates of the state do
        not have its structure; later, if tokens meet an ``input_rate``.

    References: Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization", 2014;
    Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural
    networks", 2016 (locked).

    >>> from seqjax import Dropout, LSTM, unroll
    >>> cell = Dropout(LSTM(4), input_rate=0.2, state_rate=0.5, locked=True)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32), key=jax.random.key(1))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    input_rate: float = 0.0
    state_rate: float | State = 0.0
    output_rate: float = 0.0
    locked: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("Dropout", "input_rate", self.input_rate)
        check_rate("Dropout", "output_rate", self.output_rate)
        self._state_rates()

    def _state_rates(self) -> State:
        rates = rates_by_array("Dropout", "state_rate", self.state_rate, self.cell)
        if rates is self.state_rate:
            return rates

        def spare(state: State) -> State:
            return state._replace(c=0.0) if _has_fields("c", "h")(state) else state

        return jax.tree.map(spare, rates, is_leaf=_has_fields("c", "h"))

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: int
    ) -> DropoutNoise:
        """Draw the masks of all steps; locked ones are broadcast over T."""
        input_key, state_key, output_key, cell_key = jax.random.split(key, 4)

        def kept(key: Array, rate: float, size: int | tuple[int, ...]) -> Array | None:
            features = size if isinstance(size, tuple) else (size,)
            return draw_kept(key, rate, (*leading_shape, *features), self.locked)

        return DropoutNoise(
            kept(input_key, self.input_rate, input_size),
            draw_kept_state(state_key, self._state_rates(), self.cell, leading_shape, self.locked),
            kept(output_key, self.output_rate, self.output_size),
            self.cell.draw_noise(cell_key, leading_shape, input_size),
        )

    def project(
        self, params: Params, xs: PyTree, noise: DropoutNoise | None = None
    ) -> tuple[Projected, DropoutNoise]:
        """Drop features of the input and project; pass on the masks of state and output."""
        noise = noise or DropoutNoise()
        zs = self.cell.project(params, self._drop_inputs(xs, noise), noise.cell)
        return zs, DropoutNoise(state=noise.state, output=noise.output)

    def step(
        self, params: Params, state: State, z: tuple[Projected, DropoutNoise]
    ) -> tuple[State, PyTree]:
        """Step the cell inside, and drop units of its state and of its output."""
        inner, noise = z
        state, y = self.cell.step(params, state, inner)
        if noise.state is not None:
            state = jax.tree.map(_drop, state, noise.state, self._state_rates())
        return state, _drop(y, noise.output, self.output_rate)

    def sequence(
        self,
        loop: Loop,
        params: Params,
        state: State,
        xs: PyTree,
        noise: DropoutNoise | None = None,
    ) -> tuple[State, PyTree]:
        """Drop inputs and outputs of all steps at once; only the state's units have to wait."""
        noise = noise or DropoutNoise()
        if jax.tree.leaves(noise.state):
            state, ys = loop(self, params, state, xs, noise._replace(output=None))
        else:
            xs = self._drop_inputs(xs, noise)
            state, ys = self.cell.sequence(loop, params, state, xs, noise.cell)
        return state, _drop(ys, noise.output, self.output_rate)

    def _drop_inputs(self, xs: PyTree, noise: DropoutNoise) -> PyTree:
        if self.input_rate:
            check_features("Dropout with an input_rate", xs)
        return _drop(xs, noise.input, self.input_rate)


def _drop(x: Array, kept: Array | None, rate: float) -> Array:
    return x if kept is None else jnp.where(kept, x / (1 - rate), 0)


def draw_kept(
    key: Array, rate: float, shape: tuple[int, ...], locked: bool = False
) -> Array | None:
    """Draw which units are kept, ``bool[*shape]`` with time first; None if ``rate`` is 0."""
    if not rate:
        return None
    drawn = jax.random.bernoulli(key, 1 - rate, (1, *shape[1:]) if locked else shape)
    return jnp.broadcast_to(drawn, shape)


def draw_kept_state(
    key: Array, rates: State, cell: Cell, leading_shape: tuple[int, ...], locked: bool = False
) -> State:
    """Draw which units of each array of the state are kept, from keys of their own."""
    states, structure = jax.tree.flatten(jax.eval_shape(lambda: cell.initial_state(leading_shape)))
    keys = jax.random.split(key, len(states))
    drawn = [
        draw_kept(k, rate, state.shape, locked)
        for k, rate, state in zip(keys, jax.tree.leaves(rates), states, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def rates_by_array(owner: str, name: str, rate: float | State, cell: Cell) -> State:
    """Check ``rate``, one number or a state of numbers, and return a rate for each array.

    A memory ``c``, its normaliser ``n`` and their stabiliser ``m`` are one quantity in three arrays
    of which none can change alone: one number spares them, and rates for them are refused.
    """
    state = jax.eval_shape(cell.initial_state)
    stabilised = _has_fields("c", "n", "m")

    def spare(state: State) -> State:
        return state._replace(c=0.0, n=0.0, m=0.0) if stabilised(state) else state

    if isinstance(rate, int | float | np.number):
        check_rate(owner, name, rate)
        rates = jax.tree.map(spare, jax.tree.map(lambda _: rate, state), is_leaf=stabilised)
        if rate and not any(jax.tree.leaves(rates)):
            raise ValueError(
                f"{owner}: no array of the state of {cell} can change alone, got {name}={rate}; "
                "drop inputs or outputs"
            )
        return rates
    wanted: PyTree = jax.tree.structure(state)
    if jax.tree.structure(rate) != wanted:
        raise ValueError(
            f"{owner}: {name} must be one number or a state of numbers, {wanted}, got {rate!r}"
        )
    for r in jax.tree.leaves(rate):
        check_rate(owner, name, r)
    for part in jax.tree.leaves(rate, is_leaf=stabilised):
        if stabilised(part) and any((part.c, part.n, part.m)):
            raise ValueError(
                f"{owner}: c, n and m are one quantity in three arrays, of which none can change "
                f"alone, got {name}={part}; give 0 for them"
            )
    return rate


def _has_fields(*names: str) -> Callable[[PyTree], bool]:
    return lambda state: {*names} <= {*getattr(state, "_fields", ())}
