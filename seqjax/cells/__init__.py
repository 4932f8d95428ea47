"""The cells, one family a file."""

from seqjax.cells.attention import AttentionCell, AttentionCellParams, AttentionCellState
from seqjax.cells.cfn import CFN, CFNParams
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
from seqjax.cells.independent import IndRNN, IndyGRU, IndyLSTM
from seqjax.cells.intersection import IntersectionRNN, IntersectionRNNParams
from seqjax.cells.language_model import LanguageModel, LanguageModelParams, NormParams
from seqjax.cells.lru import LRU, RGLRU, LRUParams, RGLRUParams
from seqjax.cells.lstm import (
    LSTM,
    CoupledInputForgetGateLSTM,
    LSTMNormParams,
    LSTMParams,
    LSTMState,
    Peepholes,
)
from seqjax.cells.mgu import MGU, MGUParams
from seqjax.cells.mingru import MinGRU, MinLSTM, MinParams
from seqjax.cells.minimal import MinimalRNN, MinimalRNNParams
from seqjax.cells.mogrifier import Mogrifier, MogrifierParams
from seqjax.cells.nas import NAS, NASParams
from seqjax.cells.phased import PhasedLSTM, PhasedLSTMParams, TimedInputs
from seqjax.cells.projection import InputProjection, OutputProjection, ProjectionParams
from seqjax.cells.reset import Reset, ResetInputs
from seqjax.cells.residual import Highway, HighwayParams, Residual
from seqjax.cells.sru import SRU, SRUParams, SRUState
from seqjax.cells.stack import Stack
from seqjax.cells.ugrnn import UGRNN, UGRNNParams
from seqjax.cells.weight_norm import WeightNorm, WeightNormParams
from seqjax.cells.with_state import OutputAndState, WithState
from seqjax.cells.xlstm import MLSTM, SLSTM, MLSTMParams, MLSTMState, SLSTMParams, SLSTMState
from seqjax.cells.zoneout import Zoneout, ZoneoutNoise

__all__ = [
    "CFN",
    "GLSTM",
    "GRU",
    "LRU",
    "LSTM",
    "MGU",
    "MLSTM",
    "NAS",
    "RGLRU",
    "SLSTM",
    "SRU",
    "UGRNN",
    "AttentionCell",
    "AttentionCellParams",
    "AttentionCellState",
    "BasicRNN",
    "BasicRNNParams",
    "BidirectionalGridLSTM",
    "BidirectionalGridLSTMParams",
    "BidirectionalGridLSTMState",
    "CFNParams",
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
    "IndRNN",
    "IndyGRU",
    "IndyLSTM",
    "InputProjection",
    "IntersectionRNN",
    "IntersectionRNNParams",
    "LRUParams",
    "LSTMNormParams",
    "LSTMParams",
    "LSTMState",
    "LanguageModel",
    "LanguageModelParams",
    "MGUParams",
    "MLSTMParams",
    "MLSTMState",
    "MinGRU",
    "MinLSTM",
    "MinParams",
    "MinimalRNN",
    "MinimalRNNParams",
    "Mogrifier",
    "MogrifierParams",
    "NASParams",
    "NormParams",
    "OutputAndState",
    "OutputProjection",
    "Peepholes",
    "PhasedLSTM",
    "PhasedLSTMParams",
    "ProjectionParams",
    "RGLRUParams",
    "Reset",
    "ResetInputs",
    "Residual",
    "SLSTMParams",
    "SLSTMState",
    "SRUParams",
    "SRUState",
    "Stack",
    "TimeFreqLSTM",
    "TimedInputs",
    "UGRNNParams",
    "WeightNorm",
    "WeightNormParams",
    "WithState",
    "Zoneout",
    "ZoneoutNoise",
]
