"""The shape glossary and the `Cell` contract, all that the rest of the library agrees on.

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
unless told ``time_major=True``; inside a cell time always comes first.
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
PyTree = Any
Params = PyTree  # of arrays, what `Cell.init` makes
State = PyTree  # of arrays [B, ...], what a step hands to the next one
Noise = PyTree | None  # of arrays [T, B, ...], broadcast over T where it is locked over time
Projected = PyTree  # of arrays [T, B, ...], what a cell needs of the inputs at each step
Size = Any  # int, or tuple[int, ...] for features on several axes
# A named function: each evaluation of a lambda makes another function, so that the cells around it
# differ and every call of `unroll` compiles anew.
Activation = Callable[[Array], Array]

# Runs a cell over the leading axis of `xs`: (cell, params, state, xs, noise) -> (state, ys).
Loop = Callable[["Cell", Params, State, PyTree, Noise], tuple[State, PyTree]]


class HiddenState(NamedTuple):
    """The state of a cell that remembers one array, mostly its output."""

    h: Array  # [B, H]


class Cell(abc.ABC):
    """A recurrent cell: an immutable description with pure functions over explicit parameters.

    A concrete cell is a frozen dataclass of sizes and options, so that equal cells hash equal and
    serve as static arguments of `jax.jit`. Its work is split in two: `project` computes what needs
    no state, for all time steps at once; `step` computes the rest, one step at a time::

        zs = cell.project(params, xs)                    # xs [T, B, D]
        for t in range(T):
            state, y = cell.step(params, state, zs[t])   # y [B, H]

    `seqjax.unroll` is that loop. Randomness is a quantity of its own, which `draw_noise` draws for
    all steps ahead and `project` takes in, so that `step` needs no key.
    """

    @property
    @abc.abstractmethod
    def output_size(self) -> Size:
        """The number of features of an output, or their shape where they have several axes."""

    @abc.abstractmethod
    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> Params:
        """Draw parameters for inputs of ``input_size`` features, or as many kinds of token."""

    @abc.abstractmethod
    def input_size(self, params: Params) -> Size:
        """The number of input features, or of kinds of token, that ``params`` were made for."""

    @abc.abstractmethod
    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """The zero state, each array ``[*batch_shape, ...]``."""

    @abc.abstractmethod
    def project(self, params: Params, xs: PyTree, noise: Noise = None) -> Projected:
        """Compute what needs no state; all axes of ``xs`` but the features' are kept in front.

        It has to be differentiable where ``xs`` is 0, as that is what padding is replaced by.
        """

    @abc.abstractmethod
    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Take one step: ``(state, z) -> (next state, output)``, with any leading batch axes."""

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: Size) -> Noise:
        """Draw the noise of all steps, for inputs ``[*leading_shape, input_size]``; here none.

        ``leading_shape`` is ``(T, *batch)``, and each array returned starts with it, so that noise
        can be cut into steps like the inputs.
        """
        return None

    def sequence(
        self, loop: Loop, params: Params, state: State, xs: PyTree, noise: Noise = None
    ) -> tuple[State, PyTree]:
        """Run all steps of time-major ``xs``; what a cell overrides that can do better than step.

        ``loop`` projects all inputs of a cell and runs its `step` over them. A stack, for one,
        calls `sequence` of each of its layers in turn, so that every layer has a loop of its own.
        """
        return loop(self, params, state, xs, noise)

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


class LinearCell(Cell):
    """A cell whose state is linear in itself, so that all steps can be run at once::

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


# Activations known to see one unit at a time; another one might be a softmax over the units.
UNITWISE = frozenset({
    jnp.tanh, jnp.sin, jnp.abs, jnp.arctan, jnp.square, jax.nn.celu, jax.nn.elu, jax.nn.gelu,
    jax.nn.hard_sigmoid, jax.nn.hard_swish, jax.nn.hard_tanh, jax.nn.identity, jax.nn.leaky_relu,
    jax.nn.log_sigmoid, jax.nn.mish, jax.nn.relu, jax.nn.relu6, jax.nn.selu, jax.nn.sigmoid,
    jax.nn.silu, jax.nn.soft_sign, jax.nn.softplus, jax.nn.sparse_plus, jax.nn.squareplus,
})  # fmt: skip


class FactoredCell(Cell):
    """A cell whose derivative is unit by unit but for its products, so that most of it is no loop.

    Its state has an ``h``, which is also its output. `seqjax.unroll` may then take its backward
    pass apart as `project` and `step` take its forward pass apart::

        state[t+1], saved[t] = advance(params, state[t], zs[t])         one step after the other
        factors = factors(params, states[:-1], states[1:], saved, zs)   all steps at once
        kernels = transposed_kernels(params)                            once
        d_state[t], d_pre[t] = retreat(kernels, d_state[t+1], factors[t])           one by one
        d_params, d_zs = the transpose of preactivations, of d_pre      all steps at once

    The first four are the equations of `step` and what follows from them by the chain rule.
    """

    @abc.abstractmethod
    def is_factored(self, params: Params) -> bool:
        """Whether all this holds for these options and parameters, and no subclass changed it."""

    @abc.abstractmethod
    def advance(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        """Take one step and return the next state and what the backward pass needs of it."""

    @abc.abstractmethod
    def factors(
        self, params: Params, before: State, after: State, saved: PyTree, zs: Projected
    ) -> PyTree:
        """Compute the derivatives that `retreat` multiplies with, from the states around a step."""

    @abc.abstractmethod
    def transposed_kernels(self, params: Params) -> PyTree:
        """The kernels that `retreat` multiplies with."""

    @abc.abstractmethod
    def retreat(self, kernels: PyTree, d_after: State, factors: PyTree) -> tuple[State, PyTree]:
        """From the gradient of the state after a step, that before it and of `preactivations`."""

    @abc.abstractmethod
    def preactivations(
        self, params: Params, before: State, after: State, saved: PyTree, zs: Projected
    ) -> PyTree:
        """What of a step is linear in ``params`` and ``zs``, given all else."""


def has_own(cell: Cell, base: type[Cell], *methods: str) -> bool:
    """Whether ``cell``, of a subclass of ``base`` or of itself, has the very ``methods`` of it."""
    return all(getattr(type(cell), name) is getattr(base, name) for name in methods)
