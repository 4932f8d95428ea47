"""Records as a user classifies them: trained models, tokens, validation and the archive."""

import csv
import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from experiments.sequence_classification import __main__ as command_line
from experiments.sequence_classification import cross_validation, experiment
from experiments.sequence_classification.archive import NAMES
from experiments.sequence_classification.choice import choose
from experiments.sequence_classification.config import Config
from experiments.sequence_classification.data import load
from experiments.sequence_classification.inputs import Scale, Vocabulary, reader_from_json
from experiments.sequence_classification.presets import PRESETS, preset
from experiments.sequence_classification.report import baselines, learning_curves
from experiments.sequence_classification.run import NetworkParams, build_model, classify
from experiments.sequence_classification.sets import Examples, Split, validated
from experiments.sequence_classification.trained import load as load_trained
from seqjax.data.schema import Feature, Schema
from seqjax.data.writing import write

WORDS = {"ham": [b"hello ", b"lunch ", b"see you "], "spam": [b"win ", b"money ", b"click "]}
SMALL = ["--units", 8, "--layers", 1, "--seeds", 2, "--batch-size", 20, "--learning-rate", 0.03]


@pytest.fixture
def run(monkeypatch, capsys):
    """Run ``python -m experiments.sequence_classification`` in this process."""
    monkeypatch.setattr(command_line, "set_up", lambda: None)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sequence_classification", *map(str, arguments)])
        command_line.main()
        return capsys.readouterr().out

    return run


@pytest.fixture
def fails(run, capsys):
    def run_failing(message, *arguments):
        with pytest.raises(SystemExit) as stop:
            run(*arguments)
        assert stop.value.code == 2
        captured = capsys.readouterr()
        assert message in " ".join((captured.err + captured.out).split())

    return run_failing


def write_texts(path, count, classes=("ham", "spam"), extra=b"", label=True):
    """Write texts as bytes, with a class that its words tell."""
    rng = np.random.default_rng(count)
    context = {"label": Feature(np.int64, classes=classes)} if label else {}
    examples = []
    for n in range(count):
        words = rng.choice(WORDS[sorted(WORDS)[n % 2]], rng.integers(1, 4))
        text = np.frombuffer(b"".join(words) + extra, np.uint8)
        name = classes.index(sorted(WORDS)[n % 2]) if label else None
        examples.append({"text": text} | ({"label": name} if label else {}))
    write(path, Schema(context, {"text": Feature(np.uint8)}), examples)


