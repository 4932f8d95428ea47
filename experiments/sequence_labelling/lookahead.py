"""The look-ahead task: training, and comparison with exact losses."""

import functools
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import optax
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from experiments.processes import ALL
from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.sequence_labelling.config import Lookahead
from experiments.sequence_labelling.networks import Network
from experiments.sequence_labelling.seeds import by_network, keys_of, list_trainings, own_seeds
from experiments.shares import announce, collect
from seqjax import sequence_loss
from seqjax.devices import split_leading_axis
from seqjax.tasks import BinaryDependency
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

BLOCK = 50  # training steps per compiled call; their mean loss is one point of a curve
EVALUATION = 200  # number of new batches
KEYS = 3  # of each seed: for parameters, training and evaluation
TOLERANCE = 0.005  # nats; a loss this close to a floor has reached it


class Run(NamedTuple):
    """A network and its results.

    Attributes:
      network: the network.
      losses: the training losses, ``[seeds, training steps]``.
      final_losses: the losses on new data, ``[seeds]``.
      wall_seconds: the wall time of training and evaluation.
    """

    network: Network
    losses: np.ndarray
    final_losses: np.ndarray
    wall_seconds: float


def counted(task: BinaryDependency, window: int) -> np.ndarray:
    """The mask of the steps whose dependencies all lie in the window, ``bool[window]``.

    At other steps a network cannot reach the floors, because it does not see the dependencies.

    >>> print(counted(BinaryDependency([(1, 0.1), (-2, 0.1)]), 5).astype(int))
    [0 1 1 0 0]
    """
    lags = [lag for lag, _ in task.dependencies]
    steps = np.arange(window)
    return (steps >= max(lags, default=0)) & (steps - min(lags, default=0) < window)


def floors(task: BinaryDependency) -> dict[str, float]:
    """The exact losses of models that know nothing, the past, and both past and future."""
    lags = [lag for lag, _ in task.dependencies]
    return {
        "neither": task.expected_loss([]),
        "forward": task.expected_loss([lag for lag in lags if lag >= 0]),
        "bidirectional": task.expected_loss(lags),
    }


def window_loss(
    config: Lookahead, network: Network, params: Params, carry: None, batch: tuple[Array, Array]
) -> tuple[Array, None]:
    """The mean cross-entropy of the scored steps of windows ``(xs, ys)``, ``int[B, T]``."""
    xs, ys = batch
    weights = jnp.asarray(counted(config.task, config.window), jnp.float32)
    weights = jnp.broadcast_to(weights, xs.shape)
    return sequence_loss(network.logits(params, xs), ys, weights=weights), carry


def draw(config: Lookahead, key: Array, batches: int) -> tuple[Array, Array]:
    """Draw a new sequence and cut it into windows ``(xs, ys)``, ``int32[batches, B, T]``."""
    shape = (batches, config.batch_size, config.window)
    xs, ys = config.task.sample(key, int(np.prod(shape)))
    return xs.reshape(shape), ys.reshape(shape)


def train(
    config: Lookahead, network: Network, seeds: Sequence[int]
) -> Iterator[tuple[Params, np.ndarray]]:
    """Train some of the seeds of the config in one batch.

    Yields:
      The parameters ``[seeds, ...]`` and the losses ``[seeds, steps]`` after each block of steps.
    """
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.training_steps)
    optimizer = optax.adam(schedule)
    loss_fn = functools.partial(window_loss, config, network)

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        return init_train_state(network.init(key, input_size=2), optimizer, None)

    @functools.partial(jax.jit, static_argnames="count")
    def train_block(state: TrainState, keys: Array, count: int) -> tuple[TrainState, Array]:
        def one_seed(state: TrainState, key: Array) -> tuple[TrainState, Array]:
            batches = draw(config, jax.random.fold_in(key, state.step), count)
            return train_steps(loss_fn, optimizer, state, batches)

        return jax.vmap(one_seed)(state, keys)

    keys = keys_of(config.seed, config.seeds, seeds, KEYS)
    keys, state = split_leading_axis((keys, start(keys[:, 0])))
    for first in range(0, config.training_steps, BLOCK):
        count = min(BLOCK, config.training_steps - first)
        state, losses = train_block(state, keys[:, 1], count)
        yield state.params, np.asarray(losses)


@functools.partial(jax.jit, static_argnames=("config", "network"))
@functools.partial(jax.vmap, in_axes=(None, None, 0, 0))
def _evaluate(config: Lookahead, network: Network, params: Params, key: Array) -> Array:
    def loss(batch: tuple[Array, Array]) -> Array:
        return window_loss(config, network, params, None, batch)[0]

    return jax.lax.map(loss, draw(config, key, EVALUATION)).mean()


def evaluate(
    config: Lookahead, network: Network, seeds: Sequence[int], params: Params
) -> np.ndarray:
    """The mean loss of some of the seeds on `EVALUATION` new batches, ``[seeds]``."""
    keys = keys_of(config.seed, config.seeds, seeds, KEYS)[:, 2]
    return np.asarray(_evaluate(config, network, params, split_leading_axis(keys)))


def reached(run: Run, task: BinaryDependency) -> np.ndarray:
    """Whether each seed reached the floor of its network, ``bool[seeds]``."""
    return np.abs(run.final_losses - floors(task)[run.network.name]) <= TOLERANCE


