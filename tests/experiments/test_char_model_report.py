"""The report of a character model: what a page says is what the model and the text say."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.char_model.anchors import compared
from experiments.char_model.evaluation import token_losses
from experiments.char_model.report import page
from experiments.char_model.report.passages import copied, longest_passage, match_lengths
from experiments.char_model.report.reading import calibration, read
from experiments.char_model.report.units import telling_units
from seqjax import GRU, LSTM, Ensemble, LanguageModel, Stack, step
from seqjax.data.text.corpus import TINY_SHAKESPEARE_SHA256


@pytest.fixture(scope="module")
def model():
    return LanguageModel(Stack([LSTM(3), GRU(2)]), vocabulary_size=5)


def test_a_reading_holds_what_single_steps_give(model):
    params = model.init(jax.random.key(0), 5)
    tokens = np.random.default_rng(0).integers(0, 5, 520).astype(np.int32)  # more than one call
    reading = read(model, params, tokens)
    np.testing.assert_allclose(
        reading.bits, token_losses(model, params, tokens) / np.log(2), rtol=1e-5
    )
    assert reading.names == [
        *(f"layer 1 c unit {n}" for n in range(3)),
        *(f"layer 1 h unit {n}" for n in range(3)),
        *(f"layer 2 h unit {n}" for n in range(2)),
    ]
    state = model.initial_state((1,))
    for n in (0, 1, 2):
        state, logits = step(model, params, state, jnp.asarray(tokens[n : n + 1]))
        order = np.argsort(-np.asarray(logits[0]), kind="stable")[:3]
        np.testing.assert_array_equal(reading.likely[n], order)
        chances = np.asarray(jax.nn.softmax(logits[0]))[order]
        np.testing.assert_allclose(reading.chances[n], chances, rtol=1e-5)
        units = np.concatenate([leaf[0] for leaf in jax.tree.leaves(state)])
        np.testing.assert_allclose(reading.units[n], units, rtol=1e-5, atol=1e-7)


def test_the_units_of_an_ensemble_name_their_member(model):
    ensemble = Ensemble([LanguageModel(GRU(2), vocabulary_size=5), model])
    params = ensemble.init(jax.random.key(0), 5)
    reading = read(ensemble, params, np.array([0, 1, 2], np.int32))
    assert reading.names == [
        *(f"member 1 h unit {n}" for n in range(2)),
        *(f"member 2 layer 1 c unit {n}" for n in range(3)),
        *(f"member 2 layer 1 h unit {n}" for n in range(3)),
        *(f"member 2 layer 2 h unit {n}" for n in range(2)),
    ]


def test_a_model_that_says_what_it_does_has_no_calibration_error(model):
    params = model.init(jax.random.key(0), 5)
    tokens = np.random.default_rng(0).integers(0, 5, 4000).astype(np.int32)
    reading = read(model, params, tokens)
    found = calibration(reading, tokens)
    assert found.counts.sum() == 3999
    right = float((reading.likely[:, 0] == tokens[1:]).mean())
    assert float((found.observed * found.counts).sum() / 3999) == pytest.approx(right)
    # tokens drawn from what the model says
    draws = np.random.default_rng(1).random(3999) < reading.chances[:, 0]
    drawn = np.where(draws, reading.likely[:, 0], -1)
    assert calibration(reading, np.r_[0, drawn]).error < 0.03


@pytest.mark.parametrize("seed", range(3))
def test_passages_are_those_that_trying_all_finds(seed):
    rng = random.Random(seed)
    training = "".join(rng.choices("ab ", k=60))
    text = "".join(rng.choices("ab c", k=40))
    expected = [
        max(n for n in range(len(text) - i + 1) if text[i : i + n] in training)
        for i in range(len(text))
    ]
    lengths = match_lengths(text, training)
    assert lengths == expected
    found = longest_passage(text, lengths, training, around=5)
    assert found.passage == text[found.start : found.start + max(expected)]
    assert found.before + found.passage + found.after in training
    marked = copied(lengths, least=3)
    assert marked == [
        any(i <= at < i + n for i, n in enumerate(lengths) if n >= 3) for at in range(len(text))
    ]


def test_a_text_that_shares_nothing_has_no_passage():
    assert match_lengths("xyz", "abc") == [0, 0, 0]
    assert longest_passage("xyz", [0, 0, 0], "abc", around=2) == (0, 0, "", "", "ab")
    assert match_lengths("", "abc") == []


def test_units_are_found_by_what_they_follow():
    text = "One day.\nTwo 12 days!\n" * 30
    rng = np.random.default_rng(0)
    units = rng.normal(size=(len(text), 6))
    units[:, 4] = [-float(c.isupper()) for c in text]
    units[:, 2] = [float(c.isdigit()) for c in text]
    units[:, 1] = 0.5  # a unit that is constant
    first, second = telling_units(units, text, count=2)
    assert {first.place, second.place} == {2, 4}
    assert {first.property: first.correlation, second.property: second.correlation} == {
        "upper case": pytest.approx(-1),
        "digits": pytest.approx(1),
    }


def test_text_is_escaped_on_the_page():
    shown = page.coloured(["<", "\n"], [0, 8], "heat", ['"&', ""])
    assert shown == (
        '<pre><span class="heat0" title="&quot;&amp;">&lt;</span>'
        '<span class="heat8" title="">⏎\n</span></pre>'
    )
    assert "&lt;b&gt;" in page.Page("<b>", []).render()
    assert page.underlined("<a>", [True, True, False]) == (
        '<pre><span class="copied">&lt;a</span>&gt;</pre>'
    )


def test_published_losses_stand_beside_the_same_split_alone():
    result = {
        "corpus_sha256": TINY_SHAKESPEARE_SHA256,
        "split": "first 90% / last 10%",
        "val": {"streaming_nats": 1.5, "windowed_nats": 1.6, "window": 256},
        "ngram_nats": {},
    }
    assert len(compared(result)) == 3
    assert len(compared(result | {"split": "first 80% / last 20%"})) == 2
