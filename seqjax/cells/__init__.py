"""The cells, one family a file."""

from seqjax.cells.dropout import Dropout, DropoutNoise
from seqjax.cells.elman import BasicRNN, BasicRNNParams
from seqjax.cells.gru import GRU, GRUParams
from seqjax.cells.lstm import LSTM, LSTMParams, LSTMState
from seqjax.cells.projection import InputProjection, OutputProjection, ProjectionParams
from seqjax.cells.residual import Highway, HighwayParams, Residual
from seqjax.cells.stack import Stack
from seqjax.cells.zoneout import Zoneout, ZoneoutNoise

__all__ = [
    "GRU",
    "LSTM",
    "BasicRNN",
    "BasicRNNParams",
    "Dropout",
    "DropoutNoise",
    "GRUParams",
    "Highway",
    "HighwayParams",
    "InputProjection",
    "LSTMParams",
    "LSTMState",
    "OutputProjection",
    "ProjectionParams",
    "Residual",
    "Stack",
    "Zoneout",
    "ZoneoutNoise",
]
