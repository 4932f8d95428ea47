"""The cells, one family a file."""

from seqjax.cells.elman import BasicRNN, BasicRNNParams
from seqjax.cells.gru import GRU, GRUParams
from seqjax.cells.lstm import LSTM, LSTMParams, LSTMState
from seqjax.cells.projection import OutputProjection, OutputProjectionParams
from seqjax.cells.stack import Stack

__all__ = [
    "GRU",
    "LSTM",
    "BasicRNN",
    "BasicRNNParams",
    "GRUParams",
    "LSTMParams",
    "LSTMState",
    "OutputProjection",
    "OutputProjectionParams",
    "Stack",
]
