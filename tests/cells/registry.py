"""The cells that the battery runs: at least one of every class in `seqjax.cells`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import GRU, LSTM, BasicRNN, Cell, OutputProjection, Stack


class Example(NamedTuple):
    """A cell and inputs that it takes."""

    cell: Cell
    input_size: int | tuple[int, ...] = 3

    def draw_inputs(self, key, leading_shape):
        """Draw batch-major inputs ``[*leading_shape, ...]``, float64."""
        size = self.input_size
        features = size if isinstance(size, tuple) else (size,)
        return jax.random.normal(key, (*leading_shape, *features), jnp.float64)


EXAMPLES = {
    "BasicRNN": Example(BasicRNN(4)),
    "BasicRNN relu": Example(BasicRNN(4, activation=jax.nn.relu)),
    "GRU": Example(GRU(4)),
    "GRU reset_after": Example(GRU(4, reset_after=True)),
    "LSTM": Example(LSTM(4)),
    "OutputProjection": Example(OutputProjection(GRU(4), 2)),
    "Stack": Example(Stack([LSTM(4), GRU(5)])),
}
