"""How a run of the character model stops, is killed, and is extended."""

import contextlib
import dataclasses
import errno
import functools
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from experiments.char_model.train import learning_rate
from experiments.char_model.trained import read_config
from experiments.errors import StoppedError
from experiments.run_directory import RunDirectory
from experiments.stop import on_signals
from seqjax.checkpoint import Checkpoints
from tests.experiments.small_char_model import OPTIONS, SMALL, TEXT, parameters, shell, train
from tests.processes import QUICKLY, Process, ends, outputs


@pytest.fixture(autouse=True)
def _compile_quickly(monkeypatch):
    """In the processes that a test starts."""
    for name, value in QUICKLY.items():
        monkeypatch.setenv(name, value)


def test_a_signal_stops_what_changes_nothing_at_once():
    def interrupted(number):
        with stop.at_once():
            os.kill(os.getpid(), number)
            pytest.fail("the signal must interrupt the block")

    def ignored(number):
        with stop.at_once(), contextlib.suppress(StoppedError):  # as callbacks of C code do
            os.kill(os.getpid(), number)

    def before(number):
        os.kill(os.getpid(), number)  # only recorded
        with stop.at_once():
            pytest.fail("the block must not start")

    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        for act in (interrupted, ignored, before):
            with on_signals() as stop, pytest.raises(StoppedError, match=number.name):
                act(number)
            assert signal.getsignal(number) is handler


def test_a_second_interrupt_has_its_usual_effect(sigint_handled):
    with on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_sigterm_does_not_interrupt_the_save():
    with on_signals() as stop:
        with pytest.raises(StoppedError, match="SIGTERM"), stop.at_once():
            os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(2):  # while the state is saved
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.name == "SIGTERM"


