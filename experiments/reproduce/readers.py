"""Readers of measured values from the files of a run."""

from collections.abc import Callable
from typing import Any

import jax

from experiments.reproduce.claims import Files
from experiments.unroll_comparison.config import Way

FIRST_CURVE = dict(
    zip(
        range(100, 1000, 100),
        (0.6560, 0.6172, 0.5958, 0.5689, 0.5241, 0.5227, 0.5220, 0.5192, 0.5200),
        strict=True,
    )
)


def of_example(name: str) -> Callable[[Files], Any]:
    """The results of a worked example."""
    return lambda files: files.result[name]["measured"]


def with_error(name: str) -> Callable[[Files], dict[str, Any]]:
    """The results of a worked example, and the largest error among them."""

    def read(files: Files) -> dict[str, Any]:
        expected, measured = (files.result[name][key] for key in ("expected", "measured"))
        pairs = zip(*map(jax.tree.leaves, (expected, measured)), strict=True)
        return {"values": measured, "off by": max(abs(there - here) for there, here in pairs)}

    return read


def expected_losses(files: Files) -> list[str]:
    """The exact losses of the binary dependency to the digits that the article prints."""
    return [f"{loss:.12f}" for loss in files.result["expected_loss"].values()]


def final_loss(num_steps: int, *keys: str) -> Callable[[Files], list[float]]:
    """Final losses of one setting of the binary dependency, over its seeds."""

    def read(files: Files) -> list[float]:
        (run,) = (run for run in files.result["runs"] if run["num_steps"] == num_steps)
        return [run["final_loss"][key] for key in keys]

    return read


def beside_first_curve(files: Files) -> float:
    """The largest distance of the article's learning curve from the range of the seeds."""
    records = (record for record in files.metrics if record["num_steps"] == 5)
    ranges = {record["step"]: record["loss"] for record in records}
    return max(
        max(ranges[step]["min"] - loss, loss - ranges[step]["max"], 0.0)
        for step, loss in FIRST_CURVE.items()
    )


def of_way(way: Way, key: str) -> Callable[[Files], Any]:
    """One result of one way to unroll."""
    return lambda files: files.result["ways"][way][key]


def first_losses(way: Way) -> Callable[[Files], list[float]]:
    """The loss of the first epoch, which is the only one that the quick mode trains."""
    return lambda files: files.result["ways"][way]["epoch_losses"][:1]


def pace(files: Files, way: Way) -> float:
    """The seconds that 3 epochs would take, at the pace of the epochs that were trained."""
    return 3 * files.result["ways"][way]["seconds_per_epoch"]


def three_epochs(way: Way) -> Callable[[Files], float]:
    """The `pace` of one way."""
    return lambda files: pace(files, way)


def scan_to_dynamic(files: Files) -> float:
    """The training time of scan, relative to dynamic."""
    return pace(files, "scan") / pace(files, "dynamic")


def builds(files: Files, way: Way) -> dict[int, float]:
    """The seconds to build one way, by num_steps."""
    return {int(n): b["seconds"] for n, b in files.result["ways"][way]["builds"].items()}


def static_to_dynamic(files: Files) -> float:
    """The build time of static relative to dynamic, at the largest num_steps of both."""
    static, dynamic = builds(files, "static"), builds(files, "dynamic")
    steps = max(static.keys() & dynamic.keys())
    return static[steps] / dynamic[steps]


def growth(way: Way) -> Callable[[Files], float]:
    """The build time at the largest num_steps, relative to that at the smallest."""

    def read(files: Files) -> float:
        seconds = builds(files, way)
        return seconds[max(seconds)] / seconds[min(seconds)]

    return read


def losses_apart(files: Files) -> float:
    """The range of the last losses of all ways, with the same initial parameters and data."""
    losses = [way["last_loss"] for way in files.result["ways"].values() if way["steps"]]
    return max(losses) - min(losses)


def accuracies(files: Files) -> list[float]:
    """Test accuracies of the sequence classification: mean, worst and best seed."""
    return [files.result["test_accuracy"][key] for key in ("mean", "min", "max")]


def worst_adding(files: Files) -> float:
    """The squared error of the worst seed, at the training length."""
    (run,) = files.result["runs"]
    return run["tests"][0]["loss"]["max"]


def lookahead_losses(files: Files) -> list[float]:
    """The mean loss over the seeds of the forward and of the bidirectional network."""
    losses = {run["network"]: run["final_loss"]["mean"] for run in files.result["runs"]}
    return [losses["forward"], losses["bidirectional"]]


def truecasing_scores(files: Files) -> list[float]:
    """F1 of the worst bidirectional seed and of the best forward seed."""
    scores = {run["network"]: run["f1"] for run in files.result["runs"]}
    return [scores["bidirectional"]["min"], scores["forward"]["max"]]
