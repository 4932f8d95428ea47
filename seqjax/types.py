"""The shape glossary and the contract of cells, all that the library agrees on.

Shapes are written in docstrings and comments with these letters:

====  =====================================================================
B     batch: any number of leading axes, none included
T     time steps
D     features of an input
H     units of a cell, the width of its state
V     vocabulary or number of classes
G     gates of a cell
====  =====================================================================

``[B, T, D]`` is batch-major, ``[T, B, D]`` time-major. Public functions take batch-major arrays
unless ``time_major=True``; inside a layer time always comes first.
"""

import abc
import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.checks import (
    check_activation,
    check_batch_shape,
    check_dtype,
    check_flag,
    check_key,
    check_number,
    check_size,
)
from seqjax.values import PlainValue

Array = jax.Array
PyTree = Any
Params = PyTree  # of arrays, as `Cell.init` makes them
State = PyTree  # of arrays [B, ...], which a step hands to the next one
Noise = PyTree | None  # of arrays [T, B, ...], broadcast over T where it is locked over time
Projected = PyTree  # of arrays [T, B, ...], what a cell needs of the inputs at each step
Size = Any  # int, or tuple[int, ...] for features on several axes
# Give a named function: each evaluation of a lambda makes another function, and so another cell.
Activation = Callable[[Array], Array]


class HiddenState(NamedTuple):
    """The state of a cell that carries one array."""

    h: Array  # [B, H]


class Role(enum.Enum):
    """What an array of a state is for."""

    HIDDEN = "hidden"  # the vector that the products of the next step see, such as an LSTM's h
    MEMORY = "memory"  # a memory beside a hidden vector, such as an LSTM's c
    JOINT = "joint"  # one part of a quantity that several arrays hold; must not change alone
    OTHER = "other"


def with_roles(kind: Callable[..., State], *roles: Role) -> State:
    """A state of type ``kind`` that holds a role for each of its arrays.

    >>> with_roles(HiddenState, Role.HIDDEN).h.name
    'HIDDEN'
    """
    return kind(*roles)


