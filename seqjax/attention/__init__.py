"""Attention mechanisms: how a query weighs the positions of a context.

>>> import seqjax
>>> cell = seqjax.ContextAttention(seqjax.LSTM(8), Additive(16), memory_size=6)
"""

from seqjax.attention.additive import Additive, AdditiveParams
from seqjax.attention.location import LocationSensitive, LocationSensitiveParams
from seqjax.attention.mechanism import Alignment, ContentMechanism, Mechanism
from seqjax.attention.monotonic import Monotonic, MonotonicParams
from seqjax.attention.multiplicative import Dot, General, GeneralParams

__all__ = [
    "Additive",
    "AdditiveParams",
    "Alignment",
    "ContentMechanism",
    "Dot",
    "General",
    "GeneralParams",
    "LocationSensitive",
    "LocationSensitiveParams",
    "Mechanism",
    "Monotonic",
    "MonotonicParams",
]
