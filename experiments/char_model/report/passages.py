"""Passages of a text that occur word for word in another text."""

from typing import NamedTuple


class Passage(NamedTuple):
    """A passage of a text, and where it occurs in the training text.

    Attributes:
      start: its first character.
      length: its number of characters.
      before: the training text before its first occurrence.
      passage: the passage.
      after: the training text after its first occurrence.
    """

    start: int
    length: int
    before: str
    passage: str
    after: str


def match_lengths(text: str, training: str) -> list[int]:
    """The length of the longest passage from each character of ``text`` on that is in ``training``.

    >>> match_lengths("the cats", "at the court, a cat")
    [5, 4, 3, 4, 3, 2, 1, 0]
    """
    lengths, end = [], 0
    for start in range(len(text)):
        # a passage without its first character occurs too, so the end never moves back
        end = max(end, start)
        while end < len(text) and text[start : end + 1] in training:
            end += 1
        lengths.append(end - start)
    return lengths


def longest_passage(text: str, lengths: list[int], training: str, around: int = 60) -> Passage:
    """The longest passage of ``text`` that occurs in ``training``, with the text around it there.

    Args:
      text: the text.
      lengths: its `match_lengths`.
      training: the text in which they were found.
      around: the number of characters of ``training`` on each side.

    >>> text, training = "a cat sat", "the cat sits"
    >>> longest_passage(text, match_lengths(text, training), training, around=4)
    Passage(start=1, length=6, before='the', passage=' cat s', after='its')
    """
    length = max(lengths, default=0)
    start = lengths.index(length) if lengths else 0
    passage = text[start : start + length]
    found = training.index(passage)
    end = found + length
    before = training[max(0, found - around) : found]
    return Passage(start, length, before, passage, training[end : end + around])


def copied(lengths: list[int], least: int) -> list[bool]:
    """Whether each character lies in a passage of at least ``least`` characters.

    >>> copied([2, 1, 0, 1], least=2)
    [True, True, False, False]
    """
    result, end = [], 0
    for start, length in enumerate(lengths):
        if length >= least:
            end = max(end, start + length)
        result.append(start < end)
    return result
