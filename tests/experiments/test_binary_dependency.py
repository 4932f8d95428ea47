"""The experiment as a user runs it: files, table, errors, and the losses that it promises."""

import dataclasses
import functools
import json
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.binary_dependency import experiment
from experiments.binary_dependency.config import ARTICLE, Config, Setting
from experiments.binary_dependency.experiment import Run
from seqjax import BasicRNN, OutputProjection
from seqjax.tasks import BinaryDependency

TASK = BinaryDependency()


@pytest.fixture
def main(run_module):
    return functools.partial(run_module, experiment)


def test_a_run_writes_every_file_and_prints_the_table(main, tmp_path, capsys):
    out = tmp_path / "new"
    main("--seeds", 3, "--num-steps", 5, 7, "--sequence-length", 25_000, "--out", out)
    names = ["config.json", "learning_curves.png", "metrics.jsonl", "result.json"]
    assert sorted(path.name for path in out.iterdir()) == names

    result = json.loads((out / "result.json").read_text())
    assert result["expected_loss"] == {
        "neither": TASK.expected_loss([]),
        "first": TASK.expected_loss([3]),
        "both": TASK.expected_loss([3, 8]),
    }
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    for run, num_steps in zip(result["runs"], (5, 7), strict=True):
        assert run.keys() == {
            "num_steps", "state_size", "epochs", "seeds", "final_loss", "wall_seconds"
        }  # fmt: skip
        assert (run["num_steps"], run["state_size"], run["epochs"], run["seeds"]) == (
            num_steps, 4, 1, 3,
        )  # fmt: skip
        loss = run["final_loss"]
        assert len(loss["per_seed"]) == 3
        assert loss["min"] <= loss["mean"] <= loss["max"]
        assert loss["mean"] == pytest.approx(np.mean(loss["per_seed"]))
        assert len(set(loss["per_seed"])) == 3
        mine = [record for record in metrics if record["num_steps"] == num_steps]
        assert mine[-1]["step"] == 25_000 // 200 // num_steps
    config = json.loads((out / "config.json").read_text())
    assert config["seeds"] == 3
    assert config["dependencies"] == [[3, 0.5], [8, -0.25]]
    printed = capsys.readouterr().out
    assert "0.5192" in printed
    assert "errors flow back over lag 3" in printed


@pytest.mark.parametrize(
    ("cell", "optimizer"),
    [("rnn", "adagrad"), ("gru", "adam"), ("lstm", "rmsprop"), ("rnn", "sgd")],
)
def test_every_cell_and_optimizer_trains(cell, optimizer):
    config = Config(
        cell=cell, optimizer=optimizer, learning_rate=0.01, seeds=1, sequence_length=20_000
    )
    windows = [losses for _, losses in experiment.train(config, TASK, Setting(5, 4, 1))]
    losses = np.concatenate(windows, 1)
    assert losses.shape == (1, 20)
    assert losses[0, -5:].mean() < losses[0, :5].mean()


def test_true_truncation_trains_on_every_chunk_but_the_first():
    config = Config(truncation="true", seeds=1, sequence_length=20_000)
    setting = Setting(5, 4, 2)
    windows = [losses for _, losses in experiment.train(config, TASK, setting)]
    losses = np.concatenate(windows, 1)
    assert losses.shape == (1, experiment.training_steps(config, setting)) == (1, 2 * 19)
    assert losses[0, -5:].mean() < losses[0, :5].mean()


@pytest.mark.slow
def test_true_truncation_changes_the_gradient_and_nothing_else():
    with jax.enable_x64(True):
        model = OutputProjection(BasicRNN(4), 2)
        params = model.init(jax.random.key(0), 2, jnp.float64)
        config = Config(batch_size=3, sequence_length=60)
        key = jax.random.key(1)
        batches = experiment.epoch_chunks(TASK, config, 5, key)
        pairs = experiment.epoch_chunks(
            TASK, dataclasses.replace(config, truncation="true"), 5, key
        )
        assert [a.shape for a in pairs] == [(3, 3, 10)] * 2
        state = model.initial_state((3,), jnp.float64)
        by_chunks = jax.value_and_grad(
            functools.partial(experiment.chunk_loss, model), has_aux=True
        )
        true = jax.value_and_grad(
            functools.partial(experiment.true_chunk_loss, model, 5), has_aux=True
        )
        for k in range(2):
            (_, after), _ = by_chunks(params, state, [a[k] for a in batches])
            (expected, _), grads = by_chunks(params, after, [a[k + 1] for a in batches])
            (loss, state), true_grads = true(params, state, [a[k] for a in pairs])
            np.testing.assert_allclose(loss, expected, rtol=1e-12)
            np.testing.assert_allclose(state.h, after.h, rtol=1e-12)
            np.testing.assert_allclose(true_grads.bias, grads.bias, rtol=1e-9)  # the readout's own
            assert (
                np.abs(true_grads.cell.recurrent_kernel - grads.cell.recurrent_kernel).max() > 1e-4
            )


@pytest.mark.slow
def test_a_frozen_cell_keeps_its_weights_while_the_readout_learns():
    params = OutputProjection(BasicRNN(4), 2).init(jax.random.key(0), 2)
    for frozen in (False, True):
        optimizer = experiment.build_optimizer(Config(freeze_cell=frozen))
        grads = jax.tree.map(jnp.ones_like, params)
        updates, _ = optimizer.update(grads, optimizer.init(params), params)
        assert all(u.all() for u in (updates.kernel, updates.bias))
        assert any(u.any() for u in updates.cell) is not frozen


