"""The experiment as a user runs it: files, table, errors, and what theory says of the cells."""

import functools
import json
import re

import jax
import numpy as np
import pytest

from experiments.cells import NAMES
from experiments.memory_tasks import experiment
from experiments.memory_tasks.experiment import Config, Trial
from experiments.memory_tasks.report import AT_CHANCE, PUBLISHED, SOLVED, copy_chance, verdict

KEY = jax.random.key(0)


@pytest.fixture
def main(run_module):
    return functools.partial(run_module, experiment)


def test_a_run_writes_every_file_and_prints_the_tables(main, tmp_path, capsys):
    out = tmp_path / "new"
    main(
        "--tasks", "adding", "--cells", "mingru", "--lengths", 3, "--longer", 2, "--seeds", 2,
        "--units", 2, "--steps", 60, "--out", out,
    )  # fmt: skip
    names = ["config.json", "metrics.jsonl", "result.json", "success_over_length.png"]
    assert sorted(path.name for path in out.iterdir()) == names

    result = json.loads((out / "result.json").read_text())
    (run,) = result["runs"]
    assert (run["task"], run["length"], run["cell"], run["steps"]) == ("adding", 3, "mingru", 60)
    assert (run["chance"], run["optimum"]) == (pytest.approx(1 / 6), 0)
    assert [test["length"] for test in run["tests"]] == [3, 6]
    for test in run["tests"]:
        loss = test["loss"]
        assert len(set(loss["per_seed"])) == 2
        assert loss["min"] <= loss["mean"] <= loss["max"]
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in metrics] == [50, 60, 60, 60]
    assert [record.get("tested_at") for record in metrics] == [None, None, 3, 6]
    printed = capsys.readouterr().out
    assert re.search(r"adding +3 +mingru +0\.1667", printed)
    assert re.search(r"copy +1000 +lstm +0\.0204 +0\.0204 +at chance", printed)
    assert max(map(len, printed.splitlines())) <= 80


def test_the_verdicts():
    assert verdict(np.array([0.01, 0.02]), 0.5) == "solved"
    assert verdict(np.array([0.48, np.nan, 3.0]), 0.5) == "at chance"
    assert verdict(np.array([0.2, 0.4]), 0.5) == "between"
    assert verdict(np.array([0.01, 0.4, 0.5]), 0.5) == "1 solved, 1 at chance"


def test_published_losses_that_are_at_chance_are_called_so():
    called = {(row.task, row.cell): verdict(np.array([row.loss]), row.chance) for row in PUBLISHED}
    assert called.pop(("adding", "gru")) == "solved"
    assert set(called.values()) == {"at chance"}
    assert copy_chance(1000) == pytest.approx(10 * np.log(8) / 1020)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cells", "transformer"], "transformer is unknown; give one of rnn, gru, lstm, "),
        (["--tasks", "sorting"], "invalid choice"),
        (["--tasks", "copy", "copy"], "--tasks must hold at least one name and no name twice"),
        (["--seeds", "0"], "--seeds must be a whole number of at least 1, got 0"),
        (["--steps", "0"], "--steps must be a whole number of at least 1, got 0"),
        (["--longer", "0"], "--longer must be a whole number of at least 1, got 0"),
        (["--learning-rate", "nan"], "--learning-rate must be a positive finite number, got nan"),
        (["--seed", "-1"], "--seed must lie in [0, 2**31)"),
        (["--tasks", "adding", "--lengths", "1"], "length must be at least 2"),
        (["--tasks", "recall", "--lengths", "10"], "length must be at most keys=26"),
    ],
)
def test_a_bad_option_ends_with_code_2_and_says_why(main, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(*arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert message in re.sub(r"[\s│]+", " ", captured.err + captured.out)


@pytest.mark.slow
@pytest.mark.parametrize("cell", NAMES)
def test_every_cell_fits_every_task(cell):
    for task, _, _, _ in experiment.TASKS.values():
        model = experiment.build_model(Config(layers=2), cell, task)
        loss = functools.partial(experiment.mean_loss, model, task, 5, 2, True)
        params = jax.eval_shape(lambda key: model.init(key, task.input_size), KEY)  # noqa: B023
        assert jax.eval_shape(loss, params, KEY).shape == ()


def shares_of_chance(trial, length, seeds=4, **options):
    """Train some seeds and test them at ``length``: their losses, where chance is 1."""
    config = Config(seeds=seeds, **options)
    *_, (params, _) = experiment.train(config, trial)
    losses = experiment.evaluate(config, trial, length, params)
    return losses / experiment.TASKS[trial.task].test.chance


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_parity_takes_a_state_that_flips(cell):
    losses = shares_of_chance(Trial("parity", 16, cell), 64)  # four times the length trained at
    if cell == "lstm":
        assert (losses < SOLVED).all()
    else:
        assert (losses > AT_CHANCE).all()


@pytest.mark.slow
def test_a_gated_cell_adds_over_200_steps():
    losses = shares_of_chance(Trial("adding", 200, "gru"), 200, seeds=2, steps=600)
    assert (losses / 6 < 0.01).all()  # chance is 1/6
