"""The whole experiment: data, baselines, training, forecasts and results."""

import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.forecasting.baselines import forecast_all, of_normal
from experiments.forecasting.config import Config
from experiments.forecasting.datasets import Dataset, load
from experiments.forecasting.metrics import covered
from experiments.forecasting.network import Forecasts, build_model, predict, split, train
from experiments.forecasting.report import (
    BEST,
    INTERVAL,
    NETWORK,
    TOGETHER,
    Outcome,
    Simulated,
    error_by_step,
    fan_charts,
    first_windows,
    result,
    result_table,
    simulated_table,
    together,
)
from experiments.run_directory import RunDirectory
from experiments.seeds import spread

FIGURES = {"forecasts": fan_charts, "error_by_step": error_by_step}


def best_forecasts(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """The mean and deviation of the best forecasts of simulated series, ``[windows, horizon]``."""
    process, covariates = data.process, data.covariates
    assert process is not None
    assert covariates is not None
    means = [
        process.best_forecast(data.values[:, :origin], covariates[:, : origin + data.horizon])
        for origin in data.origins
    ]
    mean = np.stack(means, 1).reshape(-1, data.horizon)
    return mean, np.broadcast_to(process.errors(data.horizon), mean.shape)


def compare_with_best(data: Dataset, network: Forecasts) -> Simulated:
    """Compare forecasts ``[seeds, windows, ...]`` of all series with the best possible ones."""
    mean, deviation = best_forecasts(data)
    inside = covered(network.samples, data.future().reshape(-1, data.horizon), INTERVAL)
    distances = np.sqrt(np.square(network.median - mean).mean(1))
    return Simulated(deviation[0], distances, inside.mean(1))


def main(config: Config, folder: RunDirectory) -> None:
    """Fit the baselines, train all seeds, show the results, and write the files."""
    console = Console()
    began = time.perf_counter()
    data = load(config.dataset)
    folder.start()
    parts, model = split(data), build_model(config)
    best: dict[str, list[Forecasts]] = {}
    steps, validations = [], []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[loss]}"), TimeRemainingColumn(), console=console,
    ) as progress:  # fmt: skip
        bar = progress.add_task("training", total=config.training.steps, loss="")
        for step, losses, validation, params in train(config, data, model, parts):  # noqa: B007
            steps.append(step)
            validations.append(validation)
            record = {"loss": spread(losses), "validation_loss": spread(validation)}
            folder.append_jsonl("metrics.jsonl", {"step": step, **record})
            progress.update(bar, completed=step, loss=f"validation loss {validation.mean():.3f}")
        bar = progress.add_task("naive, ETS, ARIMA", total=data.compared, loss="")
        for found in forecast_all(data):
            for name, forecasts in found.items():
                best.setdefault(name, []).append(forecasts)
            progress.advance(bar)
    network = predict(config, data, model, params, parts)
    compared = first_windows(data, network, data.compared)
    forecasts_by_model = {NETWORK: compared, TOGETHER: together(compared)}
    for name in ("ETS", "ARIMA", "seasonal naive"):
        forecasts_by_model[name] = Forecasts(*map(np.concatenate, zip(*best[name], strict=True)))
    simulated = None
    if data.process is not None:
        simulated = compare_with_best(data, network)
        count = data.compared * len(data.origins)
        forecasts_by_model[BEST] = of_normal(data, *(a[:count] for a in best_forecasts(data)))
    chosen = np.array(steps)[np.argmin(validations, 0)]
    seconds = round(time.perf_counter() - began, 2)
    outcome = Outcome(config, data, forecasts_by_model, simulated, chosen, seconds)
    folder.write_json("result.json", result(outcome))
    for name, draw in FIGURES.items():
        with folder.replacing(f"{name}.png") as path:
            draw(outcome).savefig(path, dpi=120)
    if simulated is not None:
        console.print(simulated_table(outcome, simulated))
    console.print(result_table(outcome))
    console.print(f"Files in {folder.path}", highlight=False)
