"""Sequences of any length: which batch they come in, how it is padded, and where a run goes on."""

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