def result(runs: list[Run], task: BinaryDependency) -> dict[str, Any]:
    """The content of ``result.json``."""
    return {
        "task": "lookahead",
        "expected_loss": floors(task),
        "runs": [
            {
                "network": run.network.name,
                "seeds": len(run.final_losses),
                "final_loss": {**spread(run.final_losses), "per_seed": run.final_losses.tolist()},
                "reached_its_floor": int(reached(run, task).sum()),
                "wall_seconds": run.wall_seconds,
            }
            for run in runs
        ],
    }


def result_table(runs: list[Run], task: BinaryDependency) -> Table:
    """The table of final losses and floors."""
    table = Table(
        title=f"Loss (nats) of {len(runs[0].final_losses)} seeds on new data",
        box=box.SIMPLE,
    )
    for column in ("network", "floor", "mean", "best", "worst", "reached"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for run in runs:
        final = run.final_losses
        losses = (floors(task)[run.network.name], final.mean(), final.min(), final.max())
        count = f"{reached(run, task).sum()} of {len(final)}"
        table.add_row(run.network.name, *(f"{loss:.4f}" for loss in losses), count)
    return table


def figure(runs: list[Run], task: BinaryDependency) -> matplotlib.figure.Figure:
    """Plot learning curves, mean and range over the seeds, with the floors."""
    fig = matplotlib.figure.Figure(figsize=(7, 4), layout="constrained")
    axes = fig.subplots()
    for run in runs:
        blocks = np.split(run.losses, np.arange(BLOCK, run.losses.shape[1], BLOCK), axis=1)
        means = np.stack([block.mean(1) for block in blocks], axis=1)
        steps = np.cumsum([block.shape[1] for block in blocks])
        axes.fill_between(steps, means.min(0), means.max(0), alpha=0.25, linewidth=0)
        axes.plot(steps, means.mean(0), label=run.network.name)
    for (name, loss), text in zip(
        floors(task).items(),
        ("knows nothing", "sees the past", "sees past and future"),
        strict=True,
    ):
        axes.axhline(loss, color="black", linewidth=0.8, linestyle="--", gid=name)
        axes.annotate(
            f"{text}\n{loss:.4f}", (1, loss), (6, 0), va="center",
            xycoords=("axes fraction", "data"), textcoords="offset points",
        )  # fmt: skip
    axes.set(xlabel="training steps", ylabel=f"loss (nats), mean of {BLOCK} steps")
    axes.legend(title="network reads")
    seeds = len(runs[0].losses)
    fig.suptitle(f"Loss of {seeds} seeds, mean and range; dashed: exact losses")
    return fig


def records_of(network: Network, losses: np.ndarray) -> list[dict[str, Any]]:
    """The log of the losses ``[seeds, steps]`` of a network, one record for each block."""
    ends = [*range(BLOCK, losses.shape[1], BLOCK), losses.shape[1]]
    return [
        {
            "network": network.name,
            "step": end,
            "loss": spread(losses[:, n * BLOCK : end].mean(1)),
        }
        for n, end in enumerate(ends)
    ]


def train_and_evaluate(
    config: Lookahead, network: Network, seeds: Sequence[int], folder: RunDirectory, bars: Progress
) -> list[dict[str, Any]]:
    """Train some seeds of a network, and show progress and, in process 0, log it.

    Returns:
      The results of each seed, as JSON data.
    """
    bar = bars.add_task(network.name, total=config.training_steps, loss="-")
    began = time.perf_counter()
    blocks: list[np.ndarray] = []
    for params, block in train(config, network, seeds):  # noqa: B007, the last is evaluated
        blocks.append(block)
        bars.update(bar, advance=block.shape[1], loss=f"{block.mean():.4f}")
        if ALL.is_first:
            record = records_of(network, np.concatenate(blocks, 1))[-1]
            folder.append_jsonl("metrics.jsonl", record)
    final = evaluate(config, network, seeds, params).tolist()
    seconds = round(time.perf_counter() - began, 2)
    losses = np.concatenate(blocks, 1).tolist()
    return [
        {"losses": losses[n], "final_loss": final[n], "wall_seconds": seconds}
        for n in range(len(seeds))
    ]


def run_of(network: Network, results: list[dict[str, Any]]) -> Run:
    """The results of all seeds of a network."""
    losses, final = (
        np.array([result[name] for result in results], np.float32)
        for name in ("losses", "final_loss")
    )
    return Run(network, losses, final, max(result["wall_seconds"] for result in results))


def main(config: Lookahead, folder: RunDirectory) -> None:
    """Train both networks, show progress and write the results.

    Several processes share the seeds, and process 0 writes the files.
    """
    ALL.start(folder)
    console, task = ALL.console, config.task
    trainings = list_trainings(config.networks, config.seeds)
    announce(console, trainings, "trainings")
    own: list[dict[str, Any]] = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn(), console=console,
    ) as progress:  # fmt: skip
        for network, seeds in own_seeds(trainings).items():
            own += train_and_evaluate(config, network, seeds, folder, progress)
    done = collect(own, console)
    if not ALL.is_first:
        return
    runs = [run_of(*found) for found in by_network(trainings, done)]
    records = [record for run in runs for record in records_of(run.network, run.losses)]
    folder.write_jsonl("metrics.jsonl", records)
    folder.write_json("result.json", result(runs, task))
    with folder.replacing("learning_curves.png") as path:
        figure(runs, task).savefig(path, dpi=120)
    console.print(result_table(runs, task))
    console.print(
        f"A floor is the exact loss of the best model with the same input. Reached: within\n"
        f"{TOLERANCE}. A model that ignores its input has a loss of {floors(task)['neither']:.4f}.",
        highlight=False,
    )
