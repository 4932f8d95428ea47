"""The seeds of each network, which several processes share."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.sequence_labelling.networks import Network
from experiments.shares import own_share
from seqjax.types import Array


class Training(NamedTuple):
    """A network that is trained with one seed.

    Attributes:
      network: the network.
      seed: the number of the seed, from 0.
    """

    network: Network
    seed: int


def list_trainings(networks: Sequence[Network], seeds: int) -> list[Training]:
    """All seeds of the first network, then all of the next one."""
    return [Training(network, seed) for network in networks for seed in range(seeds)]


def own_seeds(trainings: Sequence[Training]) -> dict[Network, list[int]]:
    """The seeds of each network that this process trains, in one batch for each network.

    >>> own_seeds(list_trainings([Network(4, bidirectional=True)], seeds=2))
    {Network(units=4, bidirectional=True, dropout=0.0): [0, 1]}
    """
    seeds: dict[Network, list[int]] = {}
    for network, seed in own_share(trainings):
        seeds.setdefault(network, []).append(seed)
    return seeds


def by_network(
    trainings: Sequence[Training], results: Sequence[Any]
) -> list[tuple[Network, list[Any]]]:
    """Each network with the results of its seeds, from one result of each training."""
    found: dict[Network, list[Any]] = {}
    for training, result in zip(trainings, results, strict=True):
        found.setdefault(training.network, []).append(result)
    return [*found.items()]


def keys_of(seed: int, total: int, seeds: Sequence[int], count: int) -> Array:
    """The keys ``[len(seeds), count]`` of some of ``total`` seeds, all derived from ``seed``."""
    return jax.random.split(jax.random.key(seed), (total, count))[np.array(seeds)]
