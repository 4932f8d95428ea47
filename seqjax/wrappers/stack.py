"""Deep networks: cells stacked on each other."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Loop, Noise, Params, Projected, PyTree, Size, State
from seqjax.wrappers.composite import Composite


@dataclasses.dataclass(frozen=True)
class Stack(Composite):
    """A stack of cells, in which the output of each cell is the input of the next.

    Maps the inputs of the lowest layer to the outputs of the top layer. Parameters and state are
    tuples with one entry per layer::

        y_0 = x,   s_n', y_n = layer_n(s_n, y_{n-1}),   output = y_N

    A whole sequence runs layer by layer, so each layer projects all steps at once. A single
    `Cell.step` runs through all layers and gives the same numbers up to rounding. A stack
    corresponds to TensorFlow's ``MultiRNNCell``.

    Args:
      layers: the cells, the lowest first.

    Raises:
      ValueError: ``layers`` is empty or contains something other than a cell.

    >>> from seqjax import LSTM, Stack, unroll
    >>> cell = Stack([LSTM(8), LSTM(4)])
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> [layer.h.shape for layer in state], ys.shape
    ([(2, 8), (2, 4)], (2, 7, 4))
    """

    layers: Sequence[Cell]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.layers, list | tuple) or not self.layers:
            raise ValueError(
                f"Stack: layers must be a list of at least 1 cell, got {self.layers!r}"
            )
        for n, layer in enumerate(self.layers):
            if not isinstance(layer, Cell):
                raise ValueError(f"Stack: layers[{n}] must be a cell, got {layer!r}")
        object.__setattr__(self, "layers", tuple(self.layers))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The layers, the lowest first."""
        return tuple(self.layers)

    @property
    def output_size(self) -> Size:
        """The output size of the top layer."""
        return self.layers[-1].output_size

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> tuple[Params, ...]:
        """Initialise each layer with a separate key."""
        params = []
        for layer, layer_key in zip(self.layers, self._keys(key), strict=True):
            params.append(layer.init(layer_key, input_size, dtype))
            input_size = layer.output_size
        return tuple(params)

    def input_size(self, params: tuple[Params, ...]) -> Size:
        """Return the input size of the lowest layer."""
        return self.layers[0].input_size(params[0])

    def leading_shape(self, params: tuple[Params, ...], xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes, after the check of the lowest layer."""
        return self.layers[0].leading_shape(params[0], xs)

    def features(self, xs: PyTree) -> PyTree:
        """Return the features of the lowest layer."""
        return self.layers[0].features(xs)

    def merge_embedding(
        self, params: tuple[Params, ...], table: Array
    ) -> tuple[Params, ...] | None:
        """Merge the table into the lowest layer, or return None if it cannot."""
        lowest = self.layers[0].merge_embedding(params[0], table)
        return None if lowest is None else (lowest, *params[1:])

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: Size
    ) -> tuple[Noise, ...]:
        """Draw the noise of each layer with a separate key."""
        noise = []
        for layer, layer_key in zip(self.layers, self._keys(key), strict=True):
            noise.append(layer.draw_noise(layer_key, leading_shape, input_size))
            input_size = layer.output_size
        return tuple(noise)

    def project(
        self, params: tuple[Params, ...], xs: PyTree, noise: Noise = None
    ) -> tuple[Projected, tuple[Noise, ...]]:
        """Project for the lowest layer, and pass on the noise of the layers above it."""
        lowest, *upper = noise or (None,) * len(self.layers)
        return self.layers[0].project(params[0], xs, lowest), tuple(upper)

    def step(
        self, params: tuple[Params, ...], state: tuple[State, ...], z: Projected
    ) -> tuple[tuple[State, ...], PyTree]:
        """Step through all layers; the upper layers project within the step."""
        lowest, upper_noise = z
        first, y = self.layers[0].step(params[0], state[0], lowest)
        states = [first]
        for layer, p, s, noise in zip(
            self.layers[1:], params[1:], state[1:], upper_noise, strict=True
        ):
            s, y = layer.step(p, s, layer.project(p, y, noise))
            states.append(s)
        return tuple(states), y

    def sequence(
        self,
        loop: Loop,
        params: tuple[Params, ...],
        state: tuple[State, ...],
        xs: PyTree,
        noise: Noise = None,
    ) -> tuple[tuple[State, ...], PyTree]:
        """Run layer by layer."""
        states = []
        noise = noise or (None,) * len(self.layers)
        for layer, p, s, n in zip(self.layers, params, state, noise, strict=True):
            s, xs = layer.sequence(loop, p, s, xs, n)
            states.append(s)
        return tuple(states), xs

    def _keys(self, key: Array) -> Array:
        return jax.random.split(key, len(self.layers))
