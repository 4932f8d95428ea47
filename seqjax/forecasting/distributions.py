"""Distributions of the next value, and how it is chosen from them."""

import abc
import dataclasses

import jax
import jax.numpy as jnp

from seqjax.types import Array


class Distribution(abc.ABC):
    """How the output of a model describes the next value; subclasses are frozen dataclasses.

    `forecast` feeds back `mean` or `sample`. Quantiles describe each step on its own and give no
    next value; forecast them for all steps of the horizon at once, from one output.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Poisson(Distribution):
    ...     def output_size(self, size):
    ...         return size  # the logarithms of the rates, as in seqjax.losses.poisson_loss
    ...
    ...     def mean(self, outputs):
    ...         return jnp.exp(outputs)
    ...
    ...     def sample(self, key, outputs):
    ...         return jax.random.poisson(key, jnp.exp(outputs)).astype(outputs.dtype)
    >>> Poisson().output_size(3)
    3
    """

    @abc.abstractmethod
    def output_size(self, size: int) -> int:
        """Return the number of outputs P that describe a value of ``size`` features D."""

    @abc.abstractmethod
    def mean(self, outputs: Array) -> Array:
        """Return the means ``[B, D]`` of outputs ``[B, P]``."""

    @abc.abstractmethod
    def sample(self, key: Array, outputs: Array) -> Array:
        """Draw values ``[B, D]`` from outputs ``[B, P]``."""


@dataclasses.dataclass(frozen=True)
class Gaussian(Distribution):
    """A normal distribution with independent features, trained by `seqjax.losses.gaussian_loss`.

    The outputs are the means and then the logarithms of the deviations, ``[B, 2 * D]``.

    >>> mean, log_deviation = Gaussian().split(jnp.array([[3.0, 0.0]]))
    >>> print(mean, log_deviation)
    [[3.]] [[0.]]
    """

    def output_size(self, size: int) -> int:
        """Return ``2 * size``."""
        return 2 * size

    def split(self, outputs: Array) -> tuple[Array, Array]:
        """Return the means and the logarithms of the deviations, both ``[B, D]``."""
        mean, log_deviation = jnp.split(outputs, 2, axis=-1)
        return mean, log_deviation

    def mean(self, outputs: Array) -> Array:
        """Return the means."""
        return self.split(outputs)[0]

    def sample(self, key: Array, outputs: Array) -> Array:
        """Draw from the normal distributions."""
        mean, log_deviation = self.split(outputs)
        return mean + jnp.exp(log_deviation) * jax.random.normal(key, mean.shape, mean.dtype)


@dataclasses.dataclass(frozen=True)
class Deterministic(Distribution):
    """A value without a deviation, trained by `seqjax.losses.squared_error`.

    The outputs are the values, ``[B, D]``, and a sample equals the mean.
    """

    def output_size(self, size: int) -> int:
        """Return ``size``."""
        return size

    def mean(self, outputs: Array) -> Array:
        """Return the outputs."""
        return outputs

    def sample(self, key: Array, outputs: Array) -> Array:
        """Return the outputs."""
        return outputs
