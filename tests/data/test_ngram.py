"""N-gram losses against the textbook's formulas in plain dictionaries, and against exact losses."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax.data.ngram import ngram_loss, ngram_losses, ngram_token_losses
from seqjax.data.text import Vocabulary, read_corpus, split
from tests.textbook import TOKENS, VOCABULARY, Textbook


def test_a_text_scores_as_the_textbook_says():
    losses = ngram_losses(TOKENS[:50], TOKENS[50:], range(1, 7), VOCABULARY.size)
    assert [*losses] == [1, 2, 3, 4, 5, 6]
    for order, loss in losses.items():
        expected = Textbook(TOKENS[:50].tolist(), order, VOCABULARY.size).loss(TOKENS[50:].tolist())
        assert loss == pytest.approx(expected, rel=1e-12)
        assert loss == ngram_loss(TOKENS[:50], TOKENS[50:], order, VOCABULARY.size)


@pytest.mark.parametrize("order", [1, 3])
def test_each_token_scores_as_the_textbook_says(order):
    rest = TOKENS[50:70]
    book = Textbook(TOKENS[:50].tolist(), order, VOCABULARY.size)
    sums = [n * book.loss(rest[:n].tolist()) if n else 0.0 for n in range(len(rest) + 1)]
    found = ngram_token_losses(TOKENS[:50], rest, order, VOCABULARY.size)
    assert found == pytest.approx(np.diff(sums), rel=1e-9)


@settings(max_examples=50)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=30),
    st.lists(st.integers(0, 3), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_any_tokens_score_as_the_textbook_says(train, validation, order):
    expected = Textbook(train, order, 4).loss(validation)
    assert ngram_loss(train, validation, order, 4) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_probabilities_of_what_may_follow_sum_to_one(order):
    def log_probability(tokens):
        return -len(tokens) * ngram_loss(TOKENS, tokens, order, VOCABULARY.size)

    for context in ("th", "sat on", "t.", "ddddd"):  # common, rare, the last ones, never seen
        before = VOCABULARY.encode(context)
        total = sum(
            math.exp(log_probability([*before, token]) - log_probability(before))
            for token in range(VOCABULARY.size)
        )
        assert total == pytest.approx(1, rel=1e-12)


def test_unigrams_by_hand():
    # counts 3, 2, 1, 0: one more than one each of counts 1, 2 and 3, and one of count 4
    y = 2 / (2 + 2 * 2)
    discounts = [y, 2 - 3 * y * 2 / 2, 3 - 4 * y * 1 / 2]
    spare = sum(discounts) / 4
    expected = [
        (3 - discounts[2] + spare) / 6,
        (2 - discounts[1] + spare) / 6,
        (1 - discounts[0] + spare) / 6,
        spare / 6,
    ]
    for token, probability in enumerate(expected):
        loss = ngram_loss([0, 0, 0, 1, 1, 2], [token], 1, 4)
        assert loss == pytest.approx(-math.log(probability), rel=1e-14)


def test_a_markov_chain_is_known_by_its_bigrams():
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(4), size=4).cumsum(1)
    chain = [0]
    for uniform in rng.random(60_000):
        chain.append(int(np.searchsorted(transition[chain[-1]], uniform)))
    p = np.diff(transition, prepend=0, axis=1)
    train, validation = np.array(chain[:50_000]), np.array(chain[50_000:])
    exact = -np.log(p[validation[:-1], validation[1:]]).mean()
    losses = ngram_losses(train, validation, range(1, 6), 4)
    frequency = np.bincount(train, minlength=4) / len(train)
    assert losses[1] == pytest.approx(-np.log(frequency[validation]).mean(), abs=1e-3)
    assert losses[1] > exact + 0.1
    for order in (2, 3, 4):  # longer ones know no more, and forget little
        assert losses[order] == pytest.approx(exact, abs=5e-3)


def test_what_was_never_seen_is_as_likely_as_the_rest_of_what_was_never_seen():
    assert ngram_loss([0], [1], 1, 5) == ngram_loss([0], [4], 1, 5)
    assert math.isfinite(ngram_loss([0] * 1000, [1] * 10, 6, 2))
    assert ngram_loss([0, 1], [0, 1, 1], 9, 2) == pytest.approx(
        Textbook([0, 1], 9, 2).loss([0, 1, 1])
    )


def test_any_integers_will_do_and_nothing_is_changed():
    train, validation = TOKENS[:50].astype(np.uint8), TOKENS[50:].astype(np.uint8)
    before = train.copy(), validation.copy()
    losses = [
        ngram_loss(train.astype(dtype), validation.astype(dtype), 4, 256)
        for dtype in (np.uint8, np.int32, np.uint64)
    ]
    assert len(set(losses)) == 1
    np.testing.assert_array_equal(train, before[0])
    np.testing.assert_array_equal(validation, before[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [0], [1], 2), "got 0 tokens to count and 1 to score"),
        (([0], [], [1], 2), "got 1 tokens to count and 0 to score"),
        (([0], [2], [1], 2), r"tokens must lie in \[0, 2\), the vocabulary, got 2 at 0"),
        (([0], [0], [1, 0], 2), "order must be a whole number of at least 1, got 0"),
        (([0], [0], [1], 0), "vocabulary_size must be a whole number of at least 1, got 0"),
        (([0.5], [0], [1], 2), r"tokens must be integers \[N\]"),
    ],
)
def test_bad_arguments_are_clear_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ngram_losses(*arguments)


def test_a_real_text_takes_a_second_and_longer_contexts_help():
    text = read_corpus("python_docs").text
    vocabulary = Vocabulary.of(text)
    parts = split(vocabulary.encode(text))
    losses = ngram_losses(parts.train, parts.validation, range(1, 6), vocabulary.size)
    assert all(a > b for a, b in itertools.pairwise(losses.values()))
    assert losses[5] < 1.35


def test_tiny_shakespeare_scores_below_the_published_n_grams():
    folder = Path(os.environ.get("SEQJAX_DATA") or "~/.cache/seqjax").expanduser()
    if not (folder / "tiny_shakespeare.txt").exists():
        pytest.skip("tiny_shakespeare is not in the data folder")
    text = read_corpus("tiny_shakespeare").text
    vocabulary = Vocabulary.of(text)
    parts = split(vocabulary.encode(text))
    losses = ngram_losses(parts.train, parts.validation, [3, 5], vocabulary.size)
    assert losses == pytest.approx({3: 2.0381, 5: 1.5612}, abs=1e-4)  # published: 1.669 of a 5-gram
