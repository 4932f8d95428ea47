"""A joint n-gram model of letters and phonemes, with interpolated Kneser-Ney smoothing."""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from experiments.pronunciation.alignment import Chunk
from experiments.pronunciation.dictionary import Pronunciation

BEAM = 12  # hypotheses for each number of letters


class Graphones:
    """An n-gram model of chunks of letters and phonemes.

    With a context ``h``, which is ``h'`` without its first chunk, and with c(h, g) occurrences of
    chunk g after h, of which N(h) chunks are different::

        p(g | h) = (c(h, g) - D) / c(h) + D * N(h) / c(h) * p(g | h')

    Contexts of fewer than ``order - 1`` chunks count the different chunks before them instead of
    occurrences. D depends on the length of the context.

    Reference: Bisani and Ney, "Joint-sequence models for grapheme-to-phoneme conversion", 2008;
    Kneser and Ney, "Improved backing-off for m-gram language modeling", 1995.

    Args:
      sequences: the chunks of each word.
      order: the number of chunks of the longest n-gram.

    >>> model = Graphones([[("c", ("K",)), ("a", ("AE",)), ("t", ("T",))]] * 3, order=3)
    >>> model.pronounce("tact")
    ('T', 'AE', 'K', 'T')
    """

    def __init__(self, sequences: Iterable[Sequence[Chunk]], order: int = 7) -> None:
        numbers: dict[Chunk | None, int] = {None: 0}  # None stands before and after each word
        words = [
            [0, *(numbers.setdefault(chunk, len(numbers)) for chunk in chunks), 0]
            for chunks in sequences
        ]
        self._order, self._size = order, len(numbers)
        self._by_letters: dict[str, list[tuple[int, Pronunciation]]] = defaultdict(list)
        for chunk, number in numbers.items():
            if chunk is not None:
                self._by_letters[chunk[0]].append((number, chunk[1]))
        self._learn(words)

    def _learn(self, words: Sequence[Sequence[int]]) -> None:
        tokens = np.array([*itertools.chain(*words)])
        place = np.concatenate([np.arange(len(word)) for word in words])
        prefix = np.zeros(len(tokens), int)  # the node of the n-gram that ends before each token
        suffix_of_all = [0]  # the node without the first chunk; node 0 is empty
        chances = np.array([1 / self._size])
        kept = [np.ones(1)]  # the part of the probability that a context leaves to shorter ones
        keys: list[np.ndarray] = []
        levels: list[tuple[np.ndarray, ...]] = []
        first = 1
        before = np.zeros(len(tokens), int)
        for length in range(1, self._order + 1):
            has = np.flatnonzero(place >= length - 1)
            key, index, inverse, count = np.unique(
                prefix[has] * self._size + tokens[has],
                return_index=True, return_inverse=True, return_counts=True,
            )  # fmt: skip
            node = np.full(len(tokens), -1)
            node[has] = first + inverse
            suffix = before[has][index] if length > 1 else np.zeros(len(key), int)
            levels.append((key // self._size, suffix, count, place[has][index] == length - 1))
            keys.append(key)
            suffix_of_all.extend(suffix.tolist())
            before = node
            prefix = np.concatenate([[0], node[:-1]])
            first += len(key)
        starts = np.cumsum([1, *map(len, keys)])
        for level, (parent, suffix, count, is_start) in enumerate(levels):
            if level + 1 < len(levels):  # how many different chunks come before
                longer = levels[level + 1][1] - starts[level]
                different = np.bincount(longer, minlength=len(count))
                count = np.where(is_start, count, different)
            above = parent - (starts[level - 1] if level else 0)
            size = len(kept[-1])
            if level == 0:
                count[0] = np.maximum(count[0], 1)
            once, twice = (count == 1).sum(), (count == 2).sum()
            discount = once / max(once + 2 * twice, 1) if once else 0.5
            total = np.bincount(above, count, size)
            different = np.bincount(above, minlength=size)
            left = np.where(total > 0, discount * different / np.maximum(total, 1), 1.0)
            chance = np.maximum(count - discount, 0) / total[above] + left[above] * chances[suffix]
            kept[-1] = left
            kept.append(np.ones(len(count)))
            chances = np.concatenate([chances, chance])
        nodes = np.concatenate(keys).tolist()
        self._children = dict(zip(nodes, range(1, first), strict=True))
        self._suffix = suffix_of_all
        self._log_chance = np.log(chances).tolist()
        self._log_kept = np.log(np.concatenate(kept)).tolist()
        self._start = self._children[0]
        self._longest = int(starts[-2])  # nodes from here on are no contexts

    def _step(self, state: int, number: int) -> tuple[float, int]:
        """The log-probability of a chunk after a context, and the next context."""
        total = 0.0
        while (child := self._children.get(state * self._size + number)) is None:
            if state == 0:
                return total + self._log_chance[0], 0
            total += self._log_kept[state]
            state = self._suffix[state]
        total += self._log_chance[child]
        return total, self._suffix[child] if child >= self._longest else child

    def pronounce(self, word: str) -> Pronunciation:
        """The phonemes of the most probable chunks of a word; letters without a chunk are silent.

        The search keeps the `BEAM` best hypotheses for each number of letters.
        """
        # the best hypothesis for each context, by the number of letters
        live: list[dict[int, tuple[float, Pronunciation]]] = [{} for _ in range(len(word) + 1)]
        live[0][self._start] = 0.0, ()
        for at in range(len(word)):
            if not live[at]:
                continue
            best = sorted(live[at].items(), key=lambda item: -item[1][0])[:BEAM]
            for size in (1, 2):
                chunks = self._by_letters.get(word[at : at + size], [])
                if at + size > len(word):
                    continue
                reached = live[at + size]
                if not chunks and size == 1:
                    chunks = [(0, ())]
                for (state, (score, phonemes)), (number, more) in itertools.product(best, chunks):
                    gained, after = self._step(state, number)
                    found = reached.get(after)
                    if found is None or score + gained > found[0]:
                        reached[after] = score + gained, phonemes + more
        ends = (
            (score + self._step(state, 0)[0], phonemes)
            for state, (score, phonemes) in live[-1].items()
        )
        return max(ends, default=(-math.inf, ()))[1]
