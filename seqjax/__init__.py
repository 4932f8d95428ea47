"""Recurrent networks in JAX: pure-function cells, one unroll, exact known losses.

>>> import jax, seqjax
>>> cell = seqjax.Stack([seqjax.LSTM(16), seqjax.LSTM(8)])
>>> params = cell.init(jax.random.key(0), input_size=3)
>>> state, ys = seqjax.unroll(cell, params, jax.numpy.ones((2, 5, 3), "float32"))
>>> ys.shape
(2, 5, 8)
"""

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqjax import attention as attention
    from seqjax import catalogue as catalogue
    from seqjax import cells as cells
    from seqjax import checkpoint as checkpoint
    from seqjax import ctc as ctc
    from seqjax import data as data
    from seqjax import decoding as decoding
    from seqjax import devices as devices
    from seqjax import dynamic_evaluation as dynamic_evaluation
    from seqjax import export as export
    from seqjax import forecasting as forecasting
    from seqjax import hosts as hosts
    from seqjax import interop as interop
    from seqjax import launch as launch
    from seqjax import losses as losses
    from seqjax import nn as nn
    from seqjax import pooling as pooling
    from seqjax import regularization as regularization
    from seqjax import sampling as sampling
    from seqjax import seq2seq as seq2seq
    from seqjax import tasks as tasks
    from seqjax import testing as testing
    from seqjax import training as training
    from seqjax import truncation as truncation
    from seqjax import types as types
    from seqjax import wrappers as wrappers
    from seqjax.cells import (
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
        ConvLSTM,
        CoupledInputForgetGateLSTM,
        GridLSTM,
        IndRNN,
        IndyGRU,
        IndyLSTM,
        IntersectionRNN,
        MinGRU,
        MinimalRNN,
        MinLSTM,
        PhasedLSTM,
    )
    from seqjax.engine.context import with_context
    from seqjax.engine.step import step
    from seqjax.engine.unroll import unroll
    from seqjax.losses import sequence_loss
    from seqjax.types import Cell
    from seqjax.wrappers import (
        AttentionCell,
        Bidirectional,
        BidirectionalGridLSTM,
        ContextAttention,
        Dropout,
        Ensemble,
        GridRNN,
        Highway,
        InputProjection,
        LanguageModel,
        LearnedState,
        Mogrifier,
        OutputProjection,
        Reset,
        Residual,
        ResidualBlock,
        Stack,
        TimeFreqLSTM,
        WeightNorm,
        WithState,
        Zoneout,
    )

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
    "BasicRNN",
    "Bidirectional",
    "BidirectionalGridLSTM",
    "Cell",
    "ContextAttention",
    "ConvLSTM",
    "CoupledInputForgetGateLSTM",
    "Dropout",
    "Ensemble",
    "GridLSTM",
    "GridRNN",
    "Highway",
    "IndRNN",
    "IndyGRU",
    "IndyLSTM",
    "InputProjection",
    "IntersectionRNN",
    "LanguageModel",
    "LearnedState",
    "MinGRU",
    "MinLSTM",
    "MinimalRNN",
    "Mogrifier",
    "OutputProjection",
    "PhasedLSTM",
    "Reset",
    "Residual",
    "ResidualBlock",
    "Stack",
    "TimeFreqLSTM",
    "WeightNorm",
    "WithState",
    "Zoneout",
    "sequence_loss",
    "step",
    "unroll",
    "with_context",
]

# the modules that define these names, imported on first use because importing JAX is slow
_HOMES = (
    "cells",
    "wrappers",
    "engine.context",
    "engine.step",
    "engine.unroll",
    "losses",
    "types",
)


def _submodules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(__path__)]


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f"seqjax.{home}")
            if name in vars(module):
                return globals().setdefault(name, vars(module)[name])
    if name in _submodules():
        return importlib.import_module(f"seqjax.{name}")
    raise AttributeError(f"module 'seqjax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *_submodules()]
