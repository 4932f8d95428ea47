"""The results of a run: scores, tables and figures."""

import dataclasses
from typing import Any, NamedTuple

import matplotlib.axes
import matplotlib.figure
import numpy as np
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.table import Table

from experiments.forecasting.config import Config
from experiments.forecasting.datasets import Dataset
from experiments.forecasting.metrics import covered, crps, naive_error
from experiments.forecasting.network import Forecasts
from experiments.seeds import spread

INTERVAL = 0.8  # the probability of the interval whose coverage is reported
FANS = {0.95: "#d6e6f4", 0.8: "#9dc6e0", 0.5: "#5b9fcb"}  # the intervals of the fan charts
NETWORK, TOGETHER, BEST = "network", "all seeds together", "best possible"
COLOURS = {
    NETWORK: "C0", TOGETHER: "C0", "ETS": "C1", "ARIMA": "C2", "seasonal naive": "0.5", BEST: "k",
}  # fmt: skip


class Scores(NamedTuple):
    """Scores of each step of the horizon, means over series and origins, ``[..., horizon]``.

    Attributes:
      error: the absolute error of the median, divided by the error of the seasonal naive forecast
        before the first origin. Its mean is the MASE.
      crps: the continuous ranked probability score, divided by the same.
      coverage: the share of values within the interval of 80%.
    """

    error: np.ndarray
    crps: np.ndarray
    coverage: np.ndarray

    @property
    def totals(self) -> "Scores":
        """The means over the horizon, ``[...]``."""
        return Scores(*(part.mean(-1) for part in self))


def scores_of(data: Dataset, forecasts: Forecasts, series: int) -> Scores:
    """The scores of forecasts ``[..., windows, horizon]`` of the first ``series``."""
    values = data.future()[:series].reshape(-1, data.horizon)
    scale = naive_error(data.values[:series, : data.first], data.season)
    scale = np.repeat(scale, len(data.origins))[:, None]
    median, samples = (part for part in forecasts)
    return Scores(
        (np.abs(median - values) / scale).mean(-2),
        (crps(samples, values) / scale).mean(-2),
        covered(samples, values, INTERVAL).mean(-2),
    )


def together(forecasts: Forecasts) -> Forecasts:
    """The forecast that mixes those of all seeds, from ``[seeds, windows, ...]``."""
    samples = np.concatenate([*forecasts.samples], -2)
    return Forecasts(np.median(samples, -2), samples)


def first_windows(data: Dataset, forecasts: Forecasts, series: int) -> Forecasts:
    """The forecasts of the first ``series``, from ``[seeds, windows, ...]``."""
    count = series * len(data.origins)
    return Forecasts(*(part[:, :count] for part in forecasts))


