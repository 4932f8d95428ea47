"""Losses of sequences, masked by lengths or weights.

======================  ======================================================
`seqjax.sequence_loss`  cross-entropy of classes, such as tokens
`squared_error`         real targets; the best prediction is their mean
`absolute_error`        real targets; the best prediction is their median
`quantile_loss`         real targets; the best predictions are their quantiles
`gaussian_loss`         real targets with a predicted deviation
`poisson_loss`          counts
`masked_mean`           a loss or metric of your own
======================  ======================================================

All take ``lengths`` or ``weights`` and divide by the sum of the weights. The table in
`seqjax.sequence_loss` says what ``average_over_time`` and ``average_over_batch`` do, for all of
them. Where the weight is 0, NaN affects neither the loss nor its gradient.

The losses of real targets and counts have ``feature_axes`` axes of features after the batch and
time axes. The loss of a step is the mean over its features.

>>> import jax.numpy as jnp
>>> predictions = jnp.zeros((2, 3, 1), jnp.float32)
>>> targets = jnp.full((2, 3, 1), 2.0, jnp.float32)
>>> print(squared_error(predictions, targets, lengths=jnp.array([3, 1])))
4.0
"""

from seqjax.losses.averaging import masked_mean
from seqjax.losses.cross_entropy import sequence_loss
from seqjax.losses.likelihood import gaussian_loss, poisson_loss
from seqjax.losses.regression import absolute_error, quantile_loss, squared_error

__all__ = [
    "absolute_error",
    "gaussian_loss",
    "masked_mean",
    "poisson_loss",
    "quantile_loss",
    "sequence_loss",
    "squared_error",
]
