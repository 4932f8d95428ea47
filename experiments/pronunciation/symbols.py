"""The tokens of letters and of phonemes."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

END = 0
"""The token that ends every sequence, and that the decoder reads before its first phoneme."""


@dataclasses.dataclass(frozen=True)
class Symbols:
    """The tokens of symbols: token 0 ends a sequence, and token n is ``names[n - 1]``.

    Args:
      names: the symbols, such as the letters or the phonemes of the training words.

    >>> letters = Symbols(("a", "b"))
    >>> letters.encode("ba"), letters.decode([2, 1, 0, 1])
    (array([2, 1, 0], dtype=int32), ('b', 'a'))
    """

    names: tuple[str, ...]

    @classmethod
    def of(cls, sequences: Iterable[Sequence[str]]) -> "Symbols":
        """Collect the symbols of all sequences, in sorted order."""
        return cls(tuple(sorted({name for sequence in sequences for name in sequence})))

    @property
    def size(self) -> int:
        """The number of tokens, with the end."""
        return len(self.names) + 1

    def encode(self, sequence: Sequence[str]) -> np.ndarray:
        """Return the tokens ``int32[T + 1]`` of T symbols and the end.

        Raises:
          ValueError: a symbol has no token.
        """
        tokens = {name: token for token, name in enumerate(self.names, start=1)}
        unknown = sorted({name for name in sequence if name not in tokens})
        if unknown:
            raise ValueError(
                f"{_shown(sequence)!r} has symbols that no training word has: "
                f"{', '.join(map(repr, unknown))}; the known ones are {' '.join(self.names)}"
            )
        return np.array([*(tokens[name] for name in sequence), END], np.int32)

    def decode(self, tokens: Iterable[int]) -> tuple[str, ...]:
        """Return the symbols before the first end."""
        names: list[str] = []
        for token in tokens:
            if token == END:
                break
            names.append(self.names[token - 1])
        return tuple(names)


def _shown(sequence: Sequence[str]) -> str:
    return sequence if isinstance(sequence, str) else " ".join(sequence)
