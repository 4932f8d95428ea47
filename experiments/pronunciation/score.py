"""Phoneme error rate and word error rate."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.pronunciation.dictionary import Pronunciation


class Score(NamedTuple):
    """The errors of the pronunciations of many words.

    A word is compared with the nearest of its pronunciations in the dictionary, as in the
    literature.

    Attributes:
      edits: the number of phonemes to insert, delete or substitute.
      phonemes: the number of phonemes of the nearest pronunciations.
      wrong: the number of words that have no such pronunciation.
      words: the number of words.
    """

    edits: int
    phonemes: int
    wrong: int
    words: int

    @property
    def phoneme_error(self) -> float:
        """The phoneme error rate: edits for each phoneme of the nearest pronunciations."""
        return self.edits / max(self.phonemes, 1)

    @property
    def word_error(self) -> float:
        """The word error rate: the part of the words that are wrong."""
        return self.wrong / max(self.words, 1)

    def as_json(self) -> dict[str, float]:
        """The numbers and both rates."""
        rates = {"phoneme_error": self.phoneme_error, "word_error": self.word_error}
        return {**self._asdict(), **rates}


def score(
    predicted: Mapping[str, Pronunciation], references: Mapping[str, Sequence[Pronunciation]]
) -> Score:
    """Score one pronunciation for each word of ``references``.

    Raises:
      ValueError: a word has no reference, or none was predicted for it.

    >>> references = {"read": [("R", "EH", "D"), ("R", "IY", "D")], "cat": [("K", "AE", "T")]}
    >>> scored = score({"read": ("R", "IY", "D"), "cat": ("S", "AE", "T", "S")}, references)
    >>> scored
    Score(edits=2, phonemes=6, wrong=1, words=2)
    >>> print(f"{scored.phoneme_error:.3f} {scored.word_error:.3f}")
    0.333 0.500
    """
    edits = phonemes = wrong = 0
    for word, found in references.items():
        if not found:
            raise ValueError(f"{word!r} has no pronunciation to compare with; give at least one")
        if word not in predicted:
            raise ValueError(f"no pronunciation was predicted for {word!r}; give one for each word")
        distance, length = nearest(predicted[word], found)
        edits, phonemes, wrong = edits + distance, phonemes + length, wrong + (distance > 0)
    return Score(edits, phonemes, wrong, len(references))


def nearest(predicted: Pronunciation, references: Sequence[Pronunciation]) -> tuple[int, int]:
    """The edit distance to the nearest reference, and the length of that reference.

    Of several nearest references, the longest one counts.

    >>> nearest(("A", "B"), [("A", "B", "C", "D"), ("A", "B", "C")])
    (1, 3)
    """
    found = [(edit_distance(predicted, reference), -len(reference)) for reference in references]
    distance, length = min(found)
    return distance, -length


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """The number of symbols to insert, delete or substitute to turn ``a`` into ``b``.

    >>> edit_distance("kitten", "sitting")
    3
    """
    if tuple(a) == tuple(b):
        return 0
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            diagonal, row[j] = row[j], min(diagonal + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def edit_pairs(a: Sequence[str], b: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """The pairs of a shortest edit from ``a`` to ``b``; None for a symbol that is missing.

    >>> edit_pairs("AB", "CAB")
    [(None, 'C'), ('A', 'A'), ('B', 'B')]
    """
    cost = np.zeros((len(a) + 1, len(b) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, x in enumerate(a, start=1):
        for j, y in enumerate(b, start=1):
            ways = cost[i - 1, j - 1] + (x != y), cost[i - 1, j] + 1, cost[i, j - 1] + 1
            cost[i, j] = min(ways)
    pairs: list[tuple[str | None, str | None]] = []
    i, j = len(a), len(b)
    while i or j:
        if i and j and cost[i, j] == cost[i - 1, j - 1] + (a[i - 1] != b[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((a[i], b[j]))
        elif i and cost[i, j] == cost[i - 1, j] + 1:
            i -= 1
            pairs.append((a[i], None))
        else:
            j -= 1
            pairs.append((None, b[j]))
    return pairs[::-1]
