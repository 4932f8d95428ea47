"""Baselines of truecasing, which are rules and counts, and the score of predictions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from seqjax.data import Source

CONTEXT = 5  # characters on each side; more are no better on tiny_shakespeare
BEFORE, AROUND = f"counts, {2 * CONTEXT} before", f"counts, {CONTEXT} each side"


class Characters(NamedTuple):
    """The characters of all lines, one line after the other.

    Attributes:
      token: the character in lower case, ``int32[N]``.
      upper: whether it was upper case, ``bool[N]``.
      letter: whether it is a letter, and is scored, ``bool[N]``.
      column: its position in the line, ``int64[N]``.
    """

    token: np.ndarray
    upper: np.ndarray
    letter: np.ndarray
    column: np.ndarray

    @classmethod
    def of(cls, source: Source) -> "Characters":
        """Read all lines of a source of `lines.SCHEMA`."""
        examples = source.read(np.arange(len(source.lengths)))
        token, upper, letter = (
            np.concatenate([line[name] for line in examples])
            for name in ("token", "upper", "letter")
        )
        column = np.concatenate([np.arange(n) for n in source.lengths])
        return cls(token, upper, letter, column)

    @property
    def after_first(self) -> np.ndarray:
        """Whether it is a letter after the first character of its line, ``bool[N]``."""
        return self.letter & (self.column > 0)


class Score(NamedTuple):
    """Scores of predictions over all letters, a scalar or ``[seeds]`` each.

    Attributes:
      accuracy: the fraction of letters with the right case.
      f1: the F1 score of the upper case letters.
      f1_after_first: the F1 score that ignores the first character of each line.
    """

    accuracy: np.ndarray
    f1: np.ndarray
    f1_after_first: np.ndarray


def score(characters: Characters, predicted: np.ndarray) -> Score:
    """Score predictions of upper case, ``bool[..., N]``.

    F1 is ``2 tp / (2 tp + fp + fn)``. It is 0 if no upper case letter is found.

    >>> characters = Characters(np.arange(4), *np.array([[1, 1, 0, 0], [1, 1, 1, 0]], bool),
    ...     column=np.arange(4))
    >>> accuracy, f1, _ = score(characters, np.array([True, False, False, True]))
    >>> print(f"{accuracy:.2f} {f1:.2f}")
    0.67 0.67
    """
    letter, upper = characters.letter, characters.upper

    def f1(counts: np.ndarray) -> np.ndarray:
        found = (predicted & upper & counts).sum(-1)
        wrong = ((predicted != upper) & counts).sum(-1)
        return 2 * found / np.maximum(2 * found + wrong, 1)

    accuracy = ((predicted == upper) & letter).sum(-1) / np.maximum(letter.sum(), 1)
    return Score(accuracy, f1(letter), f1(characters.after_first))


def majority(train: Characters, held_out: Characters, offsets: Sequence[int]) -> np.ndarray:
    """Predict upper case where most training letters in the same context are upper case.

    The context is the character itself and the characters at ``offsets`` from it. It uses the
    longest prefix of ``offsets`` for which the context occurs in training.

    Returns:
      ``bool[N]`` for the held-out characters.

    >>> def characters(token, upper):
    ...     ones = np.ones(len(token), bool)
    ...     return Characters(np.array(token), np.array(upper, bool), ones, np.arange(len(token)))
    >>> train = characters([7, 5, 7, 5, 5], [0, 1, 0, 1, 0])
    >>> majority(train, characters([7, 5, 5, 5], [0] * 4), [-1])
    array([False,  True, False, False])
    """
    token, upper, letter, column = map(np.concatenate, zip(train, held_out, strict=True))
    line = np.cumsum(column == 0)
    is_train = np.arange(len(token)) < len(train.token)
    learned = is_train & letter
    votes = np.where(upper[learned], 1, -1)
    context = np.zeros(len(token), np.int64)
    predicted = np.zeros(len(token), bool)
    for offset in (0, *offsets):
        within = np.roll(line, -offset) == line
        neighbour = np.where(within, np.roll(token, -offset) + 1, 0)
        # renumbering the contexts after each character keeps the numbers small
        wider = context * (token.max() + 2) + neighbour
        context = np.unique(wider, return_inverse=True)[1]
        balance = np.bincount(context[learned], votes, minlength=len(token))
        seen = np.bincount(context[learned], minlength=len(token)) > 0
        predicted = np.where(seen[context], balance[context] > 0, predicted)
    return predicted[~is_train]


def baselines(train: Characters, held_out: Characters) -> dict[str, np.ndarray]:
    """The predictions ``bool[N]`` of each baseline for the held-out characters."""
    before = [-n for n in range(1, 2 * CONTEXT + 1)]
    around = [side * n for n in range(1, CONTEXT + 1) for side in (-1, 1)]
    return {
        "always lower": np.zeros(len(held_out.token), bool),
        "upper at line start": held_out.column == 0,
        BEFORE: majority(train, held_out, before),
        AROUND: majority(train, held_out, around),
    }
