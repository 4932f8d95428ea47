"""Negative log-likelihoods of real-valued targets and of counts."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import given_array, is_known
from seqjax.losses.averaging import Averaging, as_dtype
from seqjax.losses.features import as_predictions, as_targets, average_features, limits
from seqjax.types import Array


def gaussian_loss(
    mean: Array,
    log_deviation: Array,
    targets: Array,
    *,
    feature_axes: int = 1,
    lengths: Array | None = None,
    weights: Array | None = None,
    average_over_time: bool = True,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """The negative log-likelihood of targets with a normal distribution, in nats per feature::

        z    = (targets - mean) * exp(-log_deviation)
        loss = mean over the features of z ** 2 / 2 + log_deviation + log(2 * pi) / 2

    The features are independent given the predictions, so the log-likelihood of a step is its
    number of features times ``-loss``. A density may exceed 1, so the loss may be negative. The
    loss of a step is averaged as in `squared_error`.

    The scale is given as the logarithm of the standard deviation because every real number is then
    valid. A network needs no function that makes its output positive, no deviation rounds to 0, and
    the loss is linear in the logarithm, without a logarithm of a small number. If you have a
    variance, give ``jnp.log(variance) / 2``.

    Args:
      mean: floating ``[B, T, *D]``, with any number of batch axes.
      log_deviation: floating ``[B, T, *D]``, the natural logarithm of the standard deviation.
      targets: real ``[B, T, *D]``, converted to the dtype of the result.
      feature_axes: as in `squared_error`.
      lengths: as in `squared_error`.
      weights: as in `squared_error`.
      average_over_time: as in `squared_error`.
      average_over_batch: as in `squared_error`.
      time_major: as in `squared_error`.

    Returns:
      As in `squared_error`, in the dtype of the mean.

    Raises:
      ValueError: as in `squared_error`, or ``log_deviation`` has not the shape of the mean.

    Reference: Nix and Weigend, "Estimating the mean and variance of the target probability
    distribution", 1994.

    >>> mean = log_deviation = jnp.zeros((1, 1, 1), jnp.float32)
    >>> print(gaussian_loss(mean, log_deviation, jnp.ones((1, 1, 1), jnp.float32)))
    1.4189385
    """
    mean, rank = as_predictions("gaussian_loss", "mean", mean, feature_axes)
    log_deviation = given_array("log_deviation", log_deviation)
    if log_deviation.shape != mean.shape or not jnp.issubdtype(log_deviation.dtype, jnp.floating):
        raise ValueError(
            f"log_deviation must be floating of shape {mean.shape}, that of the mean, got "
            f"{log_deviation.dtype} of shape {log_deviation.shape}; give one deviation for several "
            "features or steps with jnp.broadcast_to"
        )
    log_deviation = as_dtype(log_deviation, mean.dtype)
    targets = as_targets(targets, mean.shape, mean.dtype, "that of the mean")
    averaging = Averaging(lengths, weights, average_over_time, average_over_batch, time_major)
    large, large_log = limits(mean.dtype)
    bounded = ((mean, large), (log_deviation, large_log), (targets, large))

    def loss(mean: Array, log_deviation: Array, targets: Array) -> Array:
        z = (targets - mean) * jnp.exp(-log_deviation)
        return jnp.square(z) / 2 + log_deviation + math.log(2 * math.pi) / 2

    return average_features("gaussian_loss", "mean", loss, bounded, rank, averaging)


def poisson_loss(
    log_rate: Array,
    targets: Array,
    *,
    feature_axes: int = 1,
    lengths: Array | None = None,
    weights: Array | None = None,
    average_over_time: bool = True,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """The negative log-likelihood of counts with a Poisson distribution, in nats per feature::

        loss = mean over the features of exp(log_rate) - targets * log_rate + log(targets!)

    The features are independent given the predictions, so the log-likelihood of a step is its
    number of features times ``-loss``. A rate of 0, whose logarithm is ``-inf``, gives a count of 0
    a loss of 0 and any other an infinite one. The loss of a step is averaged as in `squared_error`.

    The loss is a small difference of terms that grow with the count. In float32, its error
    is about 0.001 at counts of 1,000 and 0.02 at 10,000. The gradient is not a difference of these
    terms.

    Args:
      log_rate: floating ``[B, T, *D]``, the natural logarithm of the expected count, with any
        number of batch axes.
      targets: integers or floating ``[B, T, *D]``, whole numbers of at least 0, converted to the
        dtype of the result.
      feature_axes: as in `squared_error`.
      lengths: as in `squared_error`.
      weights: as in `squared_error`.
      average_over_time: as in `squared_error`.
      average_over_batch: as in `squared_error`.
      time_major: as in `squared_error`.

    Returns:
      As in `squared_error`, in the dtype of ``log_rate``.

    Raises:
      ValueError: as in `squared_error`, or a target with a weight is not a whole number of at least
        0. Targets are checked outside of `jax.jit` only; inside, such a target makes the loss NaN.

    Reference: McCullagh and Nelder, "Generalized linear models", 1989, chapter 6.

    >>> log_rate = jnp.zeros((1, 2, 1), jnp.float32)
    >>> loss = poisson_loss(log_rate, jnp.array([[[0], [2]]]))
    >>> print(f"{loss:.4f}")  # 1 + log(2) / 2, from a rate of 1
    1.3466
    """
    log_rate, rank = as_predictions("poisson_loss", "log_rate", log_rate, feature_axes)
    given = given_array("targets", targets)
    counted = as_targets(given, log_rate.shape, log_rate.dtype, "that of log_rate")
    # NaN propagates to the loss where the weight is not 0, and is set to 0 elsewhere
    counted = jnp.where(_is_count(counted), counted, jnp.nan)
    averaging = Averaging(lengths, weights, average_over_time, average_over_batch, time_major)
    large, large_log = limits(log_rate.dtype)
    bounded = ((log_rate, large_log), (counted, large))

    def loss(log_rate: Array, counted: Array) -> Array:
        # 0 * -inf would be NaN
        linear = counted * jnp.where(counted == 0, 0, log_rate)
        return jnp.exp(log_rate) - linear + jax.lax.lgamma(counted + 1)

    def check(counts: Array) -> None:
        _check_counts(given, counts)

    return average_features("poisson_loss", "log_rate", loss, bounded, rank, averaging, check)


def _is_count(values: Any) -> Any:
    return (values >= 0) & (values < np.inf) & (values == values.round())


def _check_counts(targets: Any, counts: Array) -> None:
    """Raise ``ValueError`` unless targets are whole numbers of at least 0 where they count."""
    if not (is_known(targets) and is_known(counts)):
        return
    host = np.asarray(targets)
    steps = np.asarray(counts).reshape(counts.shape + (1,) * (host.ndim - counts.ndim))
    with np.errstate(invalid="ignore"):
        wrong = np.argwhere(steps & ~_is_count(host))
    if len(wrong):
        where = tuple(int(i) for i in wrong[0])
        raise ValueError(
            f"targets must be whole numbers of at least 0, the counts, got {host[where]} at index "
            f"{where[0] if len(where) == 1 else where}; shorten lengths, or give weights of 0, if "
            "it is padding"
        )