@dataclasses.dataclass(frozen=True)
class Simulated:
    """How close the network comes to the best possible forecast, on all series.

    The error of a forecast is the error of the best forecast and, independent of it, the distance
    between both. So ``sqrt(error ** 2 + distance ** 2)`` has little noise from the test values.
    """

    errors: np.ndarray  # of the best forecast, [horizon]
    distances: np.ndarray  # root mean squares, [seeds, horizon]
    coverage: np.ndarray  # [seeds, horizon]

    @property
    def ratios(self) -> np.ndarray:
        """The error of the network, divided by that of the best forecast, ``[seeds, horizon]``."""
        return np.sqrt(1 + np.square(self.distances / self.errors))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of a run."""

    config: Config
    data: Dataset
    forecasts: dict[str, Forecasts]  # of the compared series; those of the network have all seeds
    simulated: Simulated | None
    chosen_steps: np.ndarray  # after which the validation loss was lowest, [seeds]
    wall_seconds: float

    @property
    def scores(self) -> dict[str, Scores]:
        """The scores of each model; those of the network are ``[seeds, horizon]``."""
        return {
            name: scores_of(self.data, forecasts, self.data.compared)
            for name, forecasts in self.forecasts.items()
        }


def result(outcome: Outcome) -> dict[str, Any]:
    """The content of ``result.json``."""
    data = outcome.data
    models = {}
    for name, scores in outcome.scores.items():
        totals = scores.totals._asdict()
        models[name] = {
            key: {**spread(total), "per_seed": total.tolist()} if total.ndim else float(total)
            for key, total in totals.items()
        } | {f"{key}_by_step": part.tolist() for key, part in scores._asdict().items()}
    found: dict[str, Any] = {
        "origins": data.origins,
        "history": data.history,
        "horizon": data.horizon,
        "series": len(data.values),
        "compared_series": data.compared,
        "training": outcome.config.training._asdict(),
        "chosen_steps": outcome.chosen_steps.tolist(),
        "models": models,
        "wall_seconds": outcome.wall_seconds,
    }
    if outcome.simulated is not None:
        found["simulated"] = {
            "best_possible_error": outcome.simulated.errors.tolist(),
            "ratio_to_it": outcome.simulated.ratios.tolist(),
            "coverage": outcome.simulated.coverage.tolist(),
        }
    return found


def verdict(outcome: Outcome) -> str:
    """How the network compares with ETS and ARIMA, by the CRPS."""
    scores = {name: found.totals.crps.mean() for name, found in outcome.scores.items()}
    parts = []
    for name in ("ETS", "ARIMA"):
        says = "beats" if scores[NETWORK] < scores[name] else "loses to"
        parts.append(f"{says} {name} ({scores[NETWORK]:.3f} against {scores[name]:.3f})")
    return f"By the mean CRPS, the network {' and '.join(parts)}."


def result_table(outcome: Outcome) -> Table:
    """The scores of all models on the compared series."""
    data, seeds = outcome.data, outcome.config.seeds
    count = len(data.origins)
    what = f"{data.compared} series, " if data.compared > 1 else ""
    table = Table(
        title=f"{data.title}:\n{what}{count} origins, {data.horizon} steps ahead",
        caption=(
            "MASE, CRPS: 1 is the error of the seasonal naive forecast in the training\n"
            f"data; lower is better. {verdict(outcome)}"
        ),
        box=box.SIMPLE,
        width=80,
    )
    table.add_column("", no_wrap=True)
    for column in ("MASE", "CRPS", f"in the {INTERVAL:.0%} interval"):
        table.add_column(column, justify="right")
    for name, found in outcome.scores.items():
        totals = found.totals
        if name == NETWORK and seeds > 1:
            table.add_row(
                f"network, mean of {seeds} seeds", *_shown(Scores(*(a.mean(0) for a in totals)))
            )
            order = np.argsort(totals.crps)
            for place, seed in (("best", order[0]), ("worst", order[-1])):
                table.add_row(
                    f"  {place} seed by CRPS", *_shown(Scores(*(a[seed] for a in totals)))
                )
        else:
            label = f"  {name}" if name == TOGETHER else name
            table.add_row(label, *_shown(Scores(*(np.mean(a) for a in totals))))
    return table


def _shown(totals: Scores) -> tuple[str, str, str]:
    return f"{totals.error:.3f}", f"{totals.crps:.3f}", f"{totals.coverage:.1%}"


def simulated_table(outcome: Outcome, simulated: Simulated) -> Table:
    """The error of each step, beside the best possible one."""
    data, ratios = outcome.data, simulated.ratios
    table = Table(
        title=(
            f"Root mean squared error by step, {len(data.values)} series, "
            f"{len(data.origins)} origins"
        ),
        caption=(
            "ratio: error of the network / best possible error; 1.000 is best.\n"
            f"inside: share of values in the {INTERVAL:.0%} interval, mean of the seeds."
        ),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    for column in ("step", "best possible", "ratio, mean", "worst seed", "inside"):
        table.add_column(column, justify="right")
    for step in range(data.horizon):
        table.add_row(
            str(step + 1), f"{simulated.errors[step]:.3f}", f"{ratios[:, step].mean():.4f}",
            f"{ratios[:, step].max():.4f}", f"{simulated.coverage[:, step].mean():.1%}",
        )  # fmt: skip
    table.add_section()
    table.add_row(
        "all", "", f"{ratios.mean():.4f}", f"{ratios.max():.4f}", f"{simulated.coverage.mean():.1%}"
    )
    return table


def fan_charts(outcome: Outcome) -> matplotlib.figure.Figure:
    """Forecasts from the first, the middle and the last origin, with intervals."""
    data = outcome.data
    count = len(data.origins)
    if data.compared > 1:  # the first origin of the first series
        places = [(series, 0) for series in range(min(3, data.compared))]
    else:
        places = [(0, origin) for origin in dict.fromkeys((0, count // 2, count - 1))]
    fig = matplotlib.figure.Figure(figsize=(4 * len(places) + 1, 3.8), layout="constrained")
    panels = np.ravel(fig.subplots(1, len(places), sharey=True, squeeze=False))
    for axes, (series, origin) in zip(panels, places, strict=True):
        _fan(axes, outcome, series, origin)
    panels[0].set_ylabel("value")
    handles, labels = panels[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside lower center", ncols=4, fontsize="small")
    fig.suptitle(f"Forecasts of {data.title}")
    return fig


def _fan(axes: matplotlib.axes.Axes, outcome: Outcome, series: int, origin: int) -> None:
    data = outcome.data
    first, window = data.origins[origin], series * len(data.origins) + origin
    past = np.arange(first - data.history, first)
    ahead = np.arange(first, first + data.horizon)
    samples = outcome.forecasts[TOGETHER].samples[window]
    for share, colour in FANS.items():
        low, high = np.quantile(samples, [(1 - share) / 2, (1 + share) / 2], axis=0)
        axes.fill_between(
            ahead, low, high, color=colour, linewidth=0, label=f"network, {share:.0%}"
        )
    median = outcome.forecasts[TOGETHER].median[window]
    axes.plot(ahead, median, color="#08488e", label="network, median")
    peer = BEST if data.process is not None else "ETS"
    limits = np.quantile(outcome.forecasts[peer].samples[window], [0.1, 0.9], axis=0)
    for limit, label in zip(limits, (f"{peer}, 80%", None), strict=True):
        axes.plot(ahead, limit, "--", color=COLOURS[peer], linewidth=1, label=label)
    values = data.values[series]
    axes.plot(past, values[past], color="k", linewidth=1, label="history")
    axes.plot(ahead, values[ahead], ".", color="k", markersize=5, label="what came")
    name = f"series {series + 1}, " if data.compared > 1 else ""
    axes.set_title(f"{name}origin {first}")
    axes.set_xlabel("step")


def error_by_step(outcome: Outcome) -> matplotlib.figure.Figure:
    """The CRPS of each model over the steps of the horizon; of the network, the range of seeds."""
    fig = matplotlib.figure.Figure(figsize=(6.4, 4), layout="constrained")
    axes = fig.subplots()
    steps = np.arange(1, outcome.data.horizon + 1)
    for name, found in outcome.scores.items():
        colour = COLOURS[name]
        if name == NETWORK:
            low, high = found.crps.min(0), found.crps.max(0)
            axes.fill_between(
                steps, low, high, color=colour, alpha=0.25, linewidth=0, label="network, seeds"
            )
        else:
            style = "--" if name == BEST else "-"
            label = f"network, {name}" if name == TOGETHER else name
            axes.plot(steps, found.crps, style, color=colour, label=label)
    axes.set_xlabel("steps ahead")
    axes.set_ylabel("scaled CRPS")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize="small")
    axes.set_title(outcome.data.title)
    return fig
