"""Dropout on the inputs, the state and the outputs of a cell."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.checks import check_rate
from seqjax.operations.features import check_features
from seqjax.types import Array, Cell, Loop, Noise, Params, Projected, PyTree, Role, State
from seqjax.wrappers.wrapper import Wrapper, check_steps


class DropoutNoise(NamedTuple):
    """The masks of `Dropout`, true where a unit is kept and None where nothing is dropped.

    Attributes:
      input: ``bool[T, B, D]``.
      state: ``bool[T, B, ...]`` for each array of the state.
      output: ``bool[T, B, H]``.
      cell: the noise of the wrapped cell.
    """

    input: Array | None = None
    state: PyTree = None
    output: Array | None = None
    cell: Noise = None


@dataclasses.dataclass(frozen=True)
class Dropout(Wrapper):
    """A cell with dropout on its inputs, its state and its outputs.

    Parameters, state and shapes are those of the wrapped cell::

        s', o  = cell(s, drop(x, input_rate))
        y      = drop(o, output_rate)
        s'     = drop(s', state_rate)
        drop(a, rate) = a * keep / (1 - rate),   keep ~ Bernoulli(1 - rate) for each unit

    The state is dropped after the output is computed. The next step reads the dropped state, which
    is also the final state. Evaluation drops nothing. The wrapper corresponds to TensorFlow's
    ``DropoutWrapper``, which takes the probability of keeping a unit instead of the rate.

    Args:
      cell: the wrapped cell.
      input_rate: the probability of dropping an input feature.
      state_rate: the probability of dropping a unit of the state. One number applies to all arrays
        except a memory ``c`` beside an ``h``, as in TensorFlow. Give a rate for each array to
        change this: ``LSTMState(c=0.1, h=0.2)``. The ``c``, ``n`` and ``m`` of `SLSTM` and `MLSTM`
        cannot be dropped.
      output_rate: the probability of dropping a unit of the output.
      locked: draw one mask for all steps of a sequence (variational dropout) instead of one per
        step.
      shared: draw one mask for all rows of a batch, as in TensorFlow's variational dropout.

    Raises:
      ValueError: ``cell`` is not a cell, a rate is not in ``[0, 1)``, the rates of the state do not
        match its structure, or, at run time, the inputs are tokens and ``input_rate`` is not 0.

    References: Zaremba, Sutskever and Vinyals, "Recurrent neural network regularization", 2014; Gal
    and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks",
    2016 (locked).

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
    shared: bool = False

    _steps_cell: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("Dropout", "input_rate", self.input_rate)
        check_rate("Dropout", "output_rate", self.output_rate)
        if any(jax.tree.leaves(self._state_rates())):
            check_steps("Dropout with a state_rate", self.cell)

    def _state_rates(self) -> State:
        return rates_by_array("Dropout", "state_rate", self.state_rate, self.cell, Role.MEMORY)

    @property
    def is_noisy(self) -> bool:
        """Whether a rate is above 0 or the wrapped cell is noisy."""
        rates = self.input_rate, self.output_rate, *jax.tree.leaves(self._state_rates())
        return self.cell.is_noisy or any(rates)

    @property
    def outputs_hidden(self) -> bool:
        """Whether the wrapped cell outputs its hidden vector and neither is dropped."""
        dropped = self.output_rate or any(jax.tree.leaves(self._state_rates()))
        return self.cell.outputs_hidden and not dropped

    def merge_embedding(self, params: Params, table: Array) -> Params | None:
        """Merge the table into the wrapped cell, or return None if features are dropped."""
        return None if self.input_rate else self.cell.merge_embedding(params, table)

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: int
    ) -> DropoutNoise:
        """Draw the masks of all steps; a locked mask is the same at each step."""
        input_key, state_key, output_key, cell_key = jax.random.split(key, 4)

        def kept(key: Array, rate: float, size: int | tuple[int, ...]) -> Array | None:
            features = size if isinstance(size, tuple) else (size,)
            return draw_kept(key, rate, leading_shape, features, self.locked, self.shared)

        return DropoutNoise(
            kept(input_key, self.input_rate, input_size),
            draw_kept_state(
                state_key, self._state_rates(), self.cell, leading_shape, self.locked, self.shared
            ),
            kept(output_key, self.output_rate, self.output_size),
            self.cell.draw_noise(cell_key, leading_shape, input_size),
        )

    def project(
        self, params: Params, xs: PyTree, noise: DropoutNoise | None = None
    ) -> tuple[Projected, DropoutNoise]:
        """Drop input features and project them; pass on the masks of state and output."""
        noise = noise or DropoutNoise()
        zs = self.cell.project(params, self._drop_inputs(xs, noise), noise.cell)
        return zs, DropoutNoise(state=noise.state, output=noise.output)

    def step(
        self, params: Params, state: State, z: tuple[Projected, DropoutNoise]
    ) -> tuple[State, PyTree]:
        """Step the wrapped cell, and drop units of its state and of its output."""
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
        """Drop inputs and outputs for all steps at once; only the state is dropped step by step."""
        noise = noise or DropoutNoise()
        if jax.tree.leaves(noise.state):
            state, ys = loop.run(self, params, state, xs, noise._replace(output=None))
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
    key: Array,
    rate: float,
    leading_shape: tuple[int, ...],
    features: tuple[int, ...],
    locked: bool = False,
    shared: bool = False,
) -> Array | None:
    """Draw which units are kept, ``bool[T, B, ...]``, or None if ``rate`` is 0.

    A locked mask is the same at all steps. A shared mask is the same for all rows.
    """
    if not rate:
        return None
    num_steps, *batch = leading_shape
    drawn_for = (1 if locked else num_steps, *([1] * len(batch) if shared else batch), *features)
    drawn = jax.random.bernoulli(key, 1 - rate, drawn_for)
    return jnp.broadcast_to(drawn, (*leading_shape, *features))


