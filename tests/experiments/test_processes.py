"""Experiments give the same results in one process and in several."""

import functools
import itertools
import json
import shutil
import signal

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import shares
from experiments.char_model import trained
from experiments.sequence_classification.trained import load
from seqjax.data.schema import BYTES, Feature, Schema
from seqjax.data.writing import write
from tests.processes import JOIN, Process, ends, outputs, results, together

STEPS = (
    JOIN
    + """
import jax, numpy as np
start()
from rich.console import Console
from experiments.shares import collect, own_share
from experiments.sequence_classification.choice import choose
from experiments.sequence_classification.config import Config
from experiments.sequence_classification.layout import Layout
from experiments.sequence_classification.run import build_model, predict, train
from experiments.sequence_classification.sets import Examples
rng = np.random.default_rng(0)
labels = rng.integers(0, 2, 21).astype(np.int32)
xs = (rng.normal(size=(21, 5, 3)) + labels[:, None, None]).astype(np.float32)
examples = Examples(xs, rng.integers(1, 6, 21).astype(np.int32), labels)
config = Config(units=4, layers=1, seeds=2, batch_size=8, epochs=25, noise=0.1)
model, layout, choice, losses = build_model(config, 2, 3), Layout.of(2, 8), None, []
for epoch, more, params in train(config, model, examples):
    losses += more.T.tolist()
    probabilities = predict(model, params, examples, layout)
    choice = choose(choice, epoch, params, probabilities, labels)
own = [own_share(names) for names in (["rnn", "gru", "lstm"], ["rnn"])]
shares = [collect([name + "!" for name in names], Console(quiet=True)) for names in own]
leaves = [np.asarray(leaf).ravel().tolist() for leaf in jax.tree.leaves((params, choice.params))]
result = {"losses": losses, "leaves": sum(leaves, []), "probabilities": probabilities.tolist()}
result |= {"chosen": choice.epochs.tolist(), "size": layout.mesh.size}
print(json.dumps([own, shares, result]))
"""
)


steps = functools.partial(together, "-c", STEPS)


def check(found, expected):
    for name in ("losses", "leaves", "probabilities"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)
    assert found["chosen"] == expected["chosen"]


@pytest.mark.slow
def test_two_processes_share_trainings_and_train_and_choose_as_one_does():
    found = results([*steps(processes=1, devices=2), *steps(processes=2)])
    own, shares, (alone, first, second) = zip(*found, strict=True)
    assert own == ([["rnn", "gru", "lstm"], ["rnn"]], [["rnn", "lstm"], ["rnn"]], [["gru"], []])
    assert shares == ([["rnn!", "gru!", "lstm!"], ["rnn!"]],) * 3
    assert first == second
    assert first["size"] == alone["size"] == 2
    assert len(first["losses"]) == 50
    check(first, alone)


@pytest.mark.slow
def test_four_devices_of_several_processes_train_as_one_does():
    ((*_, one),) = results(steps(processes=1))
    for processes, devices in ((2, 2), (4, 1)):
        for *_, found in results(steps(processes=processes, devices=devices)):
            assert found["size"] == 4
            check(found, one)


CLASSIFIER = ("sequence_classification", "--layers", 1, "--units", 8, "--epochs", 2, "--seeds", 2,
              "--validation", 0.2)  # fmt: skip
BINARY = ("binary_dependency", "--num-steps", 5, 2, 3, "--seeds", 2, "--sequence-length", 1200,
          "--batch-size", 20)  # fmt: skip
MEMORY = ("memory_tasks", "--tasks", "adding", "--cells", "rnn", "mingru", "--seeds", 2,
          "--units", 4, "--steps", 60, "--lengths", 3, "--longer", 2)  # fmt: skip


CORPUS = "the quick brown fox jumps over the lazy dog. " * 200
CELLS = ("cell_comparison", "--cells", "rnn", "--corpus", "corpus.txt", "--parameters", 2000,
         "--learning-rates", 0.01, 0.003, "--layers", 1)  # fmt: skip


