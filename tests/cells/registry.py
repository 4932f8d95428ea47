"""The cells that the battery runs: at least one of every class in `seqjax.cells`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import (
    GLSTM,
    GRU,
    LSTM,
    BasicRNN,
    Cell,
    CoupledInputForgetGateLSTM,
    IndyLSTM,
    LayerNorm,
    OutputProjection,
    Stack,
    WeightNorm,
)


class Example(NamedTuple):
    """A cell and inputs that it takes."""

    cell: Cell
    input_size: int | tuple[int, ...] = 3

    def draw_inputs(self, key, leading_shape):
        """Draw batch-major inputs ``[*leading_shape, ...]``, float64."""
        size = self.input_size
        features = size if isinstance(size, tuple) else (size,)
        return jax.random.normal(key, (*leading_shape, *features), jnp.float64)


LSTM_OPTIONS = {
    "peepholes": True,
    "cell_clip": 1.5,
    "projection_size": 4,
    "projection_clip": 0.6,
    "layer_norm": LayerNorm(),
    "recurrent_dropout": 0.3,
}

EXAMPLES = {
    "BasicRNN": Example(BasicRNN(4)),
    "BasicRNN relu": Example(BasicRNN(4, activation=jax.nn.relu)),
    "GRU": Example(GRU(4)),
    "GRU reset_after": Example(GRU(4, reset_after=True)),
    "LSTM": Example(LSTM(4)),
    "LSTM relu": Example(LSTM(4, activation=jax.nn.relu)),
    "LSTM every option": Example(LSTM(5, **LSTM_OPTIONS)),
    "LSTM straight_through": Example(LSTM(4, cell_clip=0.2, straight_through=True)),
    "CoupledInputForgetGateLSTM": Example(CoupledInputForgetGateLSTM(4)),
    "CoupledInputForgetGateLSTM every option": Example(
        CoupledInputForgetGateLSTM(5, **LSTM_OPTIONS)
    ),
    "IndyLSTM": Example(IndyLSTM(4)),
    "GLSTM": Example(GLSTM(4, groups=2), input_size=6),
    "GLSTM projection": Example(GLSTM(6, groups=3, projection_size=3)),
    "WeightNorm": Example(WeightNorm(LSTM(4))),
    "OutputProjection": Example(OutputProjection(GRU(4), 2)),
    "Stack": Example(Stack([LSTM(4), GRU(5)])),
}
