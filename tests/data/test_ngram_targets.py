"""Soft targets of n-grams against the textbook's model of all other tokens."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.data.ngram_targets import ngram_targets
from tests.textbook import TOKENS, VOCABULARY, Textbook


class WithoutOne(Textbook):
    """The textbook's model without the n-grams that end at a position, with the same discounts."""

    def __init__(self, train, order, size, at):
        super().__init__(train, order, size)
        self.all = self.counts
        self.counts = {n: collections.Counter(grams) for n, grams in self.all.items()}
        for n in range(1, min(order, at + 1) + 1):
            gram = tuple(train[at - n + 1 : at + 1])
            if n < order:  # does a token that stands before it go with it?
                if at < n:
                    continue
                longer = tuple(train[at - n : at + 1])
                places = [tuple(train[i : i + n + 1]) for i in range(len(train) - n)]
                if places.count(longer) > 1:
                    continue
            self.counts[n][gram] -= 1

    def discount(self, n, count):
        left, self.counts = self.counts, self.all
        try:
            return super().discount(n, count)
        finally:
            self.counts = left


def expected(train, order, size, at):
    model = WithoutOne(train, order, size, at)
    context = tuple(train[max(0, at - order + 1) : at])
    return [model.probability(context, token) for token in range(size)]


def whole(targets, size):
    """The distributions ``[N, V]``."""
    p = np.zeros((len(targets.tokens), size))
    np.put_along_axis(p, targets.tokens, targets.probabilities, axis=1)
    return p


@given(st.lists(st.integers(0, 2), min_size=1, max_size=14), st.integers(1, 4))
@settings(deadline=None)
def test_equals_the_model_of_all_other_tokens(tokens, order):
    found = whole(ngram_targets(tokens, order, 4), 4)
    right = [expected(tokens, order, 4, at) for at in range(len(tokens))]
    np.testing.assert_allclose(found, right, rtol=1e-6)


def test_blocks_and_long_contexts_change_nothing(monkeypatch):
    size = VOCABULARY.size
    right = [expected(TOKENS.tolist(), 5, size, at) for at in (0, 3, 40, len(TOKENS) - 1)]
    in_one = ngram_targets(TOKENS, 5, size, kept=size)
    np.testing.assert_allclose(whole(in_one, size)[[0, 3, 40, -1]], right, rtol=1e-6)
    monkeypatch.setattr("seqjax.data.ngram_targets.BLOCK", 7 * size)
    in_parts = ngram_targets(TOKENS, 5, size, kept=size)
    np.testing.assert_array_equal(in_parts.probabilities, in_one.probabilities)


def test_the_most_likely_tokens_are_kept_and_renormalised():
    every = ngram_targets(TOKENS, 3, VOCABULARY.size, kept=99)
    some = ngram_targets(TOKENS, 3, VOCABULARY.size, kept=4)
    assert every.tokens.shape == (len(TOKENS), VOCABULARY.size)
    assert some.tokens.dtype == np.int32
    assert some.probabilities.dtype == np.float32
    assert (np.diff(some.probabilities) <= 0).all()
    kept = every.probabilities[:, :4]
    np.testing.assert_allclose(some.probabilities, kept / kept.sum(1, keepdims=True), rtol=1e-5)
    np.testing.assert_allclose(every.probabilities.sum(1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 2, 3), "got no tokens"),
        (([0, 3], 2, 3), r"must lie in \[0, 3\)"),
        (([0], 0, 3), "order must be"),
        (([0], 2, 0), "vocabulary_size must be"),
        (([0], 2, 3, 0), "kept must be"),
        (([0.5], 2, 3), "tokens must be integers"),
    ],
)
def test_what_cannot_be_counted_is_a_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        ngram_targets(*arguments)