def launched(processes, name, *options, cwd=None):
    """Start an experiment in processes of one device each."""
    launch = [] if processes == 1 else ["-m", "seqjax.launch", "--processes", processes]
    return Process(*launch, "-m", f"experiments.{name}", *options, cwd=cwd)


TIMES = {"wall_seconds", "train_seconds", "seconds", "chars_per_second", "throughput"}


def content(path):
    """The content of a file of results, without times and the name of the folder."""
    if not path.suffix.startswith(".json"):
        return path.read_bytes()
    texts = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()

    def kept(found):
        return {name: value for name, value in found.items() if name not in TIMES | {"out"}}

    return [json.loads(text, object_hook=kept) for text in texts]


def table(printed):
    return printed.partition("\u2500")[2].rpartition("Files in")[0]


def test_processes_without_a_share_are_counted(monkeypatch, capsys):
    shares.announce(Console(), "abc", "settings")
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(jax, "process_count", lambda: 5)
    shares.announce(Console(), "abc", "settings")
    said = "5 processes share 3 settings; process 0 shows its own, and 2 have none\n"
    assert capsys.readouterr().out == said


@pytest.mark.slow
@pytest.mark.parametrize("command", [BINARY, MEMORY])
def test_two_processes_write_the_files_of_one(tmp_path, command):
    one, two = tmp_path / "1", tmp_path / "2"
    running = [launched(n, *command, "--out", path) for n, path in enumerate((one, two), start=1)]
    alone, printed = outputs(running)
    paths = sorted(one.iterdir())
    assert len(paths) == 4
    assert [path.name for path in paths] == sorted(path.name for path in two.iterdir())
    for path in paths:
        assert content(path) == content(two / path.name), path.name
    assert printed.startswith("2 processes share ")
    assert table(printed) == table(alone)


SWEEP = (
    JOIN
    + """
start()
import dataclasses, pathlib
from experiments.cell_comparison import experiment
from experiments.cell_comparison.config import Config
from experiments.run_directory import RunDirectory
class ByEpochs(Config):
    def run(self, cell, units, learning_rate, seed=0):
        run = super().run(cell, units, learning_rate, seed)
        small = {"batch_size": 8, "num_steps": 20, "evaluations": 2, "validation": 0.2}
        return dataclasses.replace(run, max_seconds=None, epochs=1, **small)
config = ByEpochs(
    ("rnn",), sys.argv[2], 2000, learning_rates=(1e-2, 3e-3, 1e30), layers=1, embedding_size=4
)
experiment.main(config, RunDirectory("cell_comparison", config, pathlib.Path(sys.argv[1])))
"""
)


@pytest.mark.slow
def test_two_processes_compare_cells_as_one_does(tmp_path):
    """Each training runs in one process, which saves alone; one of the trainings diverges."""
    corpus = tmp_path / "corpus.txt"
    corpus.write_text(CORPUS[:900])
    folders = tmp_path / "1", tmp_path / "2"
    started = [
        together("-c", SWEEP, out, corpus, processes=n) for n, out in enumerate(folders, start=1)
    ]
    ended = ends([*itertools.chain(*started)], timeout=200)
    assert [code for code, *_ in ended] == [0] * 3, ended
    assert [error for *_, error in ended] == [""] * 3
    _, (_, printed, _), (_, silent, _) = ended
    assert printed.startswith("2 processes share 3 trainings; process 0 shows its own")
    assert silent == ""
    one, two = folders
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    for name in (
        "result.json",
        "metrics.jsonl",
        "rnn_0.003_0/result.json",
        "rnn_0.003_0/metrics.jsonl",
    ):
        assert content(one / name) == content(two / name), name
    losses = [found["streaming_nats"] for found in content(two / "metrics.jsonl")]
    assert losses[2] is None
    assert content(two / "result.json")[0]["cells"][0]["streaming_nats"]["mean"] == min(losses[:2])
    models = (trained.load(folder / "rnn_0.003_0").params for folder in folders)  # of process 1
    jax.tree.map(np.testing.assert_array_equal, *models)


