"""The cells, one family a file."""

from seqjax.cells.attention import AttentionCell, AttentionCellParams, AttentionCellState
from seqjax.cells.conv_lstm import ConvLSTM, ConvLSTMParams
from seqjax.cells.dropout import Dropout, DropoutNoise
from seqjax.cells.elman import BasicRNN, BasicRNNParams
from seqjax.cells.grid_lstm import (
    BidirectionalGridLSTM,
    BidirectionalGridLSTMParams,
    BidirectionalGridLSTMState,
    GridLSTM,
    GridLSTMParams,
    TimeFreqLSTM,
)
from seqjax.cells.grid_rnn import GridDenseParams, GridRNN, GridRNNParams
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
from seqjax.cells.phased import PhasedLSTM, PhasedLSTMParams, TimedInputs
from seqjax.cells.projection import InputProjection, OutputProjection, ProjectionParams
from seqjax.cells.residual import Highway, HighwayParams, Residual
from seqjax.cells.stack import Stack
from seqjax.cells.weight_norm import WeightNorm, WeightNormParams
from seqjax.cells.zoneout import Zoneout, ZoneoutNoise

__all__ = [
    "GLSTM",
    "GRU",
    "LSTM",
    "AttentionCell",
    "AttentionCellParams",
    "AttentionCellState",
    "BasicRNN",
    "BasicRNNParams",
    "BidirectionalGridLSTM",
    "BidirectionalGridLSTMParams",
    "BidirectionalGridLSTMState",
    "ConvLSTM",
    "ConvLSTMParams",
    "CoupledInputForgetGateLSTM",
    "Dropout",
    "DropoutNoise",
    "GRUParams",
    "GridDenseParams",
    "GridLSTM",
    "GridLSTMParams",
    "GridRNN",
    "GridRNNParams",
    "Highway",
    "HighwayParams",
    "IndyLSTM",
    "InputProjection",
    "LSTMNormParams",
    "LSTMParams",
    "LSTMState",
    "OutputProjection",
    "Peepholes",
    "PhasedLSTM",
    "PhasedLSTMParams",
    "ProjectionParams",
    "Residual",
    "Stack",
    "TimeFreqLSTM",
    "TimedInputs",
    "WeightNorm",
    "WeightNormParams",
    "Zoneout",
    "ZoneoutNoise",
]
