"""The cells, one family a file."""

from seqjax.cells.cfn import CFN, CFNParams
from seqjax.cells.elman import BasicRNN, BasicRNNParams
from seqjax.cells.group_lstm import GLSTM
from seqjax.cells.gru import GRU, GRUParams
from seqjax.cells.indrnn import IndRNN, IndRNNParams, IndyGRU, IndyGRUParams
from seqjax.cells.indy_lstm import IndyLSTM
from seqjax.cells.intersection import IntersectionRNN, IntersectionRNNParams
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
from seqjax.cells.projection import OutputProjection, OutputProjectionParams
from seqjax.cells.sru import SRU, SRUParams, SRUState
from seqjax.cells.stack import Stack
from seqjax.cells.ugrnn import UGRNN, UGRNNParams
from seqjax.cells.weight_norm import WeightNorm, WeightNormParams
from seqjax.cells.xlstm import MLSTM, SLSTM, MLSTMParams, MLSTMState, SLSTMParams, SLSTMState

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
    "BasicRNN",
    "BasicRNNParams",
    "CFNParams",
    "CoupledInputForgetGateLSTM",
    "GRUParams",
    "IndRNN",
    "IndRNNParams",
    "IndyGRU",
    "IndyGRUParams",
    "IndyLSTM",
    "IntersectionRNN",
    "IntersectionRNNParams",
    "LRUParams",
    "LSTMNormParams",
    "LSTMParams",
    "LSTMState",
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
    "OutputProjection",
    "OutputProjectionParams",
    "Peepholes",
    "RGLRUParams",
    "SLSTMParams",
    "SLSTMState",
    "SRUParams",
    "SRUState",
    "Stack",
    "UGRNNParams",
    "WeightNorm",
    "WeightNormParams",
]
