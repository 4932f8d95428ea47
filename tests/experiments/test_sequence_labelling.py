"""Truecasing and the look-ahead task: their parts against brute force, and whole runs."""

import collections
import functools
import importlib.util
import json
import re
import sys

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest
from rich.console import Console

from experiments.sequence_labelling import experiment as cli
from experiments.sequence_labelling import lookahead, report, truecasing
from experiments.sequence_labelling.baselines import (
    AROUND,
    BEFORE,
    Characters,
    baselines,
    majority,
    score,
)
from experiments.sequence_labelling.config import Lookahead, Truecasing
from experiments.sequence_labelling.lines import cut_lines, example, lower, write_records
from experiments.sequence_labelling.networks import Network
from experiments.sequence_labelling.seeds import keys_of
from seqjax import GRU, unroll
from seqjax.data import Bucketed, ListSource, Loader
from seqjax.data.text import Vocabulary
from seqjax.tasks import BinaryDependency

# lines of one length make one shape to compile
TEXT = "Anna met Bob at the Lake.\n\nbob swam. I slept a while\n" * 40
FEATURES = {"token", "upper", "letter"}
TASK = Lookahead().task


@pytest.fixture
def main(run_module):
    return functools.partial(run_module, cli)


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return str(path)


def draw_params(network, key, size):
    return jax.jit(network.init, static_argnums=1)(key, size)


def source_of(lines, vocabulary):
    return ListSource([example(line, vocabulary) for line in lines], FEATURES)


def test_lower_case_keeps_every_place_and_every_upper_case_character_is_a_letter():
    everything = "".join(chr(n) for n in range(sys.maxunicode + 1) if not 0xD800 <= n < 0xE000)
    low = lower(everything)
    assert len(low) == len(everything)
    differing = [(a, b) for a, b in zip(everything, low, strict=True) if a != b]
    assert len(differing) > 1000
    assert all(a.lower() == b for a, b in differing)
    assert all(b.upper() != b for _, b in differing)  # so each of them counts
    assert lower(low) == low


def test_lines_are_cut_split_and_refused():
    lines = cut_lines("Abc\r\ndefgh\n\n" * 10, longest=3)
    whole = ["Abc", "def", "gh"] * 10
    assert (lines.train, lines.held_out) == (whole[:27], whole[27:])
    assert lines.split == "first 90% / last 10%"
    with pytest.raises(ValueError, match="two lines or more, got 1"):
        cut_lines("One line", longest=100)
    with pytest.raises(ValueError, match="the 1 lines to hold out have no upper case letter"):
        cut_lines("A\nB\nc", longest=100)


def test_records_give_the_lines_back_as_the_bucketed_batches_of_a_loader(tmp_path):
    lines = cut_lines("Anna met Bob\nbob:\n\nI swam. He\n" * 20 + "\N{SNOWMAN} Ä!", longest=9)
    records = write_records(lines, tmp_path)
    for part, source in ((lines.train, records.train), (lines.held_out, records.held_out)):
        assert [*source.lengths] == [len(line) for line in part]
        with Loader(source, Bucketed((9,), 7), epochs=1) as loader:
            for batch in loader:
                for row, index in enumerate(batch.indices):
                    given = {name: batch.features[name][row] for name in FEATURES}
                    line, steps = part[index], len(part[index])
                    low = [c.lower() for c in line]
                    known = [c if c in records.vocabulary.characters else "\ufffd" for c in low]
                    assert records.vocabulary.decode(given["token"][:steps]) == "".join(known)
                    assert [*given["upper"][:steps]] == [c.isupper() for c in line]
                    assert [*given["letter"][:steps]] == [c.isalpha() for c in line]
                    assert not given["letter"][steps:].any()  # padding has no weight


def majority_by_hand(train, held_out, offsets):
    """As `majority`, with a dictionary for each width of context."""

    def contexts(line, place):
        wanted = [place, *(place + offset for offset in offsets)]
        seen = tuple(line[n] if 0 <= n < len(line) else None for n in wanted)
        return [seen[: width + 1] for width in range(len(seen))]

    votes = collections.Counter()
    for line in train:
        for place, c in enumerate(line):
            if c.isalpha():
                for context in contexts(lower(line), place):
                    votes[context] += 1 if c.isupper() else -1
                    votes["seen", context] = 1
    answers = []
    for line in held_out:
        for place in range(len(line)):
            known = [c for c in contexts(lower(line), place) if ("seen", c) in votes]
            answers.append(bool(known) and votes[known[-1]] > 0)
    return answers


