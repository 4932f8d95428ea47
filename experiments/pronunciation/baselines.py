"""Baselines: a joint n-gram model, and tables of letters in their context."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from experiments.pronunciation.alignment import Alignment, Chunk
from experiments.pronunciation.dictionary import Dictionary, Pronunciation, Words
from experiments.pronunciation.examples import pairs_of
from experiments.pronunciation.graphone import Graphones
from experiments.pronunciation.score import Score, score

WIDTH = 3  # letters on each side; more are no better


class Baseline(NamedTuple):
    """The score of a baseline.

    Attributes:
      name: its name in results.
      score: its score.
    """

    name: str
    score: Score


class LetterTable:
    """The most frequent phonemes of each letter, between the letters on both sides of it.

    Backs off to fewer letters until the context occurs in training.

    Args:
      words: the chunks of each word.
      width: the number of letters on each side.

    >>> table = LetterTable([[("c", ("K",)), ("a", ("AE",)), ("t", ("T",))]], width=1)
    >>> table.pronounce("tac")
    ('T', 'AE', 'K')
    """

    def __init__(self, words: Sequence[Sequence[Chunk]], width: int) -> None:
        self._width = width
        counts: dict[str, Counter[Pronunciation]] = {}
        for chunks in words:
            word = "".join(letters for letters, _ in chunks)
            at = 0
            for letters, phonemes in chunks:
                for n in range(len(letters)):  # the first letter of two stands for the phoneme
                    for context in self._contexts(word, at + n):
                        counts.setdefault(context, Counter())[phonemes if n == 0 else ()] += 1
                at += len(letters)
        self._table = {context: found.most_common(1)[0][0] for context, found in counts.items()}

    def _contexts(self, word: str, at: int) -> Iterator[str]:
        padded = " " * self._width + word + " " * self._width
        centre = at + self._width
        for width in range(self._width, -1, -1):
            yield padded[centre - width : centre + width + 1]

    def pronounce(self, word: str) -> Pronunciation:
        """The phonemes of all letters; letters that no training word has are silent."""
        phonemes: Pronunciation = ()
        for at in range(len(word)):
            known = (c for c in self._contexts(word, at) if c in self._table)
            phonemes += self._table.get(next(known, ""), ())
        return phonemes


def baselines(dictionary: Dictionary, part: str = "test", order: int = 7) -> Iterator[Baseline]:
    """Learn the baselines from the training words and score them on the words of ``part``."""
    aligned = [chunks for chunks in Alignment(pairs_of(dictionary.train)).best() if chunks]
    models: dict[str, LetterTable | Graphones] = {
        "most frequent phonemes of each letter": LetterTable(aligned, 0),
        f"the same, between {WIDTH} letters on each side": LetterTable(aligned, WIDTH),
        f"joint {order}-gram": Graphones(aligned, order),
    }
    for name, model in models.items():
        yield Baseline(name, _score(model, getattr(dictionary, part)))


def _score(model: LetterTable | Graphones, words: Words) -> Score:
    return score({word: model.pronounce(word) for word in words}, words)