def test_a_model_of_text_is_saved_and_predicts(run, fails, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for part, count in (("train", 40), ("validation", 20), ("test", 20)):
        write_texts(data / part, count)
    printed = run("--dataset", data, *SMALL, "--embedding", 6, "--epochs", 8, "--out", out)
    assert f"predict {out}" in printed.replace("\n", "")
    result = json.loads((out / "result.json").read_text())
    counts = {"train": 40, "validation": 20, "test": 20}
    assert {part: result["split"][part] for part in counts} == counts
    assert result["split"]["classes"] == ["ham", "spam"]
    assert result["different_tokens"] < 30
    assert result["test_accuracy"]["all_seeds_together"] == 1
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    checked = [line["validation_accuracy"]["max"] for line in lines]
    assert all(checked[epoch - 1] == max(checked) for epoch in result["chosen_epochs"])

    # other names in another order are the same classes; the bytes 1 are new
    write_texts(tmp_path / "new", 10, ("spam", "eggs", "ham"), extra=b"\1")
    printed = run("predict", out, tmp_path / "new", "--rows", 3, "--out", tmp_path / "all.csv")
    assert "3 of 10 examples are shown" in printed
    assert "10 of " in printed
    assert "tokens are not in the training set; they are read as zeros" in printed
    assert "100.00% of 10 labelled examples are correct" in printed
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [row["label"] for row in rows] == ["ham", "spam"] * 5
    for row in rows:
        each = [float(row[f"probability of {name}"]) for name in ("ham", "spam")]
        assert sum(each) == pytest.approx(1, abs=1e-5)
        assert float(row["probability"]) == max(each)

    # labels are optional
    write_texts(tmp_path / "bare", 10, extra=b"\1", label=False)
    printed = run("predict", out, tmp_path / "bare", "--out", tmp_path / "all.json")
    assert "labelled" not in printed
    bare = json.loads((tmp_path / "all.json").read_text())
    assert "label" not in bare[0]
    assert [row["probability"] for row in bare] == [float(row["probability"]) for row in rows]
    assert bare[0]["probabilities"]["ham"] == float(rows[0]["probability of ham"])

    new = tmp_path / "new"
    fails("this file exists", "predict", out, new, "--out", tmp_path / "all.csv")
    fails("must end in .csv or .json", "predict", out, new, "--out", tmp_path / "all.txt")
    fails("holds no trained model", "predict", tmp_path, new)
    schema = Schema(sequence={"words": Feature(np.uint8)})
    write(tmp_path / "other", schema, [{"words": [1]}])
    fails("from ['words'], got 'text'", "predict", out, tmp_path / "other")
    write_texts(data / "test", 20, ("ham", "eggs", "spam"))
    write_texts(data / "train", 40, ("spam", "eggs"), label=False)
    fails("--label must name one context feature", "--dataset", data, "--embedding", 6)


def test_numbers_that_a_model_does_not_read_are_an_error(tmp_path):
    config = Config(units=2, layers=1, seeds=1, permuted=True)
    scale = Scale(np.zeros(2, np.float32), np.ones(2, np.float32))
    model = build_model(config, 2, 2)
    params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 1))
    trained = experiment.Trained(config, params, scale, ("a", "b"), 3, 2, "x", "y")
    trained.save(tmp_path / "run")
    again = load_trained(tmp_path / "run")
    assert again.config == config
    assert (again.classes, again.inputs, again.label) == (("a", "b"), "x", "y")
    jax.tree.map(np.testing.assert_array_equal, again.params, params)
    for shape, message in (((3, 3), "has 3 numbers a step, but the model reads 2"),
                           ((4, 2), "has 4 steps, but the model reads permuted")):  # fmt: skip
        schema = Schema(sequence={"x": Feature(np.float32, shape[1:])})
        write(tmp_path / "new", schema, [{"x": np.zeros(shape, np.float32)}])
        with pytest.raises(ValueError, match=message):
            again.read_new(tmp_path / "new")


def examples_of(xs, labels=None):
    xs = np.asarray(xs)
    lengths = np.full(len(xs), xs.shape[1], np.int32)
    labels = np.zeros(len(xs), np.int32) if labels is None else np.array(labels, np.int32)
    return Examples(xs, lengths, labels)


def test_tokens_are_numbered_and_strange_ones_are_zeros():
    train = examples_of([[7, 2**40, 9], [7, 9, 5]])._replace(lengths=np.array([3, 2]))
    vocabulary = Vocabulary.of(Split(train, train, "", ("a",)))
    assert vocabulary.tokens.tolist() == [7, 9, 2**40]
    new = examples_of([[9, 8, 2**41], [2**40, 7, 7]])._replace(lengths=np.array([3, 1]))
    np.testing.assert_array_equal(vocabulary(new).xs, [[1, 3, 3], [2, 0, 0]])
    assert vocabulary.unknown(new) == 2
    again = reader_from_json(json.loads(json.dumps(vocabulary.to_json())))
    np.testing.assert_array_equal(again.tokens, vocabulary.tokens)
    model = build_model(Config("x", embedding=4, units=3, layers=1), 2, 3)
    params = model.init(jax.random.key(0))
    zeros = params._replace(embedding=params.embedding.at[1].set(0))
    found = classify(model, params, np.array([[0, 3]]), np.array([2]))
    expected = classify(model, zeros, np.array([[0, 1]]), np.array([2]))
    np.testing.assert_array_equal(found, expected)


def test_the_baselines_of_tokens_see_the_share_of_each():
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    split = Split(*(examples_of(rng.integers(0, 2, (40, 5)) + 2 * labels[:, None], labels)
                    for _ in range(2)), "", ("a", "b"))  # fmt: skip
    accuracies = baselines(split)
    assert accuracies["logistic regression"] == accuracies["3 nearest neighbours"] == 1
    assert accuracies["most common class"] == 0.5


