"""The character model trains the same in one process and in several, which end together."""

import functools
import json
import os
import pathlib
import random
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from experiments.char_model.trained import load
from tests.processes import JOIN, Process, ends, free_port, results, together

STEPS = (
    JOIN
    + """
import jax, numpy as np
start()
from experiments.char_model.config import Config, build_model
from experiments.char_model.train import Rows, init_state, make_block, spread, spread_block
from seqjax.devices import data_mesh
class Seen(np.ndarray):
    def __getitem__(self, index):
        if isinstance(index, slice):
            seen.add((index.start, index.stop))
        return super().__getitem__(index)
seen = set()
config = Config(cell="gru", units=8, embedding_size=4, batch_size=8, num_steps=10, average=0.9,
                output_dropout=0.2, recurrent_dropout=0.1, weight_dropout=0.1, fresh_state=0.2)
text = np.random.default_rng(0).integers(0, 7, (8, 201)).astype(np.uint8)
rows = Rows(text[:, :-1].view(Seen), text[:, 1:].view(Seen))
model, mesh = build_model(config, 7), data_mesh(8)
block, state, losses = make_block(config, model, mesh), None, []
state = spread(mesh, init_state(config, model))
for step in range(0, 50, 10):
    data = spread_block(mesh, config, rows, step, 10)
    state, more = block(state, data, np.full(10, 0.01, np.float32), np.int32(10))
    losses += np.asarray(more).tolist()
leaves = [np.asarray(a).ravel().tolist() for a in jax.tree.leaves((state.params, state.average))]
result = {"losses": losses, "leaves": sum(leaves, []), "read": sorted(seen), "size": mesh.size}
print(json.dumps(result))
"""
)


steps = functools.partial(together, "-c", STEPS)


