"""Batches of variable-length sequences, read by a loader that can resume at any batch."""

from seqjax.data.batching import Example, Report, Source, plan
from seqjax.data.collation import Batch
from seqjax.data.list_source import ListSource
from seqjax.data.loader import Loader, Position
from seqjax.data.placement import Placement
from seqjax.data.policies import Bucketed, Packed, Padded, Policy
from seqjax.data.ragged import Ragged
from seqjax.data.windows import Windows

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
    "Ragged",
    "Report",
    "Source",
    "Windows",
    "plan",
]
