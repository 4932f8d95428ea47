"""The experiment as a user runs it: data, network, baselines, files, and bad options."""

import dataclasses
import functools
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets
from rich.console import Console
from sklearn.datasets import load_digits

from experiments.sequence_classification import experiment
from experiments.sequence_classification.data import load
from experiments.sequence_classification.experiment import Config, prepare
from experiments.sequence_classification.inputs import scaled
from experiments.sequence_classification.report import (
    Epoch,
    Outcome,
    baselines,
    confusion_matrix,
    learning_curves,
    misread,
    result,
    result_table,
)
from experiments.sequence_classification.run import build_model, classify, predict, train
from experiments.sequence_classification.sets import Examples, Split, in_order, named
from seqjax import unroll
from seqjax.data.schema import Feature, Schema
from seqjax.data.writing import write

RNG = np.random.default_rng(0)
FILES = [
    "checkpoints", "config.json", "confusion.png", "learning_curves.png", "metrics.jsonl",
    "misread.png", "result.json",
]  # fmt: skip
SMALL = ["--units", 8, "--layers", 1, "--epochs", 2, "--seeds", 2, "--batch-size", 200]


@pytest.fixture
def main(run_module):
    return functools.partial(run_module, experiment)


@pytest.fixture
def fails(main, capsys):
    def run_failing(message, *arguments):
        with pytest.raises(SystemExit) as stop:
            main(*arguments)
        assert stop.value.code == 2
        captured = capsys.readouterr()
        assert message in re.sub(r"[\s│]+", " ", captured.err + captured.out)

    return run_failing


def sequences(count, steps=6, features=2, classes=3):
    """Labelled sequences of 3 to ``steps`` steps, with a lot past the lengths."""
    return Examples(
        RNG.normal(size=(count, steps, features)).astype(np.float32),
        RNG.integers(3, steps, count, endpoint=True).astype(np.int32),
        (np.arange(count) % classes).astype(np.int32),
    )


def split_of(train, test, classes=3):
    return Split(train, test, "as published", tuple(map(str, range(classes))))


def test_a_run_writes_every_file_and_prints_the_table(main, tmp_path, capsys):
    out = tmp_path / "new"
    main(*SMALL, "--out", out)
    assert sorted(path.name for path in out.iterdir()) == FILES
    written = json.loads((out / "result.json").read_text())
    assert written["split"]["train"] == 1437
    assert written["split"]["test"] == 360
    accuracy = written["test_accuracy"]
    assert len(set(accuracy["per_seed"])) == 2
    assert accuracy["min"] <= accuracy["mean"] <= accuracy["max"]
    assert written["baseline_accuracy"]["3 nearest neighbours"] > 0.97
    confusion = np.array(written["confusion"])
    assert confusion.sum() == 2 * 360
    assert confusion.trace() == pytest.approx(2 * 360 * accuracy["mean"])
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in metrics] == [1, 2]
    assert metrics[-1]["test_accuracy"]["mean"] == accuracy["mean"]
    assert metrics[1]["loss"]["mean"] < metrics[0]["loss"]["mean"]
    printed = capsys.readouterr().out
    assert "Test accuracy on 360 examples" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_the_digits_are_split_once_and_each_class_has_its_share():
    split = load("digits")
    images, labels = load_digits(return_X_y=True)
    both = np.concatenate([split.train.xs, split.test.xs]).reshape(1797, 64)
    assert sorted(map(tuple, both)) == sorted(map(tuple, images))
    np.testing.assert_allclose(np.bincount(split.test.labels), np.bincount(labels) / 5, atol=1)
    assert split.train.xs.shape == (1437, 8, 8)
    assert (split.train.lengths == 8).all()
    again = load("digits")
    jax.tree.map(np.testing.assert_array_equal, split.test, again.test)
    k = 100  # an image still has its own label
    where = np.flatnonzero((images == split.test.xs[k].ravel()).all(1))
    assert labels[where].tolist() == [split.test.labels[k]]


