"""Cells that wrap other cells: stacks, directions, dropout, projections and other changes."""

from seqjax.operations.normalization import NormParams
from seqjax.wrappers.attention import AttentionCell, AttentionCellParams, AttentionCellState
from seqjax.wrappers.bidirectional import Bidirectional, Directions
from seqjax.wrappers.bidirectional_grid_lstm import (
    BidirectionalGridLSTM,
    BidirectionalGridLSTMParams,
    BidirectionalGridLSTMState,
)
from seqjax.wrappers.context_attention import (
    ContextAttention,
    ContextAttentionNoise,
    ContextAttentionParams,
    ContextAttentionState,
)
from seqjax.wrappers.dropout import Dropout, DropoutNoise
from seqjax.wrappers.ensemble import Ensemble
from seqjax.wrappers.grid_rnn import GridDenseParams, GridRNN, GridRNNParams
from seqjax.wrappers.language_model import LanguageModel, LanguageModelParams
from seqjax.wrappers.learned_state import LearnedState, LearnedStateParams
from seqjax.wrappers.mogrifier import Mogrifier, MogrifierParams
from seqjax.wrappers.projection import InputProjection, OutputProjection, ProjectionParams
from seqjax.wrappers.reset import Reset, ResetInputs
from seqjax.wrappers.residual import Highway, HighwayParams, KeepFeatures, Residual
from seqjax.wrappers.residual_block import ResidualBlock, ResidualBlockParams
from seqjax.wrappers.stack import Stack
from seqjax.wrappers.time_freq_lstm import TimeFreqLSTM
from seqjax.wrappers.weight_norm import WeightNorm, WeightNormParams
from seqjax.wrappers.with_state import OutputAndState, WithState
from seqjax.wrappers.zoneout import Zoneout, ZoneoutNoise

__all__ = [
    "AttentionCell",
    "AttentionCellParams",
    "AttentionCellState",
    "Bidirectional",
    "BidirectionalGridLSTM",
    "BidirectionalGridLSTMParams",
    "BidirectionalGridLSTMState",
    "ContextAttention",
    "ContextAttentionNoise",
    "ContextAttentionParams",
    "ContextAttentionState",
    "Directions",
    "Dropout",
    "DropoutNoise",
    "Ensemble",
    "GridDenseParams",
    "GridRNN",
    "GridRNNParams",
    "Highway",
    "HighwayParams",
    "InputProjection",
    "KeepFeatures",
    "LanguageModel",
    "LanguageModelParams",
    "LearnedState",
    "LearnedStateParams",
    "Mogrifier",
    "MogrifierParams",
    "NormParams",
    "OutputAndState",
    "OutputProjection",
    "ProjectionParams",
    "Reset",
    "ResetInputs",
    "Residual",
    "ResidualBlock",
    "ResidualBlockParams",
    "Stack",
    "TimeFreqLSTM",
    "WeightNorm",
    "WeightNormParams",
    "WithState",
    "Zoneout",
    "ZoneoutNoise",
]
