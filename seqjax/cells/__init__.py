"""The cells, one family a file."""

from seqjax.cells.elman import BasicRNN, BasicRNNParams
from seqjax.cells.group_lstm import GLSTM
from seqjax.cells.gru import GRU, GRUParams
from seqjax.cells.indy_lstm import IndyLSTM
from seqjax.cells.lstm import (
    LSTM,
    CoupledInputForgetGateLSTM,
    LSTMNormParams,
    LSTMParams,
    LSTMState,
    Peepholes,
)
from seqjax.cells.projection import OutputProjection, OutputProjectionParams
from seqjax.cells.stack import Stack
from seqjax.cells.weight_norm import WeightNorm, WeightNormParams

__all__ = [
    "GLSTM",
    "GRU",
    "LSTM",
    "BasicRNN",
    "BasicRNNParams",
    "CoupledInputForgetGateLSTM",
    "GRUParams",
    "IndyLSTM",
    "LSTMNormParams",
    "LSTMParams",
    "LSTMState",
    "OutputProjection",
    "OutputProjectionParams",
    "Peepholes",
    "Stack",
    "WeightNorm",
    "WeightNormParams",
]