@pytest.mark.parametrize("images", [False, True])
def test_numbers_are_scaled_by_the_steps_of_the_training_set_that_count(images):
    train, test = sequences(50), sequences(20)
    train.xs[..., 1] *= 4
    masks = [np.arange(6) < part.lengths[:, None] for part in (train, test)]
    dirty = train._replace(xs=np.where(masks[0][..., None], train.xs, 1e9))
    axis = None if images else 0
    mean, deviation = train.xs[masks[0]].mean(axis), train.xs[masks[0]].std(axis)
    for given in (train, dirty):
        split = scaled(dataclasses.replace(split_of(given, test), images=images))
        pairs = zip((train, test), (split.train, split.test), masks, strict=True)
        for before, after, mask in pairs:
            expected = (before.xs - mean) / deviation
            np.testing.assert_allclose(after.xs[mask], expected[mask], atol=1e-5)
            assert not after.xs[~mask].any()
            assert after.xs.dtype == np.float32


def test_the_units_of_a_feature_do_not_matter():
    """As if it had been scaled by hand, such as an axis of a sensor that measures gravity."""
    train, test = sequences(50, features=3), sequences(20, features=3)
    units, offsets = np.float32([1, 0.02, 300]), np.float32([0, 9.8, -4000])

    def measured(examples):
        return examples._replace(xs=units * examples.xs + offsets)

    by_hand = scaled(split_of(train, test))
    found = scaled(split_of(measured(train), measured(test)))
    np.testing.assert_allclose(found.test.xs, by_hand.test.xs, atol=2e-3)
    np.testing.assert_allclose(found.train.xs, by_hand.train.xs, atol=2e-3)


def test_a_feature_that_never_changes_becomes_0():
    train, test = sequences(50), sequences(20)
    train.xs[..., 0] = test.xs[..., 0] = 3
    split = scaled(split_of(train, test))
    assert not split.train.xs[..., 0].any()
    assert not split.test.xs[..., 0].any()


def test_permuted_pixels_have_one_order_for_all_images_and_both_sets():
    split = load("digits")
    for pixels, shape in ((False, (8, 8)), (True, (64, 1))):
        train = in_order(split.train, pixels, permuted=True)
        test = in_order(split.test, pixels, permuted=True)
        assert train.xs.shape[1:] == shape
        assert (train.lengths == shape[0]).all()
        before = np.concatenate([split.train.xs, split.test.xs]).reshape(-1, 64).T
        after = np.concatenate([train.xs, test.xs]).reshape(-1, 64).T
        assert (before != after).any()
        assert sorted(map(tuple, before)) == sorted(map(tuple, after))


def test_pixels_keep_what_counts_in_front():
    rows = sequences(5)
    one_by_one = in_order(rows, pixels=True, permuted=False)
    for k, length in enumerate(rows.lengths):
        kept = one_by_one.xs[k, : one_by_one.lengths[k], 0]
        np.testing.assert_array_equal(kept, rows.xs[k, :length].ravel())
    with pytest.raises(ValueError, match="--permuted needs sequences of one length"):
        in_order(rows, pixels=False, permuted=True)


def plain_neighbours(xs, labels, test_xs, classes):
    distances = ((test_xs[:, None] - xs[None]) ** 2).sum((2, 3))
    nearest = np.argsort(distances, 1)[:, :3]
    votes = np.stack([(labels[nearest] == c).sum(1) for c in range(classes)], 1)
    return votes.argmax(1)


def test_the_baselines_are_what_they_are_called():
    train, test = sequences(90), sequences(60)
    for examples in (train, test):  # a class that can be told, but not always
        examples.xs[:, 0, 0] += 2 * examples.labels
    train.labels[:40] = 1
    accuracies = baselines(split_of(train, test))
    assert accuracies["most common class"] == pytest.approx(1 / 3)
    votes = plain_neighbours(train.xs, train.labels, test.xs, 3)
    assert accuracies["3 nearest neighbours"] == pytest.approx((votes == test.labels).mean())
    assert 1 / 3 < accuracies["logistic regression"] < 1


@pytest.mark.parametrize("pooling", ["last", "mean", "attention"])
def test_the_logits_are_a_layer_on_one_vector_for_the_sequence(pooling):
    config = Config(units=5, layers=2, pooling=pooling)
    model = build_model(config, 3, 2)
    params = model.init(jax.random.key(0))
    readout = params.cell._replace(bias=jnp.arange(float(len(params.cell.bias))))
    params = params._replace(cell=readout)
    xs, lengths, _ = sequences(4)
    _, hidden = unroll(model.cell.cell, readout.cell, xs, lengths=lengths, deterministic=True)
    kernel, bias = np.asarray(readout.kernel), np.asarray(readout.bias)
    expected = []
    for h, length in zip(np.asarray(hidden), lengths, strict=True):
        h = h[:length]
        weights = np.full(length, 1 / length)
        if pooling == "last":
            weights = np.eye(length)[-1]
        if pooling == "attention":
            scores = np.exp(h @ kernel[:, -1])
            weights = scores / scores.sum()
        expected.append((weights @ h) @ kernel[:, :3] + bias[:3])
    logits = functools.partial(classify, model, params)
    np.testing.assert_allclose(logits(xs, lengths), expected, rtol=1e-5, atol=1e-6)
    padding = np.arange(6) >= lengths[:, None]
    dirty = np.where(padding[..., None], np.nan, xs)
    np.testing.assert_array_equal(logits(dirty, lengths), logits(xs, lengths))