def test_counts_are_those_of_a_dictionary_of_contexts():
    rng = np.random.default_rng(0)
    lines = ["".join(rng.choice([*"abAB .x"], rng.integers(1, 9))) for _ in range(60)]
    vocabulary = Vocabulary.of(lower("".join(lines)))
    train, held_out = lines[:40], lines[40:]
    given = [Characters.of(source_of(part, vocabulary)) for part in (train, held_out)]
    for offsets in ([], [-1, -2, -3], [-1, 1, -2, 2]):
        expected = majority_by_hand(train, held_out, offsets)
        assert majority(*given, offsets).tolist() == expected
    assert len(set(expected)) == 2
    named = baselines(*given)
    assert not named["always lower"].any()
    assert named["upper at line start"].sum() == len(held_out)
    assert not score(given[1], named["always lower"]).f1


def test_scores_count_letters_alone():
    line = "Ab, C"
    characters = Characters.of(source_of([line], Vocabulary.of(lower(line))))
    predicted = np.array([[True, True, True, True, False], [True, False, False, False, True]])
    scores = score(characters, predicted)
    np.testing.assert_allclose(scores.accuracy, [1 / 3, 1])
    np.testing.assert_allclose(scores.f1, [2 / (2 + 1 + 1), 1])
    np.testing.assert_allclose(scores.f1_after_first, [0, 1])


def test_a_part_of_the_seeds_has_the_keys_of_all():
    keys, part = (
        np.array(jax.random.key_data(keys_of(3, 5, seeds, 2))) for seeds in (range(5), [1, 4])
    )
    assert len(np.unique(keys.reshape(10, -1), axis=0)) == 10
    np.testing.assert_array_equal(part, keys[[1, 4]])


def test_both_directions_meet_in_the_layer_between_and_padding_is_inert():
    network = Network(3, bidirectional=True)
    params = draw_params(network, jax.random.key(0), 5)
    tokens = jnp.array([[1, 4, 0, 2], [3, 3, 0, 0]])
    lengths = jnp.array([4, 2])
    logits = network.logits(params, tokens, lengths)
    readers, kernel, bias = params.cell
    _, past = unroll(GRU(3), readers.forward, tokens, lengths=lengths)
    _, future = unroll(GRU(3), readers.backward, tokens, lengths=lengths, reverse=True)
    between = np.concatenate([past, future], -1) @ np.asarray(kernel) + np.asarray(bias)
    expected = np.tanh(between) @ np.asarray(params.kernel) + np.asarray(params.bias)
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(
            logits[row, :length], expected[row, :length], rtol=1e-5, atol=1e-6
        )
    changed = network.logits(params, tokens.at[1, 2:].set(4), lengths)
    np.testing.assert_array_equal(changed, logits)


def test_a_sum_of_what_past_and_future_say_cannot_reach_the_floor_of_both():
    """The reason for the layer between, and the loss that the docstring of `Network` gives."""
    odds = np.array([0.5, 0.25, 1.0, 0.75])  # P(Y = 1) where X[t - 3], X[t + 4] are 00 01 10 11
    features = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]])
    weights = np.zeros(3)
    for _ in range(20_000):  # a convex problem
        p = 1 / (1 + np.exp(-features @ weights))
        weights += 0.5 * features.T @ (odds - p) / 4
    loss = -(odds * np.log(p) + (1 - odds) * np.log(1 - p)).mean()
    assert round(loss, 4) == 0.4719


class Multiplier:
    """In place of a network: its logits are tokens times its one parameter."""

    def logits(self, params, tokens, lengths):
        logits = tokens.astype(params.dtype) * params
        return jnp.stack([jnp.zeros_like(logits), logits], -1)