LABELLING = (
    JOIN
    + """
start()
import pathlib, numpy as np
from experiments.run_directory import RunDirectory
from experiments.sequence_labelling import experiment, lookahead, truecasing
from experiments.sequence_labelling.config import Config, Lookahead, Truecasing
def numbers(network, seeds, *shape):
    rngs = [np.random.default_rng([seed, int(network.bidirectional), *shape]) for seed in seeds]
    return np.stack([rng.random(shape, np.float32) for rng in rngs])
def train(config, network, seeds):
    for n in range(2):
        yield seeds, numbers(network, seeds, lookahead.BLOCK, n + 1)[..., 0]
def evaluate(config, network, seeds, params):
    return numbers(network, params)
def steps(config, network, seeds, source, vocabulary_size):
    assert vocabulary_size == 10
    total = config.epochs * truecasing.steps_per_epoch(config, source.lengths)
    for n in range(total):
        yield np.array(seeds), numbers(network, seeds, n + 1).mean(1)
def predict(network, params, source):
    return numbers(network, params, source.lengths.sum())
lookahead.train, lookahead.evaluate = train, evaluate
truecasing.train, truecasing.predict = steps, predict
out, corpus = pathlib.Path(sys.argv[1]), sys.argv[2]
for task in (Lookahead(seeds=3), Truecasing(corpus, longest=9, batch_steps=20, seeds=3)):
    folder = RunDirectory("sequence_labelling", task, out / type(task).__name__)
    gather("all have checked that the folder is new")
    experiment.main(Config(task), folder)

from seqjax.data.records import RecordSource
from experiments.sequence_classification import records
payloads, read = RecordSource._payloads, []
def counted(source, indices):
    read.append(len(indices))
    return payloads(source, indices)
RecordSource._payloads = counted
found = [records.read(pathlib.Path(corpus).parent / "tokens", tokens=True)]
found.append(records.read(pathlib.Path(corpus).parent / "tokens" / "*.tfrecord", tokens=True))
whole = [[a.tolist() for a in each.examples] + [each.classes] for each in found]
try:
    records.read(pathlib.Path(corpus).parent / "damaged", tokens=True)
except ValueError as error:
    print(json.dumps([read, whole, str(error)]))
"""
)


def of_all(printed):
    """What does not depend on the number of processes."""
    return [
        line for line in printed.splitlines() if "━" not in line and "processes share" not in line
    ]


def check_records(alone, first, second):
    (read, (written, other), problem), big = alone, 2**40
    assert read == [5, 5, 5]
    # without the index of the first data set, all processes read all records
    assert (first[0], second[0]) == ([3, 5, 3], [2, 5, 2])
    assert "record 4" in problem
    assert (first[2], second[2]) == (f"process 1: {problem}", problem)
    assert first[1] == second[1] == [written, other]
    xs, lengths, labels, classes = written
    assert xs == [[big + n] * (n + 1) + [0] * (4 - n) for n in range(5)]
    assert lengths == [1, 2, 3, 4, 5]
    assert [classes[label] for label in labels] == ["no", "yes", "no", "yes", "no"]