@pytest.mark.parametrize(
    ("pooling", "cell"),
    [("attention", "rnn"), pytest.param("mean", "lstm", marks=pytest.mark.slow)],
)
def test_every_pooling_and_cell_learns(pooling, cell):
    examples = sequences(60)
    examples.xs[:, 0, 0] += 3 * examples.labels
    config = Config(
        pooling=pooling, cell=cell, units=6, layers=1, dropout=0.1, seeds=2, batch_size=16,
        epochs=8, learning_rate=0.03,
    )  # fmt: skip
    model = build_model(config, 3, 2)
    by_epoch, params = {}, None
    for epoch, losses, after in train(config, model, examples):
        assert losses.shape == (2, 3)
        by_epoch[epoch], params = losses.mean(1), after
    assert [*by_epoch] == list(range(8))
    assert (by_epoch[7] < by_epoch[0] - 0.1).all()
    probabilities = predict(model, params, examples)
    assert probabilities.shape == (2, 60, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


def outcome_of(probabilities, labels):
    test = sequences(len(labels))._replace(labels=np.array(labels, np.int32))
    seeds = len(probabilities)
    epochs = [Epoch(np.full(seeds, 1.0), np.full(seeds, 0.5)) for _ in range(2)]
    known = {"most common class": 0.5, "logistic regression": 1.0, "3 nearest neighbours": 0.9}
    return Outcome(split_of(sequences(9), test), known, epochs, np.array(probabilities), 1.0)


def test_the_report_counts_what_was_taken_for_what():
    likely = {0: [0.8, 0.1, 0.1], 1: [0.2, 0.5, 0.3], 2: [0.0, 0.1, 0.9]}
    predictions = [[0, 1, 2, 2], [0, 1, 1, 0]]
    probabilities = [[likely[c] for c in seed] for seed in predictions]
    outcome = outcome_of(probabilities, labels=[0, 1, 2, 0])
    np.testing.assert_array_equal(outcome.accuracies, [0.75, 0.75])
    np.testing.assert_array_equal(outcome.confusion, [[3, 0, 1], [0, 2, 0], [0, 1, 1]])
    # [0.2, 0.5, 0.3] and [0, 0.1, 0.9] mean 2; [0, 0.1, 0.9] and [0.8, 0.1, 0.1] mean 2, wrongly
    assert outcome.joint_accuracy == 0.75
    assert result(outcome)["test_accuracy"]["all_seeds_together"] == 0.75
    console = Console(width=80, record=True)
    console.print(result_table(outcome))
    text = console.export_text()
    assert re.search(r"network, 2 seeds\s+75.00%\s+75.00%\s+75.00%\s+1 to 1", text)
    assert re.search(r"logistic regression\s+100.00%\s+0", text)
    titles = [axes.get_title() for axes in misread(outcome).axes]
    assert titles[:2] == ["2, read as 1\nby 1 of 2", "0, read as 2\nby 1 of 2"]
    (axes, _) = confusion_matrix(outcome).axes
    assert axes.get_title() == "2 errors of 2 seeds on 4 examples each"


def test_the_figures_bear_no_error_at_all(tmp_path):
    outcome = outcome_of([np.eye(3)[[0, 1, 2]]], labels=[0, 1, 2])
    outcome.epochs[-1] = Epoch(np.zeros(1), np.ones(1))
    for draw in (learning_curves, confusion_matrix, misread):
        draw(outcome).savefig(tmp_path / "figure.png")


def test_series_are_drawn_as_lines_and_images_as_images():
    outcome = outcome_of([np.eye(3)[[1, 2, 0]]], labels=[0, 1, 2])
    test = outcome.split.test
    drawn = misread(outcome).axes[:3]
    assert not any(axes.images for axes in drawn)
    for axes, xs, length in zip(drawn, test.xs, test.lengths, strict=True):
        shown = np.stack([line.get_ydata() for line in axes.lines], 1)
        np.testing.assert_array_equal(shown, xs[:length])
    images = dataclasses.replace(outcome, split=dataclasses.replace(outcome.split, images=True))
    for axes, xs, length in zip(misread(images).axes[:3], test.xs, test.lengths, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), xs[:length])
        assert not axes.lines