@pytest.mark.parametrize(
    ("given", "fraction", "count"),
    [(None, None, 30), (None, 0.2, 60), (None, 0, 0), ("set", None, 9), ("set", 0, 0)],
)
def test_the_validation_set_is_a_part_of_the_training_set(given, fraction, count):
    train = examples_of(np.arange(300.0).reshape(300, 1, 1), np.arange(300) % 3)
    test, own = examples_of(np.zeros((5, 1, 1))), examples_of(np.zeros((9, 1, 1)))
    split = Split(train, test, "", ("a", "b", "c"), inputs="x", validation=given and own)
    after = validated(split, fraction)
    found = 0 if after.validation is None else len(after.validation.labels)
    assert found == count
    if given is None and count:
        both = np.concatenate([after.train.xs, after.validation.xs]).ravel()
        np.testing.assert_array_equal(np.sort(both), np.arange(300))
        assert np.ptp(np.bincount(after.validation.labels)) == 0
    assert after.test is split.test
    small = dataclasses.replace(split, train=own, validation=None)
    assert validated(small, None).validation is None  # too few examples to choose by
    if given:
        with pytest.raises(ValueError, match="has a validation set"):
            validated(split, 0.5)


def test_each_seed_keeps_its_best_epoch():
    def probabilities(right):  # of two seeds on four examples, [seeds, N, V]
        return np.stack([[[p, 1 - p] for p in seed] for seed in right])

    labels, choice = np.zeros(4, int), None
    by_epoch = [
        [[0.6, 0.6, 0.4, 0.4], [0.6, 0.6, 0.6, 0.4]],
        [[0.6, 0.6, 0.6, 0.4], [0.9, 0.9, 0.4, 0.4]],  # the first seed is better
        [[0.9, 0.6, 0.6, 0.4], [0.6, 0.6, 0.6, 0.4]],  # its loss is lower
        [[0.4, 0.4, 0.4, 0.4], [0.6, 0.6, 0.6, 0.3]],
    ]
    for epoch, right in enumerate(by_epoch, 1):
        params = NetworkParams({"w": np.full((2, 3), epoch, np.float32)})
        choice = choose(choice, epoch, params, probabilities(right), labels)
    assert choice.epochs.tolist() == [3, 1]
    np.testing.assert_array_equal(choice.params.cell["w"], [[3] * 3, [1] * 3])
    np.testing.assert_array_equal(choice.accuracies, [0.75, 0.75])


def test_the_figure_shows_validation():
    epochs = [experiment.Epoch(*np.full((3, 2), value)) for value in (0.5, 0.9, 0.8)]
    test = examples_of(np.zeros((4, 1, 1)))
    known = dict.fromkeys("abc", 0.5)
    outcome = experiment.Outcome(
        Split(test, test, "", ("a",)), known, epochs, np.ones((2, 4, 1)), 1.0, np.array([2, 3])
    )
    labels = [text.get_text() for text in learning_curves(outcome).axes[1].get_legend().texts]
    assert labels == [
        "network, test error", "a, 50.0%", "b, 50.0%", "c, 50.0%", "network, validation error",
        "chosen epochs",
    ]  # fmt: skip


def test_folds_hold_out_every_example_once():
    labels = np.arange(23) % 2
    folds = cross_validation.folds_of(labels, ("a", "b"), 4)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(23))
    assert all(abs(np.bincount(labels[fold])[0] - np.mean(labels == 0) * len(fold)) <= 1
               for fold in folds)  # fmt: skip
    with pytest.raises(ValueError, match=r"between 2 and 11, .* of the class b, got 12"):
        cross_validation.folds_of(labels, ("a", "b"), 12)
    with pytest.raises(ValueError, match="--vary must be an option and its values"):
        cross_validation.settings(["units"])


def test_cross_validation_tests_each_example_with_models_that_have_not_seen_it(monkeypatch):
    """A model that remembers its examples is right where it was trained, and only there."""
    examples = examples_of(np.zeros((20, 1, 1)), np.arange(20) % 2)

    def train(config, model, examples, members):
        assert members.shape == (4 * 3, 15)
        yield 0, None, members

    def predict(model, members, examples):
        seen = np.stack([np.isin(np.arange(20), seen) for seen in members])
        right = np.where(seen, 1.0, 0.25)
        ones = examples.labels == 1
        return np.stack([np.where(ones, 1 - right, right), np.where(ones, right, 1 - right)], -1)

    monkeypatch.setattr(cross_validation, "train", train)
    monkeypatch.setattr(cross_validation, "predict", predict)
    score = cross_validation.cross_validate(Config(seeds=3), examples, ("a", "b"), 1, 4, "x")
    np.testing.assert_array_equal(score.accuracies, [0, 0, 0])
    assert score.loss == pytest.approx(-np.log(0.25))