@pytest.mark.slow
def test_a_run_that_has_ended_is_extended(corpus, tmp_path, refused, command, capsys):
    out = tmp_path / "run"
    # epochs take the place of the seconds of the preset
    command("train", "--corpus", corpus, *OPTIONS, "--epochs", 1, "--out", out)
    chunks = (int(0.9 * len(TEXT)) - 1) // 4 // 10

    def state():
        config = json.loads((out / "config.json").read_text())
        steps = json.loads((out / "result.json").read_text())["steps"]
        records = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
        evaluated = [record["step"] for record in records if "validation_nats" in record]
        return config["epochs"], config["max_seconds"], steps, evaluated

    half = -(-chunks // 2)
    assert state() == (1.0, None, chunks, [half, chunks])
    before = state()
    for options, message in (
        (["--epochs", "1", "--units", "9"], "got --units 9; start a new run"),
        (["--seed=1", "--no-locked", "--bytes"], "got --bytes True, --seed 1; start a new run"),
        (["--preset", "best"], "--preset sets the options of a new run"),
        (["--out", tmp_path / "other"], "--out names a new folder"),
        (["--epochs=0.5"], "has trained 1 epochs in"),
        (["--max_seconds", "1e-3"], "give more --epochs or --max-seconds"),
        (["--epochs", "2", "--max-seconds", "9"], "give one of them"),
    ):
        refused(message, "train", "--resume", out, *options)
        refused(message, "train", f"--resume={out}", *options)
        assert state() == before
    command("train", "--resume", out)  # nothing is left to do, which it says
    assert "more --epochs or --max-seconds extend it" in " ".join(capsys.readouterr().out.split())
    assert state() == before
    command("train", f"--resume={out}", "--epochs=2")
    assert state() == (2.0, None, 2 * chunks, [half, chunks, 2 * chunks])
    command("train", "--resume", out, "--epochs", 4)
    assert state() == (4.0, None, 4 * chunks, [half, chunks, 2 * chunks, 4 * chunks])


@pytest.mark.slow
def test_an_extended_run_follows_the_longer_schedule(corpus, tmp_path):
    config = dataclasses.replace(SMALL, corpus=corpus, epochs=1)
    folder = RunDirectory("char_model", config, tmp_path / "run")
    train(config, folder)
    longer = dataclasses.replace(config, epochs=2)
    train(longer, RunDirectory.reopen(folder.path))
    records = map(json.loads, (folder.path / "metrics.jsonl").read_text().splitlines())
    rates = {r["step"]: r["learning_rate"] for r in records if "learning_rate" in r}
    steps = max(rates)
    for step, rate in rates.items():
        of = config if step <= steps / 2 else longer
        expected = learning_rate(of, step, step / (steps / 2 if of is config else steps))
        assert rate == pytest.approx(expected)


@pytest.mark.slow
def test_a_run_is_extended_by_the_clock(corpus, tmp_path):
    config = dataclasses.replace(SMALL, corpus=corpus, max_seconds=1e-3)
    folder = RunDirectory("char_model", config, tmp_path / "run")
    first = train(config, folder)
    longer = dataclasses.replace(config, max_seconds=first["train_seconds"] + 0.05)
    second = train(longer, RunDirectory.reopen(folder.path))
    assert second["steps"] > first["steps"]
    with pytest.raises(ValueError, match="leaves nothing to train; give more --epochs or --max-s"):
        train(config, RunDirectory.reopen(folder.path))
    assert read_config(folder.path) == longer


def test_a_run_in_another_thread_catches_no_signals():
    with ThreadPoolExecutor() as pool:
        pool.submit(lambda: on_signals().__enter__()).result().check()


FULL_DISK = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
sys.argv[0] = "char_model"
runpy.run_module("experiments.char_model", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_where_a_checkpoint_cannot_be_written_the_run_says_so_and_goes_on_from_the_one_before(
    corpus, tmp_path
):
    out = tmp_path / "run"
    options = ("--corpus", corpus, "--units", 128, "--batch-size", 8, "--num-steps", 8,
               "--max-seconds", "None", "--epochs", 2, "--evaluations", 2)  # fmt: skip
    train = shell("train", *options, "--out", out)
    process = subprocess.Popen(train, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (out / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.05)
    process.terminate()  # it saves before it ends
    process.communicate(timeout=120)
    with Checkpoints(out / "checkpoints") as checkpoints:
        before = checkpoints.steps()
    full = [sys.executable, "-c", FULL_DISK, "20000", "train", "--resume", str(out)]
    done = subprocess.run(full, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    # what of orbax writes in the background may complain before it, after it, and on its line
    assert done.stderr.count("error: ") == 1, done.stderr
    message = done.stderr.partition("error: ")[2]
    assert message.startswith("the checkpoint of step")
    assert "earlier checkpoints are intact" in message.partition("\n")[0]
    with Checkpoints(out / "checkpoints") as checkpoints:
        assert checkpoints.steps() == before
    subprocess.run(shell("train", "--resume", out), check=True, capture_output=True)
    assert (out / "result.json").exists()


@pytest.mark.slow
def test_where_the_log_cannot_be_written_one_line_names_the_file(corpus, tmp_path):
    out = tmp_path / "run"
    options = (*OPTIONS, "--corpus", corpus, "--epochs", 40, "--evaluations", 1, "--out", out)
    full = [sys.executable, "-c", FULL_DISK, "3000", "train", *map(str, options)]
    done = subprocess.run(full, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    path = out / "metrics.jsonl"
    assert done.stderr == f"error: [Errno {errno.EFBIG}] File too large: '{path}'\n"


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_in_the_same_parameters(tmp_path):
    """SIGKILL at 4 random moments of the start, the steps and a save, and SIGTERM at another."""
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT * 20)
    options = ("--corpus", path, "--units", 16, "--batch-size", 8, "--num-steps", 16, "--ngrams",
               "none", "--epochs", 8, "--max-seconds", "None", "--evaluations", 40)  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    begin = functools.partial(Process, "-m", "experiments.char_model", "train")
    outputs([begin(*options, "--out", whole)])
    draw = random.Random(0)
    for attempt in range(5):
        process = begin(*(("--resume", killed) if attempt else (*options, "--out", killed)))
        shown = "writing files" if attempt == 0 else "validation loss"
        process.wait_until(lambda process: shown in process.out)  # noqa: B023, used at once
        time.sleep(draw.uniform(0, 0.1))
        last = attempt == 4
        process.send_signal(signal.SIGTERM if last else signal.SIGKILL)
        ((code, out, error),) = ends([process])
        assert (code, error) == (0 if last else -signal.SIGKILL, ""), out
        assert not (killed / "result.json").exists()
    outputs([begin("--resume", killed)])
    (expected, step), (actual, last) = parameters(whole), parameters(killed)
    assert step == last
    jax.tree.map(np.testing.assert_array_equal, actual, expected)