class Loop(abc.ABC):
    """How cells run over the steps of a sequence: the mask, the direction and the method."""

    @abc.abstractmethod
    def run(
        self, cell: "Cell", params: Params, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run ``cell`` over time-major ``xs``: return the final state and the outputs."""

    @property
    @abc.abstractmethod
    def resets(self) -> bool:
        """Whether cells start over before some of the steps."""

    @abc.abstractmethod
    def reversed(self, xs: PyTree) -> tuple["Loop", PyTree]:
        """The loop in the other direction, and ``xs`` with its resets at the other ends."""

    @abc.abstractmethod
    def resetting(self, starts: Array) -> "Loop":
        """The same loop, in which each cell starts over before the steps in ``starts [T, B]``."""


class Cell(PlainValue, abc.ABC):
    """What runs over a sequence: an immutable description with pure functions over parameters.

    A concrete cell is a frozen dataclass of sizes and options, so that equal cells hash equal and
    share one compiled program. Its equations are split in two: `project` computes what needs no
    state, for all time steps at once; `step` computes the rest, one step at a time::

        zs = cell.project(params, xs)                    # xs [T, B, D]
        for t in range(T):
            state, y = cell.step(params, state, zs[t])   # y [B, H]

    `seqjax.unroll` is that loop. Its derivative follows from the equations of `step`, so that a
    cell has no backward pass of its own. Randomness is a quantity of its own, which `draw_noise`
    draws ahead for all steps and `project` takes in, so that `step` needs no key.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Let every `init` and `initial_state` check its arguments before it uses them."""
        super().__init_subclass__(**options)
        if "init" in cls.__dict__:
            cls.init = _checked_init(cls.init)  # type: ignore[method-assign]
        if "initial_state" in cls.__dict__:
            cls.initial_state = _checked_state(cls.initial_state)  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        """Check the switches, numbers and activations among the fields, by their declared types."""
        checks = {bool: check_flag, float: check_number}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            name, value = field.name, getattr(self, field.name)
            if field.type == Activation:
                check_activation(type(self).__name__, value, name)
            elif field.type in checks:
                checks[field.type](type(self).__name__, name, value)

    @property
    @abc.abstractmethod
    def output_size(self) -> Size:
        """The number of features of an output, or their shape where they have several axes."""

    @property
    def is_noisy(self) -> bool:
        """Whether the cell draws noise, such as dropout masks, in training."""
        return False

    @property
    def can_step(self) -> bool:
        """Whether the cell can run step by step; one that reads from both ends cannot."""
        return True

    @abc.abstractmethod
    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Params:
        """Draw parameters for inputs of ``input_size`` features, or as many kinds of token."""

    @abc.abstractmethod
    def input_size(self, params: Params) -> Size:
        """The number of input features, or of kinds of token, that ``params`` were made for."""

    @abc.abstractmethod
    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """The zero state, each array ``[*batch_shape, ...]``."""

    def first_state(
        self, params: Params, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> State:
        """The state before the first step: the zero state, unless ``params`` hold another one."""
        return self.initial_state(batch_shape, dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: Size) -> Noise:
        """Draw the noise of all steps, for inputs ``[*leading_shape, input_size]``.

        ``leading_shape`` is ``(T, *batch)``, and each array returned starts with it, so that noise
        can be cut into steps like the inputs.
        """
        return None

    def features(self, xs: PyTree) -> PyTree:
        """The part of the inputs whose precision the state follows; times, for one, are not."""
        return xs

    def merge_embedding(self, params: Params, table: Array) -> Params | None:
        """Parameters with which tokens do what the rows of ``table [V, E]`` do as features.

        A cell that first multiplies its features by a kernel may multiply the whole table by it,
        once, and pick rows of the product. Values and gradients stay the same, and the cost of
        embedding and projection no longer grows with the number of tokens.

        Returns:
          Parameters like ``params`` for V kinds of token, or None if the cell does not start with
          such a product.
        """
        return None

    def leading_shape(self, params: Params, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes of ``xs``, after a check that the rest fits ``params``.

        Inputs are floating, with as many feature axes as `input_size` has, ``[..., D]``, or integer
        tokens ``[...]`` with none.
        """
        name, size = type(self).__name__, self.input_size(params)
        features = size if isinstance(size, tuple) else (size,)
        if not isinstance(xs, jax.Array | np.ndarray):
            raise ValueError(f"{name}: xs must be one array, got a {type(xs).__name__}")
        given = f"xs of shape {xs.shape} and dtype {xs.dtype}"
        if jnp.issubdtype(xs.dtype, jnp.integer) and len(features) == 1:
            shape, wanted = xs.shape, "tokens [..., T]"
        elif jnp.issubdtype(xs.dtype, jnp.floating):
            shape, last = xs.shape[: -len(features)], xs.shape[-len(features) :]
            wanted = f"features [..., T, {', '.join(map(str, features))}]"
            if xs.shape and last != features:
                raise ValueError(
                    f"{name}: these parameters are for {size} input features, got {given}; "
                    f"give {wanted}, or draw parameters for this size with init"
                )
        else:
            kinds = "floats or integer tokens" if len(features) == 1 else "floats"
            raise ValueError(f"{name}: xs must hold {kinds}, got {given}")
        if not shape:
            raise ValueError(f"{name}: expected {wanted} with a time axis, got {given}")
        return shape

    @abc.abstractmethod
    def project(self, params: Params, xs: PyTree, noise: Noise = None) -> Projected:
        """Compute what needs no state; all axes of ``xs`` but the features' are kept in front.

        It has to be differentiable where ``xs`` is 0, which replaces padding.
        """

    @abc.abstractmethod
    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Take one step: ``(state, z) -> (next state, output)``, with any leading batch axes."""

    @property
    def roles(self) -> State:
        """A `Role` for each array of the state, in the structure of the state."""
        return jax.tree.map(lambda _: Role.OTHER, jax.eval_shape(self.initial_state))

    @property
    def outputs_hidden(self) -> bool:
        """Whether the output of a step is the array with `Role.HIDDEN` of the next state."""
        return False

    @property
    def prefers_scan(self) -> bool:
        """Whether JAX's own derivative of a scan is faster for these equations than the engine's.

        True where the coefficients of a step are larger than its products; see `benchmarks.cells`.
        """
        return False

    def cudnn_weights(self, params: Params) -> Array | None:
        """All weights in one vector for cuDNN's LSTM, or None for a cell that cuDNN lacks."""
        return None

    def sequence(
        self, loop: Loop, params: Params, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run over all steps of time-major ``xs``: return the final state and the outputs.

        By default step by step. A cell overrides it to do a part of the work for all steps at once;
        one that holds others then runs each of them with ``loop``, or with a loop made from it.
        """
        return loop.run(self, params, state, xs, noise)


def _checked_init(init: Callable[..., Params]) -> Callable[..., Params]:
    @functools.wraps(init)
    def checked(self: Cell, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Params:
        check_key(key)
        name = type(self).__name__
        for size in input_size if isinstance(input_size, tuple) else (input_size,):
            check_size(name, "input_size", size)
        check_dtype(dtype)
        return init(self, key, input_size, dtype)

    return checked


def _checked_state(initial_state: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(initial_state)
    def checked(self: Cell, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        check_batch_shape(batch_shape)
        check_dtype(dtype)
        return initial_state(self, batch_shape, dtype)

    return checked


class LinearCell(Cell):
    """A cell whose state is linear in itself, so that all steps can run at once::

        s' = a * s + b

    elementwise, with ``a`` and ``b`` from the inputs alone. `seqjax.unroll` may then use
    `jax.lax.associative_scan`, whose depth grows with log T.
    """

    @abc.abstractmethod
    def coefficients(self, params: Params, z: Projected) -> tuple[State, State]:
        """Return ``(a, b)``, each of the structure and shapes of the state."""

    @abc.abstractmethod
    def readout(self, params: Params, state: State, z: Projected) -> PyTree:
        """Compute the output from the new state, for one step or for all of them."""

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Take one step of the recurrence and read its state out."""
        a, b = self.coefficients(params, z)
        state = jax.tree.map(lambda a, s, b: a * s + b, a, state, b)
        return state, self.readout(params, state, z)
