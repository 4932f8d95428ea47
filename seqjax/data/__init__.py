"""Batches of variable-length sequences, read by a loader that can resume at any batch."""

from seqjax.data.batching import Example, ListSource, Report, Source, plan
from seqjax.data.loader import Batch, Loader, Position
from seqjax.data.policies import Bucketed, Packed, Padded, Placement, Policy

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
