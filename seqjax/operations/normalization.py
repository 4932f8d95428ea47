"""Layer normalisation, for the cells that do it inside of their equations."""

import dataclasses

import jax

from seqjax.checks import check_number
from seqjax.operations.affine import broadcast_like
from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class LayerNorm:
    """How the layer normalisations of a cell start out; what they compute says `layer_norm`.

    Args:
      gain: the initial gain of every unit.
      shift: the initial shift of every unit.

    Raises:
      ValueError: one of them is not a finite number.

    >>> from seqjax import LSTM, LayerNorm
    >>> params = LSTM(4, layer_norm=LayerNorm(gain=0.1)).init(jax.random.key(0), input_size=3)
    >>> print(params.norm.memory_gain)
    [0.1 0.1 0.1 0.1]
    """

    gain: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_number("LayerNorm", "gain", self.gain)
        check_number("LayerNorm", "shift", self.shift)


def layer_norm(xs: Array, gain: Array, shift: Array, epsilon: float = 1e-12) -> Array:
    """``gain * (x - mean(x)) / sqrt(variance(x) + epsilon) + shift``, over the features of ``x``.

    The variance is the population's, which divides by N.

    Args:
      xs: ``[..., N]``.
      gain: ``[N]``.
      shift: ``[N]``.
      epsilon: keeps features that are all alike from a division by 0.

    Returns:
      ``[..., N]`` in the dtype of ``xs``.

    Reference: Ba, Kiros and Hinton, "Layer normalization", 2016.

    >>> xs = jax.numpy.array([[1.0, 3.0], [5.0, 5.0]])
    >>> print(layer_norm(xs, gain=jax.numpy.ones(2), shift=jax.numpy.zeros(2)))
    [[-1.  1.]
     [ 0.  0.]]
    """
    centred = xs - xs.mean(-1, keepdims=True)
    scale = jax.lax.rsqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return centred * scale * broadcast_like(gain, xs) + broadcast_like(shift, xs)
