"""Soft targets from an n-gram model: what a text without its own token lets one expect there."""

from typing import Any, NamedTuple

import numpy as np

from seqjax.checks import check_size
from seqjax.data.ngram import discounts, number_longer
from seqjax.data.text import check_token_row

BLOCK = 4_000_000  # numbers of the distributions in memory at once


class SoftTargets(NamedTuple):
    """Distributions of the token at each of N positions.

    Attributes:
      tokens: the K most likely tokens, ``int32[N, K]``, the most likely one first.
      probabilities: their probabilities, which sum to 1, ``float32[N, K]``.
    """

    tokens: np.ndarray
    probabilities: np.ndarray


def ngram_targets(tokens: Any, order: int, vocabulary_size: int, kept: int = 16) -> SoftTargets:
    r"""The distribution of each token under an n-gram model of all other tokens.

    The model is that of `seqjax.data.ngram.ngram_losses`, with interpolated modified Kneser-Ney
    smoothing. For the token at position t, the n-grams that end at t are left out of its counts,
    for each n. So the distribution does not know the token that it is about, also where a context
    occurs only once. With ``c_t`` for these counts and ``p_t`` for the distribution::

        p_t(w | h) = (c_t(hw) - D(c_t(hw)) + sum_v D(c_t(hv)) p_t(w | h')) / sum_v c_t(hv)

    The discounts D follow from the counts of all tokens.

    A network that is trained on a mixture of the tokens and these distributions learns from each
    position about all tokens that could stand there. This is distillation (Hinton, Vinyals and
    Dean, "Distilling the knowledge in a neural network", 2015) from an n-gram model.

    Args:
      tokens: integers ``[N]``.
      order: the order of the model, n.
      vocabulary_size: V, the number of different tokens.
      kept: K, the number of tokens that each distribution keeps; at most V are kept.

    Returns:
      The targets. A distribution is renormalised over the tokens that it keeps.

    Raises:
      ValueError: there are no tokens, a token is outside ``[0, V)``, or a size is less than 1.

    >>> targets = ngram_targets([0, 1] * 20, order=2, vocabulary_size=3, kept=2)
    >>> targets.tokens[10:12].tolist(), [round(float(p), 2) for p in targets.probabilities[10]]
    ([[0, 1], [1, 0]], [0.96, 0.04])
    """
    for name, size in (
        ("order", order),
        ("vocabulary_size", vocabulary_size),
        ("kept", kept),
    ):
        check_size("ngram_targets", name, size)
    tokens = check_token_row(tokens, vocabulary_size).astype(np.int64)
    if not tokens.size:
        raise ValueError("ngram_targets: got no tokens; give 1 or more")
    levels = _levels(tokens, order)
    kept = min(kept, vocabulary_size)
    found = SoftTargets(
        np.empty((len(tokens), kept), np.int32), np.empty((len(tokens), kept), np.float32)
    )
    block = max(1, BLOCK // vocabulary_size)
    for first in range(0, len(tokens), block):
        part = slice(first, first + block)
        p = np.full((len(tokens[part]), vocabulary_size), 1 / vocabulary_size)
        for level in levels:
            p = level.refine(p, part, tokens[part])
        likely = np.argpartition(p, vocabulary_size - kept, axis=1)[:, -kept:]
        chances = np.take_along_axis(p, likely, 1)
        by_chance = np.argsort(-chances, axis=1, kind="stable")
        found.tokens[part] = np.take_along_axis(likely, by_chance, 1)
        chances = np.take_along_axis(chances, by_chance, 1)
        found.probabilities[part] = chances / chances.sum(1, keepdims=True)
    return found


class _Level(NamedTuple):
    """The n-grams of one length.

    Attributes:
      starts: where the tokens that follow each context start in ``following``, ``[contexts + 1]``.
      following: the tokens that follow the contexts, one context after the other.
      counts: the counts of these n-grams.
      contexts: the number of the context before each position, ``[N]``; -1 where there is none.
      own: the count of the n-gram that ends at each position, ``[N]``.
      left_out: how much of it goes if the n-grams that end there are left out, 0 or 1, ``[N]``.
      discounts: the discounts of counts 0 to 3, ``[4]``.
    """

    starts: np.ndarray
    following: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    own: np.ndarray
    left_out: np.ndarray
    discounts: np.ndarray

    def refine(self, shorter: np.ndarray, part: slice, tokens: np.ndarray) -> np.ndarray:
        """The distributions ``[M, V]`` of a part of the positions, from those of shorter contexts.

        Positions whose context does not occur elsewhere keep the distribution of the shorter one.
        """
        contexts, place = np.unique(self.contexts[part], return_inverse=True)
        sizes = np.where(contexts < 0, 0, self.starts[contexts + 1] - self.starts[contexts])
        row = np.repeat(np.arange(len(contexts)), sizes)
        entry = np.arange(len(row)) + np.repeat(
            self.starts[contexts] - np.append(0, np.cumsum(sizes)[:-1]), sizes
        )
        count = self.counts[entry]
        discount = self.discounts[np.minimum(count, 3)]
        table = np.zeros((len(contexts), shorter.shape[1]))
        table[row, self.following[entry]] = count - discount
        total = np.bincount(row, count, len(contexts))[place]
        spare = np.bincount(row, discount, len(contexts))[place]

        own, rest = self.own[part], self.own[part] - self.left_out[part]
        of_own, of_rest = (self.discounts[np.minimum(c, 3)] for c in (own, rest))
        p = table[place]
        p[np.arange(len(p)), tokens] += (rest - of_rest) - (own - of_own)
        total, spare = total - (own - rest), spare - of_own + of_rest
        known = total > 0
        scale = np.where(known, 1 / np.where(known, total, 1), 0)[:, None]
        return p * scale + np.where(known, spare * scale[:, 0], 1)[:, None] * shorter


def _levels(tokens: np.ndarray, order: int) -> list[_Level]:
    levels = []
    shorter = np.zeros(len(tokens), np.int64)
    grams = number_longer(shorter, tokens, 1)
    for n in range(1, min(order, len(tokens)) + 1):
        longer = number_longer(grams, tokens, n + 1)
        if n == order:
            counts = np.bincount(grams[n - 1 :])
            left_out = np.ones(len(tokens), np.int64)
        else:  # how many different tokens stand before it
            _, first = np.unique(longer[n:], return_index=True)
            counts = np.bincount(grams[n:][first], minlength=grams.max() + 1)
            left_out = np.zeros(len(tokens), np.int64)
            left_out[n:] = (np.bincount(longer[n:]) == 1)[longer[n:]]
        contexts = np.roll(shorter, 1)  # they end one token earlier
        contexts[: n - 1] = -1
        own = counts[grams]
        own[: n - 1] = left_out[: n - 1] = 0
        _, place = np.unique(grams[n - 1 :], return_index=True)  # of each n-gram
        place += n - 1
        place = place[counts[grams[place]] > 0]
        place = place[np.argsort(contexts[place], kind="stable")]
        starts = np.searchsorted(contexts[place], np.arange(contexts.max() + 2))
        levels.append(
            _Level(
                starts, tokens[place], counts[grams[place]], contexts, own, left_out,
                discounts(counts),
            )
        )  # fmt: skip
        shorter, grams = grams, longer
    return levels
