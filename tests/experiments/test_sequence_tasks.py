"""The experiment as a user runs it: files, table, errors, and what attention makes possible."""

import functools
import json
import re

import numpy as np
import pytest

from experiments.sequence_tasks import experiment, models
from experiments.sequence_tasks.config import Config, Trial
from experiments.sequence_tasks.experiment import Outcome


@pytest.fixture
def main(run_module):
    return functools.partial(run_module, experiment)


@pytest.mark.slow
def test_a_run_writes_every_file_and_prints_the_table(main, tmp_path, capsys):
    out = tmp_path / "new"
    main(
        "--tasks", "addition", "--mechanisms", "monotonic", "--length", 2, "--seeds", 2,
        "--units", 4, "--batch-size", 2, "--steps", 2, "--out", out,
    )  # fmt: skip
    names = ["config.json", "metrics.jsonl", "result.json", "success_over_length.png"]
    assert sorted(path.name for path in out.iterdir()) == names

    config = json.loads((out / "config.json").read_text())
    assert (config["seeds"], config["mechanisms"]) == (2, ["monotonic"])
    result = json.loads((out / "result.json").read_text())
    (run,) = result["runs"]
    assert (run["task"], run["length"], run["steps"]) == ("addition", 2, 2)
    assert run["mechanism"] == "monotonic"
    assert [test["length"] for test in run["tests"]] == [1, 2, 3, 4]
    assert run["tests"][0]["chance"] == 0.1
    assert len(run["tests"][0]["success"]["per_seed"]) == len(run["solved_to"]) == 2
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record.get("tested_at") for record in metrics[:5]] == [None, 1, 2, 3, 4]
    printed = capsys.readouterr().out
    assert re.search(r"addition +2 +monotonic +\d+\.\d% ", printed)
    assert max(map(len, printed.splitlines())) <= 80


def test_a_preset_sets_what_is_not_given():
    quick = Config(preset="quick")
    assert (quick.tasks, quick.mechanisms, quick.seeds) == (("reversal",), ("none", "location"), 1)
    mixed = Config(preset="quick", mechanisms=("general",), seeds=2)
    assert [trial.mechanism for trial in mixed.trials] == ["general"]
    assert mixed.trials == [Trial("reversal", 10, "general", 1500)]
    assert len(Config().trials) == 15


def test_how_far_a_task_is_solved():
    success = np.array([[1, 0.96], [0.95, 0.9], [0.9, 1], [1, 1]])
    outcome = Outcome(Trial("sorting", 2, "none", 1), np.zeros(2), success, 0)
    np.testing.assert_array_equal(outcome.solved_to, [2, 1])
    np.testing.assert_allclose(outcome.trained, [0.975, 0.93])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mechanisms", "dot"], "invalid choice"),
        (["--tasks", "sorting", "sorting"], "--tasks must hold no name twice"),
        (["--preset", "slow"], "invalid choice"),
        (["--seeds", "0"], "--seeds must be a whole number of at least 1, got 0"),
        (["--length", "0"], "--length must be a whole number of at least 1, got 0"),
        (["--steps", "-1"], "--steps must be a whole number of at least 1, got -1"),
        (["--reach", "0"], "--reach must be a whole number of at least 1, got 0"),
        (["--units", "5"], "--units must be even, half for each direction"),
        (["--label-smoothing", "1"], "--label-smoothing must be a probability in [0, 1), got 1"),
        (["--learning-rate", "0"], "--learning-rate must be a positive finite number, got 0"),
        (["--seed", "-1"], "--seed must lie in [0, 2**31)"),
        (["--cell", "transformer"], "transformer is unknown; give one of"),
        (["--cell", "lru"], "--cell lru: the decoder starts from the encoder's final state, but"),
    ],
)
def test_a_bad_option_ends_with_code_2_and_says_why(main, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(*arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    assert message in re.sub(r"[\s│]+", " ", captured.err + captured.out)


def test_monotonic_attention_makes_hard_decisions_in_tests_only():
    trial, config = Trial("reversal", 3, "monotonic", 1), Config()
    soft, hard = (models.build_model(config, trial, hard) for hard in (False, True))
    assert not soft.decoder.cell.mechanism.hard
    assert hard.decoder.cell.mechanism.hard


@pytest.mark.slow
def test_attention_reverses_what_the_state_alone_does_not_hold():
    found = {}
    for trial in Config(preset="quick").trials:
        *_, (params, _) = experiment.train(Config(preset="quick"), trial)
        found[trial.mechanism] = experiment.evaluate(Config(preset="quick"), trial, params)[:, 0]
    assert (found["location"][:10] > 0.95).all()  # the lengths in training
    assert found["location"][14] > 0.5  # half as long again
    assert found["none"][9] < 0.7