def check(found, expected):
    for name in ("losses", "leaves"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_and_read_their_own_rows():
    alone, first, second = results([*steps(processes=1, devices=2), *steps(processes=2)])
    assert first["size"] == alone["size"] == 2
    assert first["losses"] == second["losses"]
    assert first["leaves"] == second["leaves"]
    check(first, alone)
    assert min(first["losses"][-10:]) < first["losses"][0]
    assert [0, 0] in first["read"]  # of no row: the places alone
    assert [read for read in first["read"] if read[1]] == [[0, 4]]
    assert [read for read in second["read"] if read[1]] == [[4, 8]]


@pytest.mark.slow
def test_up_to_four_processes_and_devices_take_the_steps_of_one():
    (one,) = results(steps(processes=1))
    assert one["size"] == 1
    for processes, devices in ((1, 4), (2, 2), (4, 1)):
        found = results(steps(processes=processes, devices=devices))
        assert {result["size"] for result in found} == {4}
        for result in found:
            check(result, one)


OPTIONS = ("--cell", "gru", "--units", 16, "--layers", 1, "--batch-size", 8, "--num-steps", 16,
           "--fresh-state", 0, "--max-seconds", "None", "--evaluations", 2)  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("the quick brown fox jumps over the lazy dog. " * 600)
    return path


TRAIN = ("-m", "experiments.char_model", "train")


def run(*arguments, processes=2, **variables):
    """Run ``train`` in processes that the launcher starts."""
    launch = ("-m", "seqjax.launch", "--processes", processes)
    started = Process(*launch, *TRAIN, *arguments, **variables)
    ((code, out, error),) = ends([started], timeout=300)
    assert (code, error) == (0, "")
    return out


def separately(*arguments, own=lambda process: ()):
    """Start ``train`` in two processes that find each other by options."""
    options = ("--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2, "--process")
    return [Process(*TRAIN, *arguments, *options, n, *own(n)) for n in range(2)]


KILLED = """
import functools, sys
sys.modules["torch"] = None  # tensorboardX would import it, which takes long
import experiments.event_log
del sys.modules["torch"]
from experiments.char_model import __main__, run
run.Checkpoints = functools.partial(run.Checkpoints, background={background})
__main__.main()
"""


def incomplete(folder):
    """Whether the last save is not complete."""
    return any("tmp" in path.name for path in (folder / "checkpoints").glob("*"))


def kill(attempt, draw, folder, *given, **variables):
    """Start ``train`` by the launcher, and kill a process; the launcher ends the other one.

    Six attempts have each moment, with saves in the background and without.
    """
    moment = ("save", "start", "steps")[attempt % 3]
    command = ("-c", KILLED.format(background=attempt % 2 == 0), "train", *given)
    launch = ("-m", "seqjax.launch", "--processes", 2)
    launched = Process(*launch, *command, "--lost-after", 3, **variables)
    shown = "writing files" if moment == "start" else "validation loss"
    launched.wait_until(lambda process: shown in process.out)
    until = time.monotonic() + draw.uniform(0, 0.2)
    launched.wait_until(
        lambda _: incomplete(folder) if moment == "save" else time.monotonic() > until
    )
    processes = pathlib.Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text()
    killed = draw.randrange(2)
    os.kill(int(processes.split()[killed]), signal.SIGKILL)
    ((code, _, error),) = ends([launched])
    assert code == 128 + signal.SIGKILL, error
    assert f"process {killed} was ended by SIGKILL; the others are ended" in error


@pytest.mark.slow
def test_six_kills_and_a_signal_change_nothing(corpus, tmp_path):
    """Kill any process at random moments, once in each case of `kill`, and resume each run."""
    options = (*OPTIONS, "--corpus", corpus, "--epochs", 6, "--ngrams", "none", "--evaluations", 30)
    whole, stopped, fewer = tmp_path / "whole", tmp_path / "stopped", tmp_path / "fewer"
    # the first run stores its programs for those that are killed, which store none
    programs = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "programs")}
    least = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
    run(*options, "--out", whole, **programs, **{least: "0"})
    draw, unfinished = random.Random(0), 0
    for attempt in range(6):
        given = ("--resume", stopped) if attempt else (*options, "--out", stopped)
        kill(attempt, draw, stopped, *given, **programs, **{least: "inf"})
        unfinished += incomplete(stopped)
    assert unfinished > 1  # kills during a save

    both = separately("--resume", stopped)
    both[0].wait_until(lambda process: "validation loss" in process.out)
    both[1].send_signal(signal.SIGTERM)
    (code, out, error), second = ends(both)
    assert (code, error) == (0, "")
    assert "stopped by SIGTERM in process 1; resume with" in " ".join(out.split())
    assert second == (0, "", "")
    assert not incomplete(stopped)
    assert not (stopped / "result.json").exists()

    shutil.copytree(stopped, fewer)
    run("--resume", fewer, processes=1)
    assert "on 2 devices of 2 processes" in " ".join(run("--resume", stopped).split())
    found, expected = load(stopped, "last"), load(whole, "last")
    assert found.step == expected.step
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
    one = load(fewer, "last").params
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-3), found.params, one)
    one, two = (json.loads((path / "result.json").read_text()) for path in (fewer, whole))
    assert two["val"]["streaming_nats"] == pytest.approx(one["val"]["streaming_nats"], abs=1e-3)
    assert two["throughput"].keys() == one["throughput"].keys()
    assert len(two["throughput"]["input_wait_seconds"]) == 2
    assert len([*(whole / "tensorboard").iterdir()]) == 1


@pytest.mark.slow
def test_what_one_process_lacks_is_an_error_of_both(corpus, tmp_path):
    options = (*OPTIONS, "--epochs", 1, "--out", tmp_path / "run", "--ngrams", "none")
    other = tmp_path / "other.txt"

    def errors(*arguments, **own):
        found = ends(separately(*options, *arguments, **own))
        assert [code for code, *_ in found] == [2, 2], found
        return [error for *_, error in found]

    for error in errors("--corpus", corpus, own=lambda n: ("--seed", n)):
        assert error.startswith("error: process 1 has --seed 1, but process 0 has 0; start all")
    for error in errors("--corpus", corpus, "--batch-size", 5):
        assert error.startswith("error: the 5 rows of a batch cannot be split between 2 processes")
    # the same path on another host, by an option that is no part of the config
    first, second = errors("--corpus", other)
    assert "other.txt" in first
    assert first.count("\n") == second.count("\n") == 1
    assert not (tmp_path / "run").exists()
