"""Attention over the last outputs of a cell."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Cell, Noise, Params, State
from seqjax.wrappers.wrapper import check_one_axis, check_steps


class AttentionCellParams(NamedTuple):
    """Parameters of `AttentionCell`.

    S is the total width of the arrays in the state of the wrapped cell, and H is the width of its
    output.

    Attributes:
      cell: the parameters of the wrapped cell.
      input_kernel: ``[D, I]``.
      attention_kernel: ``[A, I]``.
      bias: ``[I]``.
      query_kernel: ``[S, V]``.
      query_bias: ``[V]``.
      memory_kernel: ``[A, V]``.
      score_kernel: ``[V, 1]``.
      output_kernel: ``[H + A, A]``.
      output_bias: ``[A]``.
    """

    cell: Params
    input_kernel: Array
    attention_kernel: Array
    bias: Array
    query_kernel: Array
    query_bias: Array
    memory_kernel: Array
    score_kernel: Array
    output_kernel: Array
    output_bias: Array


class AttentionCellState(NamedTuple):
    """The state of `AttentionCell`.

    Attributes:
      cell: the state of the wrapped cell.
      attention: ``[B, A]``, the last weighted sum of the memory.
      memory: ``[B, L, A]``, the last L outputs, the oldest first.
    """

    cell: State
    attention: Array
    memory: Array


@dataclasses.dataclass(frozen=True)
class AttentionCell(Cell):
    """A cell that attends to its last L outputs.

    Maps ``[B, T, D]`` to ``[B, T, A]``; the state is an `AttentionCellState`::

        s', h = cell(s, x @ W + a @ W_a + b)
        e_l   = tanh(m_l @ W_m + concat(s') @ W_q + b_q) @ v        for l = 1, ..., L
        a'    = sum over l of softmax(e)_l * m_l
        y     = concat(h, a') @ W_y + b_y
        m'    = (m_2, ..., m_L, y)

    Here ``concat(s')`` joins all arrays of the new state of the wrapped cell. The memory starts
    with zeros, which are not masked: the cell attends to them as to outputs. The wrapper
    corresponds to TensorFlow's ``AttentionCellWrapper``.

    Args:
      cell: the wrapped cell, whose outputs have one feature axis.
      length: L, the number of outputs in the memory.
      size: A, the width of the output; defaults to that of the wrapped cell.
      vector_size: V, the width in which query and memory are compared; defaults to A.
      inner_input_size: I, the input width of the wrapped cell; defaults to D.

    Raises:
      ValueError: ``cell`` is not a cell whose outputs have one feature axis and whose state is
        real, or a size is not a whole number of at least 1.

    Reference: Cheng, Dong and Lapata, "Long short-term memory-networks for machine reading", 2016.

    >>> from seqjax import LSTM, AttentionCell, unroll
    >>> cell = AttentionCell(LSTM(4), length=3)
    >>> params = cell.init(jax.random.key(0), input_size=5)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 5), jnp.float32))
    >>> state.memory.shape, ys.shape
    ((2, 3, 4), (2, 7, 4))
    """

    cell: Cell
    length: int
    size: int | None = None
    vector_size: int | None = None
    inner_input_size: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("AttentionCell", self.cell)
        check_steps("AttentionCell", self.cell)
        for leaf in jax.tree.leaves(jax.eval_shape(self.cell.initial_state)):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise ValueError(
                    f"AttentionCell: the state of the cell must be real, got {self.cell!r}, whose "
                    f"state is {leaf.dtype}"
                )
        check_size("AttentionCell", "length", self.length)
        for name in ("size", "vector_size", "inner_input_size"):
            if getattr(self, name) is not None:
                check_size("AttentionCell", name, getattr(self, name))

    @property
    def output_size(self) -> int:
        """The number of output features, A."""
        return self.cell.output_size if self.size is None else self.size

    @property
    def prefers_scan(self) -> bool:
        """True: the coefficients of the memory are as large as the memory."""
        return True

    @property
    def is_noisy(self) -> bool:
        """Whether the wrapped cell is noisy."""
        return self.cell.is_noisy

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> AttentionCellParams:
        """Initialise the wrapped cell, Glorot kernels and biases of 0."""
        check_size("AttentionCell", "input_size", input_size)
        keys = jax.random.split(key, 7)
        A, D = self.output_size, self._inner_input_size(input_size)
        V = A if self.vector_size is None else self.vector_size
        inner_state = jax.tree.leaves(jax.eval_shape(self.cell.initial_state))
        S = sum(math.prod(leaf.shape) for leaf in inner_state)
        return AttentionCellParams(
            self.cell.init(keys[0], D, dtype),
            glorot_uniform(keys[1], (input_size, D), dtype=dtype),
            glorot_uniform(keys[2], (A, D), dtype=dtype),
            jnp.zeros(D, dtype),
            glorot_uniform(keys[3], (S, V), dtype=dtype),
            jnp.zeros(V, dtype),
            glorot_uniform(keys[4], (A, V), dtype=dtype),
            glorot_uniform(keys[5], (V, 1), dtype=dtype),
            glorot_uniform(keys[6], (self.cell.output_size + A, A), dtype=dtype),
            jnp.zeros(A, dtype),
        )

    def _inner_input_size(self, input_size: int) -> int:
        return input_size if self.inner_input_size is None else self.inner_input_size

    def input_size(self, params: AttentionCellParams) -> int:
        """Return the number of input features, D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> AttentionCellState:
        """Return the zero state of the wrapped cell, with zeros for attention and memory."""
        return AttentionCellState(
            self.cell.initial_state(batch_shape, dtype),
            jnp.zeros((*batch_shape, self.output_size), dtype),
            jnp.zeros((*batch_shape, self.length, self.output_size), dtype),
        )

    def first_state(
        self,
        params: AttentionCellParams,
        batch_shape: tuple[int, ...] = (),
        dtype: Any = jnp.float32,
    ) -> AttentionCellState:
        """Return the first state of the wrapped cell, with zeros for attention and memory."""
        zeros = self.initial_state(batch_shape, dtype)
        return zeros._replace(cell=self.cell.first_state(params.cell, batch_shape, dtype))

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Draw the noise of the wrapped cell."""
        return self.cell.draw_noise(key, leading_shape, self._inner_input_size(input_size))

    def project(
        self, params: AttentionCellParams, xs: Array, noise: Noise = None
    ) -> tuple[Array, Noise]:
        """Compute ``x @ W + b``, and pass on the noise; the wrapped cell projects in each step."""
        return affine(xs, params.input_kernel, params.bias), noise

    def step(
        self, params: AttentionCellParams, state: AttentionCellState, z: tuple[Array, Noise]
    ) -> tuple[AttentionCellState, Array]:
        """Compute the next state and ``y`` from the state and the projected inputs."""
        of_input, noise = z
        x = of_input + affine(state.attention, params.attention_kernel)
        inner, h = self.cell.step(params.cell, state.cell, self.cell.project(params.cell, x, noise))
        attention = self._attend(params, inner, state.memory)
        y = affine(jnp.concatenate([h, attention], -1), params.output_kernel, params.output_bias)
        memory = jnp.concatenate([state.memory[..., 1:, :], y[..., None, :]], -2)
        return AttentionCellState(inner, attention, memory), y

    def _attend(self, params: AttentionCellParams, inner: State, memory: Array) -> Array:
        batch = memory.shape[:-2]
        flat = jnp.concatenate([s.reshape(*batch, -1) for s in jax.tree.leaves(inner)], -1)
        query = affine(flat, params.query_kernel, params.query_bias)[..., None, :]
        compared = jnp.tanh(affine(memory, params.memory_kernel) + query)
        weights = jax.nn.softmax(affine(compared, params.score_kernel), axis=-2)  # [B, L, 1]
        return (weights * memory).sum(-2)