def draw_kept_state(
    key: Array,
    rates: State,
    cell: Cell,
    leading_shape: tuple[int, ...],
    locked: bool = False,
    shared: bool = False,
) -> State:
    """Draw which units of each array of the state are kept, with separate keys."""
    states, structure = jax.tree.flatten(jax.eval_shape(cell.initial_state))
    keys = jax.random.split(key, len(states))
    drawn = [
        draw_kept(k, rate, leading_shape, state.shape, locked, shared)
        for k, rate, state in zip(keys, jax.tree.leaves(rates), states, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def rates_by_array(owner: str, name: str, rate: float | State, cell: Cell, *spared: Role) -> State:
    """Check ``rate``, one number or a state of numbers, and return a rate for each array.

    One number does not apply to ``Role.JOINT`` and ``Role.ALIGNMENT`` arrays or to arrays with a
    role in ``spared``. A rate above 0 for a ``Role.JOINT`` array is an error, because such an array
    cannot change alone. It is one for a ``Role.ALIGNMENT`` array, whose size depends on the
    context.
    """
    roles = cell.roles
    if isinstance(rate, int | float | np.number):
        check_rate(owner, name, rate)
        spared = (*_FIXED, *spared)
        rates = jax.tree.map(lambda role: 0.0 if role in spared else rate, roles)
        if rate and not any(jax.tree.leaves(rates)):
            raise ValueError(
                f"{owner}: {name} must be 0, since no array of the state of {cell} can change "
                f"alone, got {rate}; drop inputs or outputs instead"
            )
        return rates
    wanted: PyTree = jax.tree.structure(roles)
    if jax.tree.structure(rate) != wanted:
        raise ValueError(
            f"{owner}: {name} must be one number or a state of numbers, {wanted}, got {rate!r}"
        )
    for role, r in zip(jax.tree.leaves(roles), jax.tree.leaves(rate), strict=True):
        check_rate(owner, name, r)
        if r and role in _FIXED:
            raise ValueError(
                f"{owner}: {name} must be 0 for {_fixed(roles)}, which cannot change alone in the "
                f"state of {cell}, got {rate}"
            )
    return rate


_FIXED = (Role.JOINT, Role.ALIGNMENT)


def _fixed(roles: State) -> str:
    paths = [path for path, role in jax.tree.leaves_with_path(roles) if role in _FIXED]
    return ", ".join(jax.tree_util.keystr(path).lstrip(".") for path in paths)
