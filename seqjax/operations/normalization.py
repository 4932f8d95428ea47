"""Layer normalisation, for cells with normalised gates."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_number
from seqjax.operations.affine import broadcast_like
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class LayerNorm:
    """The initial parameters of layer normalisation in a cell, such as `LSTM`.

    The gains scale normalised values and the shifts are added to them.

    Args:
      gain: the initial gain of every unit.
      shift: the initial shift of every unit.

    Raises:
      ValueError: ``gain`` or ``shift`` is not a finite number.

    >>> from seqjax import LSTM
    >>> from seqjax.cells import LayerNorm
    >>> params = LSTM(4, layer_norm=LayerNorm(gain=0.1)).init(jax.random.key(0), input_size=3)
    >>> print(params.norm.memory_gain)
    [0.1 0.1 0.1 0.1]
    """

    gain: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_number("LayerNorm", "gain", self.gain)
        check_number("LayerNorm", "shift", self.shift)


class NormParams(NamedTuple):
    """Parameters of layer normalisation.

    Attributes:
      gain: ``[H]``.
      shift: ``[H]``.
    """

    gain: Array
    shift: Array

    @classmethod
    def initial(cls, size: int, dtype: Any = jnp.float32) -> "NormParams":
        """Return gains of 1 and shifts of 0.

        >>> NormParams.initial(2).gain.shape
        (2,)
        """
        return cls(jnp.ones(size, dtype), jnp.zeros(size, dtype))


def layer_norm(xs: Array, gain: Array, shift: Array, epsilon: float = 1e-12) -> Array:
    """Normalise the features of ``x`` to mean 0 and variance 1, then scale and shift them.

    Computes ``gain * (x - mean(x)) / sqrt(variance(x) + epsilon) + shift``, with the population
    variance, which divides by N.

    Args:
      xs: ``[..., N]``.
      gain: ``[N]``.
      shift: ``[N]``.
      epsilon: avoids a division by 0 if all features are equal.

    Returns:
      ``[..., N]`` in the dtype of ``xs``.

    Reference: Ba, Kiros and Hinton, "Layer normalization", 2016.

    >>> xs = jax.numpy.array([[1.0, 3.0], [5.0, 5.0]])
    >>> print(layer_norm(xs, gain=jax.numpy.ones(2), shift=jax.numpy.zeros(2)))
    [[-1.  1.]
     [ 0.  0.]]
    """
    normal = _normalise(xs, epsilon)
    return normal * broadcast_like(gain, xs) + broadcast_like(shift, xs)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _normalise(xs: Array, epsilon: float) -> Array:
    return _normal_and_scale(xs, epsilon)[0]


@_normalise.defjvp
def _normalise_tangent(
    epsilon: float, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    # needs the result and the scale alone, where JAX's own derivative also saves what is between
    (xs,), (d,) = primals, tangents
    normal, scale = _normal_and_scale(xs, epsilon)
    along = -scale * (normal * d).mean(-1, keepdims=True)
    return normal, scale * (d - d.mean(-1, keepdims=True)) + normal * along


def _normal_and_scale(xs: Array, epsilon: float) -> tuple[Array, Array]:
    centred = xs - xs.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return centred * scale, scale
