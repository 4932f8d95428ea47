"""Alignment of letters with phonemes, learned by expectation maximisation."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.pronunciation.dictionary import Pronunciation

Chunk = tuple[str, Pronunciation]
"""One or two letters and the phonemes that they stand for, a joint unit or graphone."""

SIZES = ((1, 1), (1, 0), (1, 2), (2, 1))  # letters and phonemes of a chunk

START = 0.01  # the weight at which chunks start that are not of one letter and one phoneme


class _Group(NamedTuple):
    """Pairs with the same numbers of letters and of phonemes, which are aligned as one array.

    Attributes:
      rows: the place of each pair, ``int64[N]``.
      chunks: the number of the chunk that starts at each letter and phoneme, ``int64[N, L, P + 1]``
        for each of `SIZES`, or fewer where a chunk is larger.
    """

    rows: np.ndarray
    chunks: list[np.ndarray]


class Alignment:
    """An alignment model: the probability of each chunk.

    The probability of a pair is the sum over all ways to cut it into chunks of the product of the
    probabilities of the chunks. Expectation maximisation raises the probability of all pairs. It
    starts from a preference for chunks of one letter and one phoneme.

    Reference: Jiampojamarn, Kondrak and Sherif, "Applying many-to-many alignments and hidden Markov
    models to letter-to-phoneme conversion", 2007.

    Args:
      pairs: words and pronunciations.
      iterations: the number of iterations of expectation maximisation.

    >>> pairs = [("box", ("B", "AA", "K", "S")), ("ox", ("AA", "K", "S")), ("bob", tuple("BAB"))]
    >>> Alignment([*pairs, ("xx", ("K", "S", "K", "S"))]).best()[1]
    [('o', ('AA',)), ('x', ('K', 'S'))]
    """

    def __init__(self, pairs: Iterable[tuple[str, Pronunciation]], iterations: int = 8) -> None:
        self.pairs = list(pairs)
        numbers: dict[Chunk, int] = {}
        self._groups = [self._group(rows, numbers) for rows in _by_size(self.pairs).values()]
        self._chunks = list(numbers)
        weights = np.array([1 if len(a) == len(b) else START for a, b in numbers], float)
        for _ in range(iterations):
            counts = np.zeros(len(numbers))
            for group in self._groups:
                _count(group, weights, counts)
            weights = counts / max(counts.sum(), 1e-300)
        self._weights = weights

    def best(self) -> list[list[Chunk] | None]:
        """The most probable chunks of each pair; None if it has too many phonemes."""
        found: list[list[Chunk] | None] = [None] * len(self.pairs)
        for group in self._groups:
            for row, numbers in zip(group.rows, _best(group, self._weights), strict=True):
                if numbers:
                    found[row] = [self._chunks[n] for n in numbers]
        return found

    def _group(self, rows: Sequence[int], numbers: dict[Chunk, int]) -> _Group:
        letters, phonemes = map(len, self.pairs[rows[0]])
        chunks = []
        for a, b in SIZES:
            table = np.zeros((len(rows), max(letters - a + 1, 0), max(phonemes - b + 1, 0)), int)
            for n, row in enumerate(rows):
                word, pronunciation = self.pairs[row]
                for i in range(table.shape[1]):
                    for j in range(table.shape[2]):
                        chunk = word[i : i + a], pronunciation[j : j + b]
                        table[n, i, j] = numbers.setdefault(chunk, len(numbers))
            chunks.append(table)
        return _Group(np.array(rows), chunks)


def _by_size(pairs: Sequence[tuple[str, Pronunciation]]) -> dict[tuple[int, int], list[int]]:
    groups = defaultdict(list)
    for row, (word, pronunciation) in enumerate(pairs):
        if word and len(pronunciation) <= 2 * len(word):
            groups[len(word), len(pronunciation)].append(row)
    return groups


def _forward(group: _Group, weights: np.ndarray, best: bool = False) -> np.ndarray:
    """The probability of the first i letters and j phonemes, ``[L + 1, P + 1, N]``."""
    letters, phonemes = group.chunks[0].shape[1], group.chunks[1].shape[2] - 1
    total = np.zeros((letters + 1, phonemes + 1, len(group.rows)))
    total[0, 0] = 1
    for i in range(1, letters + 1):
        for j in range(phonemes + 1):
            for (a, b), chunks in zip(SIZES, group.chunks, strict=True):
                if i >= a and j >= b:
                    way = total[i - a, j - b] * weights[chunks[:, i - a, j - b]]
                    total[i, j] = np.maximum(total[i, j], way) if best else total[i, j] + way
    return total


def _count(group: _Group, weights: np.ndarray, counts: np.ndarray) -> None:
    """Add the expected number of each chunk to ``counts``."""
    forward = _forward(group, weights)
    letters, phonemes = forward.shape[0] - 1, forward.shape[1] - 1
    backward = np.zeros_like(forward)
    backward[letters, phonemes] = 1
    total = np.maximum(forward[letters, phonemes], 1e-300)
    for i in range(letters - 1, -1, -1):
        for j in range(phonemes, -1, -1):
            for (a, b), chunks in zip(SIZES, group.chunks, strict=True):
                if i + a <= letters and j + b <= phonemes:
                    numbers = chunks[:, i, j]
                    way = weights[numbers] * backward[i + a, j + b]
                    backward[i, j] += way
                    counts += np.bincount(
                        numbers, forward[i, j] * way / total, minlength=len(counts)
                    )


def _best(group: _Group, weights: np.ndarray) -> list[list[int]]:
    """The numbers of the most probable chunks of each pair."""
    forward = _forward(group, weights, best=True)
    paths = []
    for n in range(len(group.rows)):
        i, j = forward.shape[0] - 1, forward.shape[1] - 1
        numbers: list[int] = []
        while (i or j) and forward[i, j, n] > 0:
            ways = [
                (forward[i - a, j - b, n] * weights[number], a, b, number)
                for (a, b), chunks in zip(SIZES, group.chunks, strict=True)
                if i >= a and j >= b
                for number in [int(chunks[n, i - a, j - b])]
            ]
            _, a, b, number = max(ways)
            numbers.append(number)
            i, j = i - a, j - b
        paths.append([] if i or j else numbers[::-1])
    return paths
