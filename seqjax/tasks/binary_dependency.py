"""Binary sequences that depend on another binary sequence at known lags."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.arrays import given_array
from seqjax.checks import check_key, check_number, check_size, describe, is_integer, is_number
from seqjax.operations.masking import check_tokens
from seqjax.types import Array

_ARTICLE = ((3, 0.5), (8, -0.25))
_ROUNDING = 1e-12  # a bound on the rounding error of sums such as 0.1 + 0.2 + 0.7


@dataclasses.dataclass(frozen=True)
class BinaryDependency:
    """Binary inputs X, fair coins, and binary targets Y that depend on X at some lags::

        P(Y[t] = 1) = base_rate + sum over dependencies of change * X[t - lag]

    The defaults are those of the reference.

    Args:
      dependencies: pairs ``(lag, change)``. A negative lag refers to later inputs.
      base_rate: P(Y = 1) if X is 0 at every lag.

    Raises:
      ValueError: a probability is outside of [0, 1], or a lag is not a whole number or is given
        twice.

    Reference: Pitis, "Recurrent neural networks in TensorFlow I", 2016.

    >>> task = BinaryDependency()
    >>> print(f"{task.expected_loss([]):.12f}")
    0.661563238158
    >>> print(f"{task.expected_loss([3]):.12f}")
    0.519166699707
    >>> print(f"{task.expected_loss([3, 8]):.12f}")
    0.454454367449
    """

    dependencies: Sequence[tuple[int, float]] = _ARTICLE
    base_rate: float = 0.5

    def __post_init__(self) -> None:
        check_number("BinaryDependency", "base_rate", self.base_rate)
        pairs: tuple[tuple[Any, Any], ...]
        try:
            pairs = tuple((lag, change) for lag, change in self.dependencies)
        except (TypeError, ValueError):
            pairs = (("", ""),)
        if not all(is_integer(lag) and is_number(change) for lag, change in pairs):
            raise ValueError(
                "dependencies must be pairs of a whole number (lag) and a number (change), such as "
                f"[(3, 0.5)], got {self.dependencies!r}"
            )
        pairs = tuple((int(lag), float(change)) for lag, change in pairs)
        object.__setattr__(self, "dependencies", pairs)
        lags = self._lags
        if len(set(lags)) != len(lags):
            raise ValueError(f"each lag must be given once, got {lags}")
        # the extremes: all positive changes, or all negative ones
        for extreme in (max, min):
            xs = {lag: int(extreme(change, 0) != 0) for lag, change in self.dependencies}
            p = self._probability(xs)
            if not -_ROUNDING <= p <= 1 + _ROUNDING:
                where = " and ".join(f"X[{_at(lag)}] = {x}" for lag, x in xs.items())
                raise ValueError(
                    f"P(Y = 1) must lie in [0, 1], got {p:g} {where and f'for {where} '}(base_rate "
                    f"{self.base_rate:g}, dependencies {list(self.dependencies)}); "
                    "change the base rate or the dependencies"
                )

    def expected_loss(self, known: Iterable[int]) -> float:
        """The cross-entropy, in nats per step, of the best model that knows some dependencies.

        The model sees X at the lags in ``known`` and predicts P(Y = 1) given these values. The loss
        is exact: the mean entropy over all ``2 ** len(known)`` combinations.

        Args:
          known: lags of this task.

        Raises:
          ValueError: ``known`` holds a lag that is not a lag of this task.
        """
        try:
            known = tuple(dict.fromkeys(known))
        except TypeError:
            raise ValueError(f"known must be a list of lags, got {describe(known)}") from None
        if not set(known) <= set(self._lags):
            raise ValueError(f"known must be lags of this task, {self._lags}, got {list(known)}")
        # an X that is not known is a fair coin, and P(Y = 1) is linear in it
        unknown = dict.fromkeys(self._lags, 0.5)
        combinations = itertools.product((0, 1), repeat=len(known))
        return math.fsum(
            _entropy(self._probability({**unknown, **dict(zip(known, xs, strict=True))}))
            for xs in combinations
        ) / 2 ** len(known)

    def probabilities(self, xs: Array) -> Array:
        """P(Y = 1) at each step. The sequence is circular: its first steps depend on its last.

        Args:
          xs: X, integers ``[..., N]`` in {0, 1}.

        Returns:
          ``float32[..., N]``.

        Raises:
          ValueError: ``xs`` are not integers, or outside of `jax.jit` not in {0, 1}.

        >>> print(BinaryDependency([(1, 0.5)], 0.25).probabilities(jnp.array([0, 0, 1])))
        [0.75 0.25 0.25]
        """
        xs = given_array("xs", xs)
        if not xs.ndim or not jnp.issubdtype(xs.dtype, jnp.integer):
            raise ValueError(f"xs must be integers [..., N] in {{0, 1}}, got {describe(xs)}")
        check_tokens("xs", xs, 2)
        ps = jnp.full(xs.shape, self.base_rate, jnp.float32)
        for lag, change in self.dependencies:
            ps = ps + change * jnp.roll(xs, lag, axis=-1).astype(jnp.float32)
        return ps

    def sample(self, key: Array, num_steps: int) -> tuple[Array, Array]:
        """Draw a sequence. It is circular: its first steps depend on its last.

        Args:
          key: a key from `jax.random.key`.
          num_steps: N, more than the longest lag.

        Returns:
          ``(xs, ys)``, ``int32[N]`` in {0, 1}.

        Raises:
          ValueError: ``num_steps`` is not more than the longest lag.

        >>> xs, ys = BinaryDependency().sample(jax.random.key(0), 1000)
        >>> xs.shape, ys.shape
        ((1000,), (1000,))
        """
        check_key(key)
        check_size("BinaryDependency", "num_steps", num_steps)
        longest = max(map(abs, self._lags), default=0)
        if num_steps <= longest:
            raise ValueError(
                f"num_steps must be more than the longest lag, {longest}, got {num_steps}"
            )
        x_key, y_key = jax.random.split(key)
        xs = jax.random.bernoulli(x_key, 0.5, (num_steps,)).astype(jnp.int32)
        uniform = jax.random.uniform(y_key, (num_steps,), jnp.float32)
        return xs, (uniform < self.probabilities(xs)).astype(jnp.int32)

    def _probability(self, xs: Mapping[int, float]) -> float:
        """P(Y = 1) given X, or the mean of X, at each lag."""
        changes = (change * xs[lag] for lag, change in self.dependencies)
        return math.fsum((self.base_rate, *changes))

    @property
    def _lags(self) -> list[int]:
        return [lag for lag, _ in self.dependencies]


def _entropy(p: float) -> float:
    """The entropy in nats of a coin that shows 1 with probability ``p``."""
    p = min(max(p, 0.0), 1.0)  # rounding may put it outside of [0, 1]
    return -math.fsum(q * math.log(q) for q in (p, 1 - p) if q > 0)


def _at(lag: int) -> str:
    return f"t{-lag:+d}" if lag else "t"