def test_predictions_come_in_the_order_of_the_lines(monkeypatch):
    monkeypatch.setattr(truecasing, "EVALUATED_AT_ONCE", 2)
    lines = ["Bab", "a", "ABBA", "b", "baB"]
    vocabulary = Vocabulary.of("ab")
    params = np.array([1.0, 2.0])
    found = truecasing.predict(Multiplier(), params, source_of(lines, vocabulary))
    tokens = vocabulary.encode(lower("".join(lines)))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-params[:, None] * tokens)), rtol=1e-6)


@pytest.mark.slow
def test_truecasing_from_the_command_line_in_small(main, corpus, tmp_path, capsys):
    out = tmp_path / "new"
    main(
        "truecasing", "--corpus", corpus, "--seeds", 2, "--epochs", 1, "--forward-units", 4,
        "--bidirectional-units", 3, "--batch-steps", 128, "--out", out,
    )  # fmt: skip
    names = ["config.json", "examples.png", "metrics.jsonl", "records", "result.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert json.loads((out / "config.json").read_text())["task"]["corpus"] == corpus
    result = json.loads((out / "result.json").read_text())
    assert result["baselines"]["always lower"]["f1"] == 0
    held_out = [line for line in TEXT.splitlines() if line][-8:]
    assert result["held_out_letters"] == sum(map(str.isalpha, "".join(held_out)))
    assert result["held_out_upper"] == sum(map(str.isupper, "".join(held_out)))
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["network"] for record in metrics] == ["forward", "bidirectional"]
    for run, record in zip(result["runs"], metrics, strict=True):
        assert run["seeds"] == len(run["accuracy"]["per_seed"]) == 2
        assert record["loss"]["min"] < record["loss"]["max"]
        assert record["held_out"]["f1"]["mean"] == pytest.approx(run["f1"]["mean"])
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "72 lines to train on, 8 held out" in printed
    for text in ("always lower", "bidirectional GRU", "Reading in both directions changes F1"):
        assert text in printed
    assert matplotlib.image.imread(out / "examples.png").shape[1] > 400


@pytest.mark.slow
def test_lookahead_from_the_command_line_in_small(main, tmp_path, capsys):
    out = tmp_path / "new"
    main(
        "lookahead", "--seeds", 2, "--training-steps", 50, "--batch-size", 8, "--window", 12,
        "--units", 4, "--out", out,
    )  # fmt: skip
    names = ["config.json", "learning_curves.png", "metrics.jsonl", "result.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    result = json.loads((out / "result.json").read_text())
    assert result["expected_loss"] == {
        "neither": TASK.expected_loss([]),
        "forward": TASK.expected_loss([3]),
        "bidirectional": TASK.expected_loss([3, -4]),
    }
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [(record["network"], record["step"]) for record in metrics] == [
        ("forward", 50), ("bidirectional", 50),
    ]  # fmt: skip
    for run in result["runs"]:
        loss = run["final_loss"]
        assert 0.4 < loss["min"] <= loss["mean"] <= loss["max"] < 0.8
        assert len(set(loss["per_seed"])) == run["seeds"] == 2
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    assert "0.5192" in printed
    assert "0.4545" in printed


def test_steps_count_where_the_window_holds_what_they_depend_on():
    for lags in ([3, -4], [2], [-1, -5], [0], [4, 1]):
        task = BinaryDependency([(lag, 0.1) for lag in lags])
        expected = [all(0 <= t - lag < 12 for lag in lags) for t in range(12)]
        assert lookahead.counted(task, 12).tolist() == expected


def test_a_model_that_knows_the_odds_scores_the_floors_exactly():
    config = Lookahead(window=12, batch_size=500)
    xs, ys = jax.jit(lambda key: lookahead.draw(config, key, 20))(jax.random.key(0))

    class Oracle:
        """Says what it knows of the odds, from the window alone."""

        def __init__(self, known):
            self.known = known

        def logits(self, params, xs):
            p = jnp.full(xs.shape, 0.5)
            for lag, change in TASK.dependencies:
                x = jnp.roll(xs, lag, axis=-1) if lag in self.known else 0.5 * jnp.ones_like(p)
                p = p + change * jnp.asarray(x, p.dtype)
            return jnp.log(jnp.clip(jnp.stack([1 - p, p], -1), 1e-9))

    flat = xs.reshape(-1, 12), ys.reshape(-1, 12)
    for name, known in (("neither", []), ("forward", [3]), ("bidirectional", [3, -4])):
        loss, _ = lookahead.window_loss(config, Oracle(known), None, None, flat)
        assert abs(float(loss) - lookahead.floors(TASK)[name]) < 0.005


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected one of {truecasing, lookahead}"),
        (["truecasing", "--seeds", "0"], "--seeds must be a whole number of at least 1"),
        (["truecasing", "--corpus", "/nowhere"], "cannot read this corpus"),
        (["truecasing", "--batch-steps", "10"], "must have room for one line of --longest 128"),
        (["truecasing", "--corpus", "CORPUS", "--batch-steps", "5000"], "do not fill one batch"),
        (
            ["truecasing", "--learning-rate", "-1"],
            "--learning-rate must be a positive finite number",
        ),
        (["truecasing", "--seed", "-1"], "--seed must lie in [0, 2**31)"),
        (["lookahead", "--window", "7"], "holds no step with all its dependencies"),
        (
            ["lookahead", "--learning-rate", "inf"],
            "--learning-rate must be a positive finite number",
        ),
        (["lookahead", "--seed", "-1"], "--seed must lie in [0, 2**31)"),
        (["lookahead", "--training-steps", "0"], "--training-steps must be a whole number"),
        (["lookahead", "--base-rate", "0.9"], "P(Y = 1) must lie in [0, 1]"),
        (["lookahead", "--out", "."], "this folder holds files"),
    ],
)
def test_a_bad_option_ends_with_code_2_and_says_why(main, capsys, corpus, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(*(corpus if argument == "CORPUS" else argument for argument in arguments))
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert message in re.sub(r"[\s│]+", " ", captured.err + captured.out)


def test_without_tensorflow_truecasing_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"tensorflow.*is not installed: pip install .*records"):
        Truecasing(corpus="python_docs")
    Lookahead()


