"""Vocabularies: the tokens of characters or of bytes."""

import codecs
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from seqjax.checks import check_size
from seqjax.data.text.tokens import check_token_row


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    r"""The tokens of characters or of bytes.

    Token n is ``characters[n]``. If ``unknown`` is set, a last token represents all other
    characters. If ``characters`` is None, the tokens are the 256 bytes of UTF-8, which can encode
    every text.

    Args:
      characters: the known characters, or None for bytes.
      unknown: whether there is a token for unknown characters.

    Raises:
      ValueError: a character occurs twice, there is no token, or ``unknown`` is set for bytes.

    >>> vocabulary = Vocabulary.of("to be or not to be")
    >>> vocabulary.characters, vocabulary.size
    (' benort', 7)
    >>> vocabulary.encode("tree")
    array([6, 5, 2, 2], dtype=int32)
    >>> vocabulary.decode([1, 2, 5, 6])
    'bert'
    >>> Vocabulary(None).encode("né")
    array([110, 195, 169], dtype=int32)
    """

    characters: str | None
    unknown: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str | None) or not isinstance(self.unknown, bool):
            raise ValueError(
                f"Vocabulary: characters must be a string or None, and unknown a bool, got {self}"
            )
        if self.characters is None:
            if self.unknown:
                raise ValueError("Vocabulary: bytes have no unknown token; remove unknown=True")
        elif len(set(self.characters)) < len(self.characters):
            raise ValueError(f"Vocabulary: characters must all differ, got {self.characters!r}")
        elif not self.size:
            raise ValueError("Vocabulary: characters must not be empty; use Vocabulary.of(text)")

    @classmethod
    def of(cls, text: str, *, min_count: int = 1) -> "Vocabulary":
        """Make a vocabulary of the characters that occur ``min_count`` times or more in ``text``.

        They are in the order of their code points. With a ``min_count`` of 2 or more there is a
        token for unknown characters, which a model learns from the rare ones.

        >>> Vocabulary.of("to be or not to be!", min_count=2)
        Vocabulary(characters=' beot', unknown=True)
        """
        check_size("Vocabulary.of", "min_count", min_count)
        codes, counts = np.unique(code_points(text), return_counts=True)
        return cls(_characters(codes[counts >= min_count]), unknown=min_count > 1)

    @classmethod
    def of_counts(cls, counts: Mapping[str, int], *, min_count: int = 1) -> "Vocabulary":
        """Make the vocabulary that `of` makes of a text, from the counts of its characters.

        >>> Vocabulary.of_counts({"t": 3, "o": 4, "!": 1}, min_count=2)
        Vocabulary(characters='ot', unknown=True)
        """
        check_size("Vocabulary.of_counts", "min_count", min_count)
        known = sorted(character for character, count in counts.items() if count >= min_count)
        return cls("".join(known), unknown=min_count > 1)

    @property
    def size(self) -> int:
        """The number of tokens, V."""
        return 256 if self.characters is None else len(self.characters) + self.unknown

    def encode(self, text: str, *, offset: int = 0) -> np.ndarray:
        """Return the tokens of ``text``, ``int32[N]``; N is its number of characters or of bytes.

        Args:
          text: the text.
          offset: the position of the text in a longer one, for error messages.

        Raises:
          ValueError: the vocabulary lacks a character and has no token for unknown ones.

        >>> Vocabulary("abc").encode("bad")
        Traceback (most recent call last):
        ...
        ValueError: the vocabulary lacks these characters: 'd' at 2; remove them from the text, or \
build the vocabulary with min_count=2 or more, which has a token for unknown ones
        """
        if self.characters is None:
            return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        codes, known = code_points(text), code_points(self.characters)
        table = np.full(known.max(initial=0) + 2, len(known) if self.unknown else -1, np.int32)
        table[known] = np.arange(len(known))
        tokens: np.ndarray = table[np.minimum(codes, len(table) - 1)]
        lacking = np.flatnonzero(tokens < 0)
        if lacking.size:
            _, first = np.unique(codes[lacking], return_index=True)
            first = lacking[np.sort(first)]
            named = ", ".join(f"{text[k]!r} at {offset + k}" for k in first[:8])
            more = f" and {len(first) - 8} more" if len(first) > 8 else ""
            raise ValueError(
                f"the vocabulary lacks these characters: {named}{more}; remove them from the text, "
                "or build the vocabulary with min_count=2 or more, which has a token for unknown "
                "ones"
            )
        return tokens

    def decode(self, tokens: Any) -> str:
        """Return the text of integers ``[N]``; unknown characters and invalid UTF-8 become U+FFFD.

        Raises:
          ValueError: the tokens are not integers ``[N]`` in ``[0, size)``.

        >>> Vocabulary("abc", unknown=True).decode([0, 3, 2])
        'a�c'
        """
        tokens = check_token_row(tokens, self.size)
        if self.characters is None:
            return tokens.astype(np.uint8).tobytes().decode(errors="replace")
        return _characters(code_points(self.characters + "\ufffd")[tokens])

    def decode_stream(self, pieces: Iterable[Any]) -> Iterator[str]:
        """Decode tokens as they arrive, in ``pieces`` of integers ``[n]``.

        Incomplete bytes of a character are held back until the piece that completes it.

        >>> [*Vocabulary(None).decode_stream([[110, 195], [169], [101]])]
        ['n', 'é', 'e']
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for tokens in pieces:
            if self.characters is None:
                yield decoder.decode(check_token_row(tokens, self.size).astype(np.uint8).tobytes())
            else:
                yield self.decode(tokens)
        if rest := decoder.decode(b"", final=True):
            yield rest

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as JSON data for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> "Vocabulary":
        """Return the vocabulary that `to_json` described, or raise ``ValueError``.

        >>> vocabulary = Vocabulary.of("abc")
        >>> Vocabulary.from_json(vocabulary.to_json()) == vocabulary
        True
        """
        if not isinstance(content, dict) or content.keys() != {"characters", "unknown"}:
            raise ValueError(
                f"a vocabulary is an object of 'characters' and 'unknown', got {content!r:.80}"
            )
        return cls(**content)


def code_points(text: str) -> np.ndarray:
    """The code points of a text, ``uint32[N]``.

    >>> code_points("né")
    array([110, 233], dtype=uint32)
    """
    # lone surrogates, which a command line may contain, are unknown characters
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _characters(codes: np.ndarray) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
