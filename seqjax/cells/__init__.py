"""Recurrent cells, one family per module."""

from seqjax.cells.cfn import CFN, CFNParams
from seqjax.cells.conv_lstm import ConvLSTM, ConvLSTMParams
from seqjax.cells.coupled_lstm import CoupledInputForgetGateLSTM
from seqjax.cells.elman import BasicRNN, BasicRNNParams
from seqjax.cells.grid_lstm import GridLSTM, GridLSTMParams
from seqjax.cells.group_lstm import GLSTM
from seqjax.cells.gru import GRU, GRUParams
from seqjax.cells.independent import IndRNN, IndyGRU, IndyLSTM
from seqjax.cells.intersection import IntersectionRNN, IntersectionRNNParams
from seqjax.cells.lru import LRU, RGLRU, LRUParams, RGLRUParams
from seqjax.cells.lstm import (
    LSTM,
    LSTMNormParams,
    LSTMParams,
    LSTMState,
)
from seqjax.cells.mgu import MGU, MGUParams
from seqjax.cells.mingru import MinGRU, MinLSTM, MinParams
from seqjax.cells.minimal import MinimalRNN, MinimalRNNParams
from seqjax.cells.mlstm import MLSTM, MLSTMParams, MLSTMState
from seqjax.cells.nas import NAS, NASParams
from seqjax.cells.peepholes import Peepholes
from seqjax.cells.phased import PhasedLSTM, PhasedLSTMParams, TimedInputs
from seqjax.cells.slstm import SLSTM, SLSTMParams, SLSTMState
from seqjax.cells.sru import SRU, SRUParams, SRUState
from seqjax.cells.ugrnn import UGRNN, UGRNNParams
from seqjax.operations.normalization import LayerNorm

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
    "ConvLSTM",
    "ConvLSTMParams",
    "CoupledInputForgetGateLSTM",
    "GRUParams",
    "GridLSTM",
    "GridLSTMParams",
    "IndRNN",
    "IndyGRU",
    "IndyLSTM",
    "IntersectionRNN",
    "IntersectionRNNParams",
    "LRUParams",
    "LSTMNormParams",
    "LSTMParams",
    "LSTMState",
    "LayerNorm",
    "MGUParams",
    "MLSTMParams",
    "MLSTMState",
    "MinGRU",
    "MinLSTM",
    "MinParams",
    "MinimalRNN",
    "MinimalRNNParams",
    "NASParams",
    "Peepholes",
    "PhasedLSTM",
    "PhasedLSTMParams",
    "RGLRUParams",
    "SLSTMParams",
    "SLSTMState",
    "SRUParams",
    "SRUState",
    "TimedInputs",
    "UGRNNParams",
]
