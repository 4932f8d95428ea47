"""Recurrent networks in JAX: pure-function cells, one unroll, exact known losses.

>>> import jax, seqjax
>>> cell = seqjax.Stack([seqjax.LSTM(16), seqjax.LSTM(8)])
>>> params = cell.init(jax.random.key(0), input_size=3)
>>> state, ys = seqjax.unroll(cell, params, jax.numpy.ones((2, 5, 3), "float32"))
>>> ys.shape
(2, 5, 8)
"""

from seqjax import cells, wrappers
from seqjax.cells import *  # noqa: F403 - every cell, as seqjax.cells lists them
from seqjax.engine.unroll import unroll
from seqjax.losses import sequence_loss
from seqjax.operations.normalization import LayerNorm
from seqjax.pooling import attention_pool, last_valid, mean_valid
from seqjax.types import Cell, HiddenState, LinearCell
from seqjax.wrappers import *  # noqa: F403
from seqjax.wrappers.bidirectional import (
    Directions,
    bidirectional_stack_unroll,
    bidirectional_unroll,
    init_bidirectional_stack,
)

__all__ = [
    "Cell",
    "Directions",
    "HiddenState",
    "LayerNorm",
    "LinearCell",
    "attention_pool",
    "bidirectional_stack_unroll",
    "bidirectional_unroll",
    "init_bidirectional_stack",
    "last_valid",
    "mean_valid",
    "sequence_loss",
    "unroll",
]
__all__ += [*cells.__all__, *wrappers.__all__]