def run_of(name, f1):
    network = Network(2, bidirectional=name == "bidirectional")
    scores = score(
        Characters(np.zeros(1, int), *np.ones((2, 1), bool), np.zeros(1, int)),
        np.ones((len(f1), 1), bool),
    )
    return report.Run(network, 1, np.zeros(1), scores._replace(f1=np.array(f1)), 1.0)


def test_the_conclusion_compares_each_network_with_what_sees_as_much():
    score_of = run_of("forward", [0.5]).score
    counts = {
        name: score_of._replace(f1=np.float64(f1))
        for name, f1 in (("always lower", 0.0), (BEFORE, 0.5), (AROUND, 0.8))
    }
    forward = run_of("forward", [0.4, 0.7])
    text = report.conclusion(counts, [forward, run_of("bidirectional", [0.75, 0.95])])
    assert "changes F1 by +0.3000; no seeds overlap" in text
    assert "forward: 1 of 2 seeds are above" in text
    assert f"{BEFORE}; the mean differs by +0.0500." in text
    assert "bidirectional: 1 of 2 seeds are above" in text
    assert f"{AROUND}; the mean differs by +0.0500." in text
    text = report.conclusion(counts, [forward, run_of("bidirectional", [0.7, 0.9])])
    assert "the seeds overlap" in text


def test_errors_are_marked_without_colour_too():
    shown = report.Example("Sir Ok.", {"forward": np.array([0.9, 0.1, 0.8, 0, 0.1, 0, 0.9])})
    console = Console(width=80, color_system=None)
    with console.capture() as printed:
        console.print(report.in_terminal(shown))
    assert [line.rstrip() for line in printed.get().splitlines()] == [
        "truth          Sir Ok.",
        "forward        SiR ok.",
        "                 ^ ^",
        "",
    ]


@pytest.mark.slow
def test_each_network_reaches_its_floor():
    config = Lookahead(seeds=2)
    for network in config.networks:
        *_, (params, _) = lookahead.train(config, network, range(2))
        final = lookahead.evaluate(config, network, range(2), params)
        floor = lookahead.floors(TASK)[network.name]
        np.testing.assert_allclose(final, floor, rtol=0, atol=lookahead.TOLERANCE)
