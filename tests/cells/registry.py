"""The cells that the battery runs: at least one of every class in `seqjax.cells`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import (
    CFN,
    GLSTM,
    GRU,
    LRU,
    LSTM,
    MGU,
    MLSTM,
    NAS,
    RGLRU,
    SLSTM,
    SRU,
    UGRNN,
    BasicRNN,
    Cell,
    CoupledInputForgetGateLSTM,
    IndRNN,
    IndyGRU,
    IndyLSTM,
    IntersectionRNN,
    LayerNorm,
    MinGRU,
    MinimalRNN,
    MinLSTM,
    Mogrifier,
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
    "UGRNN": Example(UGRNN(4)),
    "IntersectionRNN": Example(IntersectionRNN(3)),
    "NAS": Example(NAS(4)),
    "NAS every option": Example(NAS(4, projection_size=3, use_bias=True)),
    "SRU": Example(SRU(4)),
    "IndRNN": Example(IndRNN(4)),
    "IndyGRU": Example(IndyGRU(4)),
    "MinimalRNN": Example(MinimalRNN(4)),
    "CFN": Example(CFN(4)),
    "MGU": Example(MGU(4)),
    "MinGRU": Example(MinGRU(4)),
    "MinLSTM": Example(MinLSTM(4, activation=jnp.tanh)),
    "LRU": Example(LRU(4, 2)),
    "RGLRU": Example(RGLRU(3)),
    "SLSTM": Example(SLSTM(4)),
    "SLSTM every option": Example(SLSTM(4, heads=2, exponential_forget=True)),
    "MLSTM": Example(MLSTM(4)),
    "MLSTM every option": Example(MLSTM(4, heads=2, exponential_forget=True)),
    "Mogrifier": Example(Mogrifier(LSTM(4, recurrent_dropout=0.3))),
    "Mogrifier one round": Example(Mogrifier(GRU(4), rounds=1)),
    "OutputProjection": Example(OutputProjection(GRU(4), 2)),
    "Stack": Example(Stack([LSTM(4), GRU(5)])),
}
