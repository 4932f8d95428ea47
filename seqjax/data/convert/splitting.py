"""Splits of a data set into parts such as train, validation and test.

Each example has a hash of the seed and its content, or of its value of ``--split-by``. The sorted
hashes are cut into parts of the wanted sizes. The split depends on the seed and on the examples,
but not on their order, and equal examples are in one part. The parts have the wanted numbers of
examples, up to one, or up to the largest group.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

_PART = re.compile(r"(?P<name>\w[\w.-]*)=(?P<share>[\d.]+)")


def parse_split(text: str) -> dict[str, float]:
    """Return the share of each part.

    >>> parse_split("train=0.75,test=0.25")
    {'train': 0.75, 'test': 0.25}
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        try:
            share = float(match["share"]) if match else 0.0
        except ValueError:
            share = 0.0
        if match is None or not 0 < share <= 1:
            raise ValueError(
                "--split must be names and shares, such as train=0.8,validation=0.1,test=0.1, got "
                f"{text!r}"
            )
        if match["name"] in shares:
            raise ValueError(f"--split names {match['name']!r} more than once, got {text!r}")
        shares[match["name"]] = share
    if not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        raise ValueError(
            f"the shares of --split must sum to 1, got {sum(shares.values()):g} in {text!r}"
        )
    return shares


def hash_of(seed: int, unit: Any) -> int:
    """Return a hash of 64 bits of the seed and of a group or the bytes of an example.

    >>> hash_of(0, "Ann") == hash_of(0, "Ann") != hash_of(1, "Ann")
    True
    """
    content = unit if isinstance(unit, bytes) else json.dumps(unit, sort_keys=True).encode()
    return int.from_bytes(hashlib.sha256(b"%d:" % seed + content).digest()[:8], "big")


def limits(hashes: Iterable[int], shares: dict[str, float]) -> np.ndarray:
    """Return the limits between the hashes of the parts, for `numpy.searchsorted`.

    Args:
      hashes: the hash of each example.
      shares: the share of each part.

    Returns:
      ``uint64[K - 1]``; the hashes of part k are less than limit k, and not less than limit k - 1.

    Raises:
      ValueError: a part has no examples.

    >>> parts = np.searchsorted(limits(range(10), {"a": 0.8, "b": 0.2}), np.arange(10), "right")
    >>> np.bincount(parts)
    array([8, 2])
    """
    units, counts = np.unique(np.fromiter(hashes, np.uint64), return_counts=True)
    ends = np.cumsum(counts)
    middles = (ends - counts / 2) / max(1, ends[-1] if len(ends) else 0)
    bounds = np.cumsum([*shares.values()])
    parts = np.searchsorted(bounds[:-1], middles, "right")
    for k, name in enumerate(shares):
        if not (parts == k).any():
            raise ValueError(
                f"--split: the part {name!r} has no examples: there are {len(units):,} different "
                "examples or groups; increase its share"
            )
    firsts = np.searchsorted(parts, np.arange(1, len(shares)))
    return units[firsts]