@pytest.mark.parametrize("classes", [3, 30])
def test_figures_call_classes_by_their_names(classes):
    names = [f"species {n}" if n else "a very long name of a species" for n in range(classes)]
    outcome = outcome_of([np.eye(classes)[[1, 2, 0]]], labels=[0, 1, 2])
    split = named(
        dataclasses.replace(outcome.split, classes=tuple(map(str, range(classes)))), names
    )
    outcome = dataclasses.replace(outcome, split=split)
    assert result(outcome)["split"]["classes"] == tuple(names)
    axes = confusion_matrix(outcome).axes[0]
    for ticks in (axes.get_xticklabels(), axes.get_yticklabels()):
        shown = [label.get_text() for label in ticks]
        assert shown == ["a very long name of\N{HORIZONTAL ELLIPSIS}", *names[1:]]
    titles = [axes.get_title() for axes in misread(outcome).axes]
    assert titles[1] == "species 1,\nread as species 2\nby 1 of 1"


@pytest.fixture
def records(tmp_path):
    """Make a data set of these labels, and of sequences of these lengths."""

    def make(labels, lengths, width=2):
        dtype = bytes if isinstance(labels[0], bytes) else np.int64
        schema = Schema({"y": Feature(dtype)}, {"x": Feature(np.float32, (width,))})
        examples = (
            {"y": label, "x": np.zeros((length, width), np.float32)}
            for label, length in zip(labels, lengths, strict=True)
        )
        write(tmp_path / "records", schema, examples)
        return str(tmp_path / "records")

    return make


def test_classes_of_records_are_texts_or_numbers_that_are_given_names(records):
    lengths = [3, 4] * 10
    split = load(records([b"bee", b"ant"] * 5 + [b"bee", "w\u00e1sp".encode()] * 5, lengths))
    assert split.classes == ("ant", "bee", "w\u00e1sp")
    assert np.bincount(np.concatenate([split.train.labels, split.test.labels])).tolist() == [
        5,
        10,
        5,
    ]
    with pytest.raises(ValueError, match="the names ant, bee, w\u00e1sp; omit --classes"):
        named(split, ["a", "b", "c"])
    split = load(records([0, 1] * 10, lengths))
    assert split.classes == ("0", "1")
    assert named(split, ["ant", "bee", "wasp"]).classes == (
        "ant",
        "bee",
    )  # the last is in no record
    for names in (["ant"], ["ant", "ant"]):
        with pytest.raises(ValueError, match="must name each of the 2 classes once"):
            named(split, names)


@pytest.mark.parametrize(
    ("lengths", "width", "images"),
    [([3] * 20, 3, True), ([3, 2] * 10, 3, False), ([3] * 20, 2, False), ([1] * 20, 1, False)],
)
def test_square_records_are_taken_for_images(records, lengths, width, images):
    assert load(records([0, 1] * 10, lengths, width)).images == images