@pytest.mark.slow
def test_seeds_do_not_depend_on_how_many_run_beside_them():
    def losses(seeds):
        config = Config(seeds=seeds, sequence_length=20_000)
        return next(experiment.train(config, TASK, Setting(5, 4, 1)))[1]

    np.testing.assert_array_equal(losses(2), losses(2))
    one_device, two_devices = losses(3), losses(4)  # 3 do not split over the two devices here
    assert jax.device_count() == 2
    np.testing.assert_allclose(one_device, two_devices[:3], rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cell", "transformer"], "transformer is unknown; give one of rnn, gru, lstm, "),
        (["--num-steps", "0"], "--num-steps must be a whole number of at least 1, got 0"),
        (["--seeds", "-1"], "--seeds must be a whole number"),
        (["--num-steps", "5", "10", "--epochs", "1", "2", "3"], "has 2 values, but another"),
        (["--learning-rate", "-1"], "--learning-rate must be a positive finite number"),
        (["--learning-rate", "inf"], "--learning-rate must be a positive finite number, got inf"),
        (["--seed", "99999999999999999999"], "--seed must lie in [0, 2**31)"),
        (["--sequence-length", "100"], "cut into --batch-size 200 rows, must be longer"),
        (["--sequence-length", "2000", "--batch-size", "1000", "--num-steps", "3"], "gives 2"),
        (["--sequence-length", "1999", "--truncation", "true"], "too few for --num-steps 5"),
        (["--dependencies", "3", "0.5", "8", "0.25"], "P(Y = 1) must lie in [0, 1], got 1.25"),
        (["--dependencies", "3"], "--dependencies"),
        (
            ["--sequence-length", "1000", "--batch-size", "1", "--dependencies", "5000", "0.5"],
            "lag",
        ),
        (["--out", "/dev/null/x"], "cannot create this folder"),
        (["--out", "."], "this folder holds files; name a new folder"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_a_bad_option_ends_with_code_2_and_says_why(main, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(*arguments)
    assert stop.value.code == 2
    captured = capsys.readouterr()
    plain = re.sub(r"[\s│]+", " ", captured.err + captured.out)
    assert message in plain


@pytest.mark.slow
def test_from_the_shell_files_and_no_traceback(tmp_path):
    def shell(*arguments):
        command = [sys.executable, "-m", "experiments.binary_dependency", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    out = tmp_path / "run"
    done = shell(
        "--seeds", "2", "--sequence-length", "20000", "--num-steps", "5", "--out", str(out)
    )
    assert done.returncode == 0
    assert (out / "learning_curves.png").stat().st_size > 10_000
    assert json.loads((out / "result.json").read_text())["runs"][0]["seeds"] == 2
    assert "errors flow back over lag 3" in done.stdout
    bad = shell("--base-rate", "0.9")
    assert bad.returncode == 2
    assert "Traceback" not in bad.stderr + bad.stdout
    assert "P(Y = 1) must lie in [0, 1]" in bad.stderr


def test_help_names_every_option(main, capsys):
    with pytest.raises(SystemExit) as stop:
        main("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for field in Config.__dataclass_fields__:
        assert f"--{field.replace('_', '-')}" in shown


def curve_of(final, num_steps=5):
    losses = np.linspace(0.7, final, 2000, axis=1)
    return Run(Setting(num_steps, 4, 1), losses, 1.0)


def test_the_report_counts_the_seeds_and_says_why_some_missed():
    level = curve_of([0.5195, 0.60])
    level.losses[:, -1000:] = [[0.5195], [0.60]]
    text = experiment.explain(level, TASK)
    assert "errors flow back over lag 3, which allows a loss of 0.5192; 1 of 2 seeds" in text
    assert "1 missed it: 1 level, because" in text
    falling = experiment.explain(curve_of([0.53]), TASK)
    assert "1 missed it: 1 still falling" in falling
    diverged = curve_of([0.5192])
    diverged.losses[:, -50:] = np.nan
    assert "0 of 1 seeds reached it. 1 missed it: 1 diverged." in experiment.explain(diverged, TASK)
    short = Run(Setting(5, 4, 1), np.full((1, 3), 0.7), 1.0)
    assert "1 missed it in a run of only 3 training steps." in experiment.explain(short, TASK)
    lucky = experiment.explain(curve_of([0.60], num_steps=1), TASK)
    assert (
        "over no lag, which allows a loss of 0.6616; 1 of 1 seeds reached it. 1 went below" in lucky
    )
    assert "lags 3 and 8" in experiment.explain(curve_of([0.46], num_steps=10), TASK)

    console = Console(width=80, record=True)
    console.print(experiment.result_table([level], TASK))
    row = [line for line in console.export_text().splitlines() if "0.5597" in line or "5 " in line]
    assert re.search(r"0\.5195\s+0\.6000\s+1\s+1\s+0", "".join(row))


def test_floors_of_any_number_of_dependencies():
    assert [*experiment.floors(BinaryDependency([]))] == ["none"]
    assert [*experiment.floors(BinaryDependency([(2, 0.1)]))] == ["none", "all"]
    three = BinaryDependency([(1, 0.1), (2, 0.1), (-3, 0.1)])
    assert [*experiment.floors(three)] == ["none", "first", "first 2", "all"]


@pytest.mark.slow
def test_the_article_settings_reach_their_floors():
    finals = {}
    config = Config()
    for setting in ARTICLE:
        windows = [losses for _, losses in experiment.train(config, TASK, setting)]
        finals[setting.num_steps] = Run(setting, np.concatenate(windows, 1), 0.0).final_losses
    assert abs(np.median(finals[5]) - 0.5192) < 0.005
    assert abs(np.median(finals[10]) - 0.4545) < 0.005
    assert abs(finals[10].min() - 0.4545) < 0.002
    assert 0.60 < np.median(finals[1]) < 0.66
    assert np.ptp(finals[1]) > 0.05
