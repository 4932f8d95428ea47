"""Sequences of any length: which batch they come in, how it is padded, and where a run goes on."""

from seqjax.data.batching import (
    Bucketed,
    Example,
    ListSource,
    Packed,
    Padded,
    Placement,
    Policy,
    Report,
    Source,
    plan,
)
from seqjax.data.loader import Batch, Loader, Position

__all__ = [
    "Batch",
    "Bucketed",
    "Example",
    "ListSource",
    "Loader",
    "Packed",
    "Padded",
    "Placement",
    "Policy",
    "Position",
    "Report",
    "Source",
    "plan",
]