def test_the_command_compares_all_combinations_and_marks_the_best(run, monkeypatch):
    def cross_validate(config, examples, classes, features, folds, setting):
        assert (len(classes), features, folds, config.validation) == (10, 8, 3, 0)
        return cross_validation.Score(setting, np.full(2, 0.9), config.noise + config.units)

    monkeypatch.setattr(cross_validation, "cross_validate", cross_validate)
    printed = run("cross-validate", "--vary", "units=8,4", "noise=1,0.5", "--folds", 3)
    assert "1437 training examples, 3 folds" in printed
    rows = [line.split() for line in printed.splitlines() if "--units" in line]
    assert [" ".join(row[:4]) for row in rows] == [
        f"--units {units} --noise {noise}" for units in (8, 4) for noise in ("1", "0.5")
    ]
    assert [row[-1] == "best" for row in rows] == [False, False, False, True]


@pytest.mark.parametrize(
    ("xs", "expected"),
    [([[[3]]], True), ([[[3.5]]], False), ([[[3, 4]]], False), ([[3]], False)],
)
def test_whole_numbers_may_be_tokens(xs, expected):
    train = examples_of(xs)
    split = Split(train, train, "", ("a",), inputs="x")
    assert experiment.may_be_tokens(split) == expected
    assert not experiment.may_be_tokens(dataclasses.replace(split, inputs=None))


def test_the_archive_comes_with_its_own_split(fails):
    pytest.importorskip("aeon")
    split = load("uea:JapaneseVowels")
    assert (split.train.xs.shape, split.test.xs.shape) == ((270, 26, 12), (370, 29, 12))
    assert (split.train.lengths.min(), split.train.lengths.max()) == (7, 26)
    assert split.classes == tuple("123456789")
    assert np.bincount(split.train.labels).tolist() == [30] * 9
    assert not split.train.xs[0, split.train.lengths[0] :].any()
    fails("does not ship this data set, only ACSF1", "--dataset", "uea:FordA")


def test_the_presets_are_valid_and_options_override_them(fails):
    assert set(PRESETS) == set(NAMES)
    for name in PRESETS:
        assert preset(name).dataset == f"uea:{name}"
    # the preset has --pooling mean, so --bidirectional is no error, but this is
    fails("--units must be", "--dataset", "uea:JapaneseVowels", "--bidirectional", "--units", 0)


@pytest.mark.slow
def test_a_new_process_predicts_the_same_probabilities(run, tmp_path):
    for part in ("train", "test"):
        write_texts(tmp_path / "data" / part, 40)
    run("--dataset", tmp_path / "data", *SMALL, "--embedding", 6, "--epochs", 2, "--out",
        tmp_path / "out")  # fmt: skip
    trained = load_trained(tmp_path / "out")
    read = trained.read_new(tmp_path / "data" / "test")
    expected = trained.probabilities(read.examples).mean(0)
    command = [sys.executable, "-m", "experiments.sequence_classification", "predict",
               tmp_path / "out", tmp_path / "data" / "test", "--out",
               tmp_path / "all.json"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    rows = json.loads((tmp_path / "all.json").read_text())
    found = [[*row["probabilities"].values()] for row in rows]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    right = np.mean([row["class"] == row["label"] for row in rows])
    assert right == result["test_accuracy"]["all_seeds_together"]


@pytest.mark.slow
def test_the_table_of_the_archive(run, tmp_path):
    pytest.importorskip("aeon")
    printed = run("archive", "JapaneseVowels", "--seeds", 2, "--out", tmp_path / "out")
    assert "InceptionTime" in printed
    result = json.loads((tmp_path / "out" / "result.json").read_text())["JapaneseVowels"]
    assert result["mean"] > 0.97
    assert result["minirocket"]["mean"] > 0.9