@pytest.mark.slow
def test_two_processes_share_seeds_and_records(tmp_path):
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("Anna met Bob\nbob:\n" * 30)
    texts, tokens = Feature(BYTES), Feature(np.int64)
    examples = ({"is": (b"no", b"yes")[n % 2], "x": [2**40 + n] * (n + 1)} for n in range(5))
    write(tmp_path / "tokens", Schema(context={"is": texts}, sequence={"x": tokens}), examples)
    shutil.copytree(tmp_path / "tokens", tmp_path / "damaged")
    (path,) = (tmp_path / "damaged").glob("*.tfrecord")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    folders = tmp_path / "1", tmp_path / "2"
    started = [
        together("-c", LABELLING, out, corpus, processes=n)
        for n, out in enumerate(folders, start=1)
    ]
    ended = ends([*itertools.chain(*started)], timeout=200)
    assert [code for code, *_ in ended] == [0] * 3, ended
    (alone, first), (printed, second), (silent, third) = (
        out.rstrip().rpartition("\n")[::2] for _, out, _ in ended
    )
    assert printed.count("2 processes share 6 trainings") == 2
    assert of_all(printed.replace(*map(str, reversed(folders)))) == of_all(alone)
    assert silent == ""
    check_records(*map(json.loads, (first, second, third)))
    one, two = (sorted(folder.glob("*/*.*")) for folder in folders)
    assert [path.name for path in one] == [path.name for path in two]
    assert len(one) == 8
    for path, other in zip(one, two, strict=True):
        assert content(path) == content(other), path


@pytest.mark.slow
def test_a_used_folder_is_one_line_of_each_process(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    ((code, _, error),) = ends([launched(2, *BINARY, "--out", tmp_path)])
    assert code == 2
    assert "this folder holds files; name a new folder" in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_a_signal_ends_all_processes(tmp_path):
    (tmp_path / "corpus.txt").write_text(CORPUS)
    run = tmp_path / "run"
    process = launched(2, *CELLS, "--seconds", 100, "--out", run, cwd=tmp_path)
    process.wait_until(lambda _: len([*run.glob("*/metrics.jsonl")]) == 2)
    process.send_signal(signal.SIGTERM)
    ((code, _, error),) = ends([process])
    assert code == 128 + signal.SIGINT
    assert f"stopped; the results so far are in {run}" in error
    assert "Traceback" not in error
    assert not (run / "result.json").exists()
    saved = {path.parents[1] for path in run.glob("*/checkpoints/*") if path.name.isdigit()}
    assert len(saved) == 2  # of each process, although one ends before the other
    for training in saved:
        assert {*trained.verify(training).values()} == {None}


FULL = (
    JOIN
    + """
import pathlib, time
from experiments import command_line
from experiments.cell_comparison.config import Config
out = pathlib.Path(sys.argv[1])
def train(*_, **__):
    import jax
    if jax.process_index():
        raise OSError("disk full")
    time.sleep(100)
from experiments.cell_comparison import experiment
experiment.train = train
command_line.run_options(
    "cell_comparison", Config(("rnn",), sys.argv[2], out=out), Hosts(lost_after=1), True
)
"""
)


@pytest.mark.slow
def test_an_error_of_a_training_ends_all_processes(tmp_path):
    (tmp_path / "corpus.txt").write_text(CORPUS)
    started = together("-c", FULL, tmp_path / "run", tmp_path / "corpus.txt", processes=2)
    (code, _, lost), (own, _, error) = ends(started)
    assert (own, error) == (1, "error: disk full\n")
    assert code == 1
    assert lost.startswith("process 0: process 1 has failed: OSError: disk full")


@pytest.mark.slow
def test_process_0_writes_the_files_of_a_run(tmp_path):
    one, two = tmp_path / "1", tmp_path / "2"
    running = [launched(n, *CLASSIFIER, "--out", out) for n, out in enumerate((one, two), start=1)]
    alone, printed = outputs(running)
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    (found,), (expected,) = content(two / "result.json"), content(one / "result.json")
    assert found["chosen_epochs"] == expected["chosen_epochs"]
    assert found["test_accuracy"] == expected["test_accuracy"]
    assert table(printed) == table(alone)
    stored, fewer = (load(path).params for path in (two, one))
    np.testing.assert_allclose(stored.cell.kernel, fewer.cell.kernel, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_rows_that_processes_cannot_share_are_one_line_of_each(tmp_path):
    ((code, _, error),) = ends(
        [launched(2, *CLASSIFIER, "--batch-size", 5, "--out", tmp_path / "run")]
    )
    assert code == 2
    assert "error: the 5 rows of a batch cannot be split between 2 processes" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()
