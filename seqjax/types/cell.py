"""The contract of a cell, and of the loop that runs it."""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import Any

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
from seqjax.types.arrays import Activation, Array, Noise, Params, Projected, PyTree, Size, State
from seqjax.types.state import Role
from seqjax.values import PlainValue


class Loop(abc.ABC):
    """A loop over the steps of a sequence, which holds the mask, the direction and the method."""

    @abc.abstractmethod
    def run(
        self, cell: "Cell", params: Params, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run ``cell`` over time-major ``xs`` and return the final state and the outputs."""

    @property
    @abc.abstractmethod
    def resets(self) -> bool:
        """Whether the state is reset before some of the steps."""

    @abc.abstractmethod
    def reversed(self, xs: PyTree) -> tuple["Loop", PyTree]:
        """Return the loop in the opposite direction, and ``xs`` with its resets moved to match."""

    @abc.abstractmethod
    def last(self, values: PyTree, before: PyTree) -> PyTree:
        """Return the ``values [T, B, ...]`` of the last valid step of each row.

        Rows without a valid step get ``before [B, ...]``.
        """

    @abc.abstractmethod
    def resetting(self, starts: Array) -> "Loop":
        """Return a loop that also resets the state before the steps ``starts``, ``bool[T, B]``."""


class Cell(PlainValue, abc.ABC):
    """A recurrent cell: an immutable description with pure functions of its parameters.

    A concrete cell is a frozen dataclass of sizes and options. Equal cells have equal hashes and
    share one compiled program. `Cell.project` computes what does not depend on the state, for all
    time steps at once. `Cell.step` computes the rest, one time step at a time::

        zs = cell.project(params, xs)                    # xs [T, B, D]
        for t in range(T):
            state, y = cell.step(params, state, zs[t])   # y [B, H]

    `seqjax.unroll` runs this loop and computes its derivative from `Cell.step`, so a cell does not
    define a backward pass. `Cell.draw_noise` draws the random numbers of all steps in advance for
    `Cell.project`, so `Cell.step` needs no key.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Make `Cell.init` and `Cell.initial_state` of each subclass check their arguments."""
        super().__init_subclass__(**options)
        if "init" in cls.__dict__:
            cls.init = _checked_init(cls.init)  # type: ignore[method-assign]
        if "initial_state" in cls.__dict__:
            cls.initial_state = _checked_state(cls.initial_state)  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        """Check flags, numbers and activations among the fields, by their declared types."""
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
        """The number of output features, or their shape if they have several axes."""

    @property
    def is_noisy(self) -> bool:
        """Whether the cell draws noise, such as dropout masks, during training."""
        return False

    @property
    def can_step(self) -> bool:
        """Whether the cell can run step by step; a bidirectional cell cannot."""
        return True

    @abc.abstractmethod
    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Params:
        """Initialise parameters for ``input_size`` features, or for a vocabulary of that size."""

    @abc.abstractmethod
    def input_size(self, params: Params) -> Size:
        """Return the number of input features, or the vocabulary size, of ``params``."""

    @abc.abstractmethod
    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """Return the zero state, with arrays ``[*batch_shape, ...]``."""

    def first_state(
        self, params: Params, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> State:
        """Return the state before the first step: zeros, unless ``params`` hold a learned state."""
        return self.initial_state(batch_shape, dtype)

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: Size) -> Noise:
        """Draw the noise of all steps for inputs ``[*leading_shape, input_size]``.

        ``leading_shape`` is ``(T, *batch_shape)``. Every returned array starts with these axes, so
        that noise is sliced into steps like the inputs.
        """
        return None

    def features(self, xs: PyTree) -> PyTree:
        """Return the inputs that set the dtype of the state: features, but not times."""
        return xs

    def merge_embedding(self, params: Params, table: Array) -> Params | None:
        """Fold an embedding ``table [V, E]`` into the parameters, so that the cell takes tokens.

        A cell that first multiplies its features by a kernel can multiply the whole table by that
        kernel once and look up rows of the product. Outputs and gradients stay the same. The cost
        of both products then no longer grows with the number of tokens.

        Returns:
          Parameters for a vocabulary of V tokens, or None if the cell does not start with such a
          product.
        """
        return None

    def with_context(self, params: Params, memory: Array, mask: Array) -> Params | None:
        """Bind a context to the parameters of each cell inside that attends to one.

        ``memory [B, S, M]`` is projected once, and is 0 outside of ``mask bool[B, S]``. Call
        `seqjax.with_context`, which checks its arguments. A cell around other cells passes the
        context on.

        Returns:
          Parameters that hold the `Context` in the place of None, or None if no cell attends to a
          context.
        """
        return None

    def leading_shape(self, params: Params, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes of ``xs``, after checking that ``xs`` fits ``params``.

        Inputs are floats with the feature axes of `Cell.input_size`, ``[..., D]``, or integer
        tokens without a feature axis, ``[...]``.
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
                    f"give {wanted}, or initialise parameters for this size with init"
                )
        else:
            kinds = "floats or integer tokens" if len(features) == 1 else "floats"
            raise ValueError(f"{name}: xs must hold {kinds}, got {given}")
        if not shape:
            raise ValueError(f"{name}: expected {wanted} with a time axis, got {given}")
        return shape

    @abc.abstractmethod
    def project(self, params: Params, xs: PyTree, noise: Noise = None) -> Projected:
        """Compute what does not depend on the state, with the leading axes of ``xs``.

        The result must be differentiable at ``xs = 0``, because zeros replace the padding.
        """

    @abc.abstractmethod
    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Take one step, ``(state, z) -> (next state, output)``, with any leading batch axes."""

    @property
    def roles(self) -> State:
        """The `Role` of each array of the state, as a tree with the structure of the state."""
        return jax.tree.map(lambda _: Role.OTHER, jax.eval_shape(self.initial_state))

    @property
    def attends(self) -> bool:
        """Whether the cell attends to a context, and so needs `seqjax.with_context`."""
        return Role.ALIGNMENT in jax.tree.leaves(self.roles)

    @property
    def outputs_hidden(self) -> bool:
        """Whether the output of a step is the ``Role.HIDDEN`` array of the next state."""
        return False

    @property
    def prefers_scan(self) -> bool:
        """Whether JAX's own derivative of a scan is faster than the one that the engine derives.

        This is the case if the coefficients of a step are larger than its products.
        ``benchmarks/cells.py`` measures both.
        """
        return False

    def cudnn_weights(self, params: Params) -> Array | None:
        """Return all weights as one vector for cuDNN's LSTM, or None if cuDNN lacks the cell."""
        return None

    def sequence(
        self, loop: Loop, params: Params, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run over all steps of time-major ``xs`` and return the final state and the outputs.

        Override to process a whole sequence faster than step by step. A cell that wraps others
        calls their `Cell.sequence` with ``loop``, or with a loop derived from it.
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
