"""A grid of cells, one along each dimension, that read each other's outputs."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_activation, check_iterable, check_size, is_integer
from seqjax.operations.affine import affine
from seqjax.operations.features import check_features
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Activation, Array, Cell, HiddenState, Noise, Params, State
from seqjax.wrappers.wrapper import check_one_axis, check_steps, hidden, with_hidden


class GridDenseParams(NamedTuple):
    """Parameters of the dense layer of a dimension of `GridRNN` that has no cell.

    Attributes:
      kernel: ``[dims * H, H]``.
      bias: ``[H]``.
    """

    kernel: Array
    bias: Array


class GridRNNParams(NamedTuple):
    """Parameters of `GridRNN`.

    Tied dimensions share one entry of ``cells`` or of ``dense``.

    Attributes:
      input_kernels: for each input dimension a state of kernels ``[D / inputs, H]``.
      cells: the parameters of the cell, for each dimension that has one.
      dense: `GridDenseParams`, for each dimension that has no cell.
    """

    input_kernels: tuple[State, ...]
    cells: tuple[Params, ...]
    dense: tuple[GridDenseParams, ...]


@dataclasses.dataclass(frozen=True)
class GridRNN(Cell):
    """A grid RNN: one cell along each dimension of a grid.

    Maps ``[B, T, D]`` to ``[B, T, M*H]`` for M output dimensions; the state is a tuple of the
    states of all dimensions that recur::

        s_d = x_d @ W_d                                       for input dimensions
        s_d', h_d' = cell_d(s_d with h_N for its h, concat(h_1, ..., h_{N-1}))

    ``h_d`` is the output that the state ``s_d`` holds, so all cells read all dimensions. Dimensions
    without priority step first. The dimensions with priority step next and read the new outputs
    ``h'`` of the others. A linear map of the input overwrites the state of an input dimension, so
    its earlier value has no effect. A dimension that does not recur has a dense layer and no
    state::

        h_d' = activation(concat(h_1, ..., h_N) @ W + b)

    The output is ``concat`` of ``h_d'`` over the output dimensions. In a grid of one dimension, the
    input of the cell is a single zero. The cell corresponds to TensorFlow's ``GridRNNCell``:
    ``GridRNN(LSTM(H), 2)`` is ``Grid2LSTMCell``. ``Grid3LSTMCell``, ``Grid2BasicRNNCell``,
    ``Grid2GRUCell`` and others differ in ``cell`` and ``dims``. Their ``non_recurrent_fn`` is
    ``activation`` with ``non_recurrent=(0,)``.

    Args:
      cell: the cell of each dimension; the field ``h`` of its state is its output.
      dims: N, the number of dimensions.
      tied: whether all cells share one set of weights, and all dense layers another.
      inputs: the dimensions that get the input, each an equal part of its features.
      outputs: the dimensions whose outputs form the output.
      priority: the dimensions that step after the others.
      non_recurrent: the input dimensions that have a dense layer instead of a cell.
      activation: applied to the dense layers.

    Raises:
      ValueError: the outputs of ``cell`` have several feature axes, its state has no ``h`` that is
        its output, ``dims`` is not a whole number of at least 1, a dimension is not in
        ``[0, dims)``, there is no input or no output dimension, or a non-recurrent dimension is not
        an input dimension.

    Reference: Kalchbrenner, Danihelka and Graves, "Grid long short-term memory", 2016.

    >>> from seqjax import LSTM, GridRNN, unroll
    >>> cell = GridRNN(LSTM(4), dims=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> [s.h.shape for s in state], ys.shape
    ([(2, 4), (2, 4)], (2, 7, 4))
    """

    cell: Cell
    dims: int = 2
    tied: bool = False
    inputs: Sequence[int] = (0,)
    outputs: Sequence[int] = (0,)
    priority: Sequence[int] = (0,)
    non_recurrent: Sequence[int] = ()
    activation: Activation = jax.nn.relu

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("GridRNN", self.cell)
        check_steps("GridRNN", self.cell)
        check_size("GridRNN", "dims", self.dims)
        if not self.cell.outputs_hidden:
            raise ValueError(
                f"GridRNN: the state of the cell must hold its output as h, got {self.cell!r}; use "
                "a cell such as LSTM or GRU"
            )
        check_activation("GridRNN", self.activation)
        for name in ("inputs", "outputs", "priority", "non_recurrent"):
            value = getattr(self, name)
            check_iterable("GridRNN", name, value, of="dimensions")
            for d in value:
                if not is_integer(d) or d not in range(self.dims):
                    raise ValueError(f"GridRNN: {name} must lie in [0, {self.dims}), got {d!r}")
            object.__setattr__(self, name, tuple(sorted(set(value))))
        for name in ("inputs", "outputs"):
            if not getattr(self, name):
                raise ValueError(f"GridRNN: {name} must hold at least 1 dimension, got none")
        if not set(self.non_recurrent) <= set(self.inputs):
            raise ValueError(
                "GridRNN: non_recurrent dimensions must be input dimensions, which give them a "
                f"value, got non_recurrent {self.non_recurrent} and inputs {self.inputs}"
            )

    @property
    def is_noisy(self) -> bool:
        """Whether the cell is noisy."""
        return self.cell.is_noisy

    @property
    def roles(self) -> tuple[State, ...]:
        """The roles of the cell, for each dimension that recurs."""
        return tuple(self.cell.roles for _ in self._recurrent)

    def _hidden(self, state: State) -> Array:
        """Return the hidden vector of a state of the cell, or of a bare `HiddenState`."""
        return state.h if isinstance(state, HiddenState) else hidden(self.cell, state)

    @property
    def _recurrent(self) -> tuple[int, ...]:
        return tuple(d for d in range(self.dims) if d not in self.non_recurrent)

    @property
    def _cell_input_size(self) -> int:
        return max(1, (self.dims - 1) * self.cell.output_size)

    @property
    def output_size(self) -> int:
        """The number of output features, H for each output dimension."""
        return len(self.outputs) * self.cell.output_size

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> GridRNNParams:
        """Initialise the cells, Glorot kernels for input and dense layers, and biases of 0."""
        check_size("GridRNN", "input_size", input_size)
        if input_size % len(self.inputs):
            raise ValueError(
                f"GridRNN: input_size must be a multiple of the {len(self.inputs)} input "
                f"dimensions, got {input_size}"
            )
        input_key, cell_key, dense_key = jax.random.split(key, 3)
        H, rows = self.cell.output_size, input_size // len(self.inputs)
        whole = jax.eval_shape(self.cell.initial_state)

        def input_kernels(key: Array, dim: int) -> State:
            state = HiddenState(self._hidden(whole)) if dim in self.non_recurrent else whole
            leaves, structure = jax.tree.flatten(state)
            kernels = [
                glorot_uniform(k, (rows, *leaf.shape), dtype=dtype)
                for k, leaf in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
            ]
            return jax.tree.unflatten(structure, kernels)

        def dense(key: Array) -> GridDenseParams:
            kernel = glorot_uniform(key, (self.dims * H, H), dtype=dtype)
            return GridDenseParams(kernel, jnp.zeros(H, dtype))

        def one_each(key: Array, dims: Sequence[int]) -> Array:
            return jax.random.split(key, min(1, len(dims)) if self.tied else len(dims))

        return GridRNNParams(
            tuple(
                input_kernels(k, d)
                for k, d in zip(
                    jax.random.split(input_key, len(self.inputs)), self.inputs, strict=True
                )
            ),
            tuple(
                self.cell.init(k, self._cell_input_size, dtype)
                for k in one_each(cell_key, self._recurrent)
            ),
            tuple(dense(k) for k in one_each(dense_key, self.non_recurrent)),
        )

    def input_size(self, params: GridRNNParams) -> int:
        """Return the number of input features, D."""
        return len(self.inputs) * self._hidden(params.input_kernels[0]).shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> tuple[State, ...]:
        """Return the zero state of the cell, for each dimension that recurs."""
        return tuple(self.cell.initial_state(batch_shape, dtype) for _ in self._recurrent)

    def first_state(
        self, params: GridRNNParams, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> tuple[State, ...]:
        """Return the first state of the cell, for each dimension that recurs."""
        cells = params.cells * len(self._recurrent) if self.tied else params.cells
        return tuple(self.cell.first_state(p, batch_shape, dtype) for p in cells)

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: int
    ) -> tuple[Noise, ...]:
        """Draw the noise of every cell with separate keys."""
        keys = jax.random.split(key, len(self._recurrent))
        return tuple(self.cell.draw_noise(k, leading_shape, self._cell_input_size) for k in keys)

    def project(
        self, params: GridRNNParams, xs: Array, noise: Noise = None
    ) -> tuple[tuple[State, ...], tuple[Noise, ...]]:
        """Compute the states of the input dimensions, and pass on the noise of the cells."""
        if len(self.inputs) > 1:
            check_features("GridRNN with several inputs", xs)
        parts = jnp.split(xs, len(self.inputs), axis=-1) if len(self.inputs) > 1 else [xs]
        states = (
            jax.tree.map(lambda kernel: affine(x, kernel), kernels)  # noqa: B023, used at once
            for x, kernels in zip(parts, params.input_kernels, strict=True)
        )
        return tuple(states), noise or (None,) * len(self._recurrent)

    def step(
        self,
        params: GridRNNParams,
        state: tuple[State, ...],
        z: tuple[tuple[State, ...], tuple[Noise, ...]],
    ) -> tuple[tuple[State, ...], Array]:
        """Step the dimensions without priority, then the dimensions with priority."""
        inputs, noise = z
        states = dict(zip(self._recurrent, state, strict=True))
        states |= zip(self.inputs, inputs, strict=True)
        new = dict(states)
        outputs = [self._hidden(states[d]) for d in range(self.dims)]
        for first in (True, False):
            h = list(outputs)
            x = jnp.concatenate(h[:-1], -1) if h[:-1] else jnp.zeros_like(h[0][..., :1])
            for d in range(self.dims):
                if (d not in self.priority) is not first:
                    continue
                if d in self.non_recurrent:
                    dense = params.dense[0 if self.tied else self.non_recurrent.index(d)]
                    y = affine(jnp.concatenate(h, -1), dense.kernel, dense.bias)
                    outputs[d] = self.activation(y)
                else:
                    n = self._recurrent.index(d)
                    p = params.cells[0 if self.tied else n]
                    z_d = self.cell.project(p, x, noise[n])
                    new[d], outputs[d] = self.cell.step(
                        p, with_hidden(self.cell, states[d], h[-1]), z_d
                    )
        y = jnp.concatenate([outputs[d] for d in self.outputs], -1)
        return tuple(new[d] for d in self._recurrent), y