def test_mnist_comes_from_tensorflow_datasets(monkeypatch, fails):
    images = RNG.integers(0, 255, (40, 28, 28, 1)).astype(np.uint8)
    labels = np.arange(40) % 10
    pairs = [(images[:30], labels[:30]), (images[30:], labels[30:])]
    monkeypatch.setattr(tensorflow_datasets, "load", lambda name, **options: pairs)
    stored, split, _ = prepare(Config(dataset="mnist", batch_size=10))
    assert stored.train.xs.shape == (30, 28, 28)
    assert split.test.xs.shape == (10, 28, 28)
    np.testing.assert_array_equal(stored.test.xs, images[30:, ..., 0])
    np.testing.assert_array_equal(stored.test.labels, labels[30:])

    def offline(name, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(tensorflow_datasets, "load", offline)
    fails("cannot load it: no network. It needs TensorFlow", "--dataset", "mnist")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pooling", "max"], "invalid choice"),
        (["--units", 0], "--units must be a whole number of at least 1, got 0"),
        (["--batch-size", -5], "--batch-size must be a whole number"),
        (["--batch-size", 1438], "--batch-size 1438 is more than the 1437 examples"),
        (["--dropout", 1], "--dropout must be a probability in [0, 1), got 1"),
        (["--learning-rate", "nan"], "--learning-rate must be a positive finite number, got nan"),
        (["--seed", -1], "--seed must lie in [0, 2**31), got -1"),
        (["--classes", "zero", "one"], "--classes must name each of the 10 classes once, got 2"),
        (["--noise", -1], "--noise must be a finite number of at least 0, got -1"),
        (["--bidirectional"], "--bidirectional needs --pooling mean or attention"),
        (["--embedding", 4], "--embedding reads features of records, but --dataset is digits"),
        (["--embedding", 4, "--join", 2], "--join changes numbers, but --embedding reads tokens"),
        (["--validation", 1], "--validation must be a probability in [0, 1), got 1"),
        (["--label", "y"], "--inputs and --label name features of records, but --dataset is dig"),
        (["--out", "/dev/null/x"], "cannot create this folder"),
    ],
)
def test_a_bad_option_ends_with_code_2_and_says_why(
    fails, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    fails(message, *arguments)
    assert not [*tmp_path.iterdir()]  # a start that fails takes no folder


@pytest.mark.slow
def test_the_network_of_the_article_reads_the_digits():
    config = Config(seeds=2)
    _, split, _ = prepare(config)
    model = build_model(config, 10, 8)
    *_, (_, _, params) = train(config, model, split.train)
    predictions = predict(model, params, split.test).argmax(-1)
    assert (predictions == split.test.labels).mean() > 0.97


@pytest.mark.slow
def test_records_of_any_length_are_read_from_their_own_features(main, fails, tmp_path):
    schema = Schema(
        context={"y": Feature(np.int32), "writer": Feature(np.int64)},
        sequence={"strokes": Feature(np.float32, (2, 2)), "pen": Feature(np.uint8)},
    )
    _, lengths, labels = sequences(60, classes=2)
    examples = [
        {
            "y": label,
            "writer": 7,
            "strokes": (RNG.normal(size=(length, 2, 2)) + 4 * label - 2).astype(np.float32),
            "pen": np.zeros(length, np.uint8),
        }
        for length, label in zip(lengths, labels, strict=True)
    ]
    records = tmp_path / "records"
    write(records, schema, examples, shards=2)
    split = load(str(records), "strokes", "y")
    both = [np.concatenate(pair) for pair in zip(split.train, split.test, strict=True)]
    assert both[0].shape == (60, lengths.max(), 4)
    found = {tuple(xs[:length].ravel()): label for xs, length, label in zip(*both, strict=True)}
    assert found == {tuple(e["strokes"].ravel()): e["y"] for e in examples}
    # a file does not say what is in it, but its first records do
    with pytest.raises(ValueError, match="--inputs must name one sequence feature"):
        load(str(records / "*.tfrecord"), "ink", "y")

    named = ["--dataset", records, "--inputs", "strokes", "--label", "y"]
    small = ["--units", 8, "--layers", 1, "--seeds", 2, "--batch-size", 8]
    main(*named, *small, "--epochs", 10, "--learning-rate", 0.02, "--out", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert written["split"]["test"] == 12
    assert written["test_accuracy"]["min"] == 1
    assert np.shape(written["scale"]["mean"]) == np.shape(written["scale"]["deviation"]) == (4,)

    fails("from ['pen', 'strokes']", "--dataset", records, "--out", tmp_path / "a")
    fails("got 'ink'", "--dataset", records, "--inputs", "ink", "--out", tmp_path / "b")
    fails("from ['writer', 'y']", "--dataset", records, "--inputs", "pen", "--out", tmp_path / "c")
    fails("needs sequences of one length", *named, *small, "--permuted", "--out", tmp_path / "d")
    fails("no such file", "--dataset", tmp_path / "none", "--out", tmp_path / "e")
    write(records, schema, [{**examples[0], "strokes": np.zeros((0, 2, 2)), "pen": []}])
    fails("1 of 1 have none", *named, "--out", tmp_path / "f")
    write(records, schema, [{**example, "y": -1} for example in examples])
    fails("counted from 0", *named, "--out", tmp_path / "g")
    write(records, schema, [{**e, "y": int(k == 0)} for k, e in enumerate(examples)])
    fails("give more examples of each class", *named, "--out", tmp_path / "h")
