"""Training of all seeds in one batch, the table of results and the figure."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.figure
import numpy as np
import optax
from rich import box
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from experiments.binary_dependency.config import Config, Setting, training_steps
from experiments.cells import make_cell
from experiments.processes import ALL
from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.shares import announce, collect, own_share
from seqjax import Cell, OutputProjection, sequence_loss, unroll
from seqjax.devices import split_leading_axis
from seqjax.tasks import BinaryDependency
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.truncation import chunks, truncated_chunk
from seqjax.types import Array, Params, State

OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "adagrad": optax.adagrad,  # its accumulators start at 0.1, as in TensorFlow
    "adam": optax.adam,
    "rmsprop": optax.rmsprop,
    "sgd": optax.sgd,
}
WINDOW = 100  # training steps; their mean loss is one point of a curve, or the final loss
TOLERANCE = 0.005  # nats; a final loss reaches a floor if it is at most this far above the floor


class Run(NamedTuple):
    """A setting and its results.

    Attributes:
      setting: the setting.
      losses: the training losses, ``[seeds, training steps]``.
      wall_seconds: the wall time of training.
    """

    setting: Setting
    losses: np.ndarray
    wall_seconds: float

    @property
    def final_losses(self) -> np.ndarray:
        """The mean loss of each seed over the last `WINDOW` training steps, ``[seeds]``."""
        return self.losses[:, -WINDOW:].mean(1)

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """The learning curve: training steps ``[points]`` and mean losses ``[seeds, points]``."""
        total = self.losses.shape[1]
        ends = np.append(np.arange(WINDOW, total, WINDOW), total)
        means = [self.losses[:, max(0, end - WINDOW) : end].mean(1) for end in ends]
        return ends, np.stack(means, axis=1)


def build_optimizer(config: Config) -> optax.GradientTransformation:
    """The optimizer of all parameters, or only of the readout if the cell is frozen."""
    optimizer = OPTIMIZERS[config.optimizer](config.learning_rate)
    if not config.freeze_cell:
        return optimizer
    parts = {"cell": optax.set_to_zero(), "readout": optimizer}
    return optax.multi_transform(
        parts, lambda params: params._replace(cell="cell", kernel="readout", bias="readout")
    )


def chunk_loss(
    model: Cell, params: Params, state: State, batch: tuple[Array, Array]
) -> tuple[Array, State]:
    """The mean cross-entropy of a chunk ``(xs, ys)``, each ``[B, T]``, and the final state."""
    xs, ys = batch
    state, logits = unroll(model, params, xs, initial_state=state)
    return sequence_loss(logits, ys), state


def true_chunk_loss(
    model: Cell, num_steps: int, params: Params, state: State, batch: tuple[Array, Array]
) -> tuple[Array, State]:
    """Like `chunk_loss` for the second of two chunks; each error flows back ``num_steps`` steps."""
    xs, ys = batch
    state, logits = truncated_chunk(model, params, xs, num_steps, initial_state=state)
    return sequence_loss(logits, ys[:, num_steps:]), state


def epoch_chunks(
    task: BinaryDependency, config: Config, num_steps: int, key: Array
) -> tuple[Array, Array]:
    """Draw a new sequence and cut it into rows, and the rows into chunks ``[K, B, T]``.

    For true truncation, each chunk follows the chunk before it: ``[K - 1, B, 2 T]``.
    """
    rows = config.batch_size
    length = config.sequence_length // rows * rows
    xs, ys = task.sample(key, length)
    data = chunks((xs.reshape(rows, -1), ys.reshape(rows, -1)), num_steps)
    if config.truncation == "chunks":
        return data
    return jax.tree.map(lambda a: jnp.concatenate([a[:-1], a[1:]], axis=2), data)


def train(
    config: Config, task: BinaryDependency, setting: Setting
) -> Iterator[tuple[int, np.ndarray]]:
    """Train all seeds of one setting in one batch.

    Yields:
      The epoch and the losses ``[seeds, steps]`` of each `WINDOW` of training steps.
    """
    model = OutputProjection(make_cell(config.cell, setting.state_size), size=2)
    optimizer = build_optimizer(config)
    loss_fn = functools.partial(chunk_loss, model)
    if config.truncation == "true":
        loss_fn = functools.partial(true_chunk_loss, model, setting.num_steps)
    zero_state = model.initial_state((config.batch_size,))

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        return init_train_state(model.init(key, input_size=2), optimizer, zero_state)

    @jax.jit
    @jax.vmap
    def start_epoch(state: TrainState, key: Array) -> tuple[TrainState, tuple[Array, Array]]:
        data = epoch_chunks(task, config, setting.num_steps, key)
        return state._replace(carry=zero_state), data

    @functools.partial(jax.jit, static_argnames="count", donate_argnames="state")
    def train_window(
        state: TrainState, data: tuple[Array, Array], first: Array, count: int
    ) -> tuple[TrainState, Array]:
        batches = jax.tree.map(
            lambda a: jax.lax.dynamic_slice_in_dim(a, first, count, axis=1), data
        )
        step = functools.partial(train_steps, loss_fn, optimizer)
        return jax.vmap(step)(state, batches)

    keys = jax.random.split(jax.random.key(config.seed), (config.seeds, 1 + setting.epochs))
    state = split_leading_axis(start(keys[:, 0]))
    keys = split_leading_axis(keys)
    for epoch in range(setting.epochs):
        state, data = start_epoch(state, keys[:, 1 + epoch])
        total = data[0].shape[1]
        for first in range(0, total, WINDOW):
            state, losses = train_window(state, data, first, min(WINDOW, total - first))
            yield epoch, np.asarray(losses)


def floors(task: BinaryDependency) -> dict[str, float]:
    """The exact losses of models that know none, the first, ..., all of the dependencies."""
    lags = [lag for lag, _ in task.dependencies]
    none, all_ = ("neither", "both") if len(lags) == 2 else ("none", "all")
    names = {0: none, 1: "first", len(lags): all_ if lags else none}
    return {
        names.get(known, f"first {known}"): task.expected_loss(lags[:known])
        for known in range(len(lags) + 1)
    }


def lowest_floor(loss: float, expected: Mapping[str, float]) -> str | None:
    """The name of the lowest floor that ``loss`` has reached; None if it has reached none."""
    reached = [name for name, floor in expected.items() if loss <= floor + TOLERANCE]
    return min(reached, key=lambda name: expected[name], default=None)


def explain(run: Run, task: BinaryDependency) -> str:
    """Describe the floor that a setting can learn, and how many seeds reached or missed it."""
    num_steps, seeds = run.setting.num_steps, len(run.losses)
    within = [lag for lag, _ in task.dependencies if 0 <= lag < num_steps]
    floor = task.expected_loss(within)
    missed = ~(run.final_losses <= floor + TOLERANCE)  # NaN has reached no floor
    below = int((run.final_losses < floor - TOLERANCE).sum())
    lags = f"lag{'s' * (len(within) > 1)} {' and '.join(map(str, within))}" if within else "no lag"
    text = [
        f"num_steps={num_steps}: errors flow back over {lags}, which allows a loss of {floor:.4f}; "
        f"{seeds - missed.sum()} of {seeds} seeds reached it."
    ]
    if below:
        text.append(
            f"{below} went below it: the state also depends on earlier inputs, which the readout "
            "learns to use, although no error trains the state to keep them."
        )
    if missed.any():
        text.append(f"{missed.sum()} missed it{why_missed(run, missed)}.")
    return " ".join(text)


def why_missed(run: Run, missed: np.ndarray) -> str:
    """Describe the curves of the seeds in ``missed``, ``bool[seeds]``."""
    _, curve = run.curve()
    finite = np.isfinite(run.final_losses)
    if curve.shape[1] < 10:
        return f" in a run of only {run.losses.shape[1]} training steps"
    falling = curve[:, -10:].mean(1) - curve[:, -1] > TOLERANCE / 5
    counts = {
        "diverged": ~finite,
        "still falling when training ended": finite & falling,
        "level, because their state holds too little information": finite & ~falling,
    }
    seen = [f"{(missed & seeds).sum()} {what}" for what, seeds in counts.items()]
    return ": " + ", ".join(part for part in seen if not part.startswith("0 "))


def result(runs: list[Run], task: BinaryDependency) -> dict[str, Any]:
    """The content of ``result.json``."""
    return {
        "expected_loss": floors(task),
        "runs": [
            {
                **run.setting._asdict(),
                "seeds": len(run.losses),
                "final_loss": {**spread(run.final_losses), "per_seed": run.final_losses.tolist()},
                "wall_seconds": run.wall_seconds,
            }
            for run in runs
        ],
    }


def result_table(runs: list[Run], task: BinaryDependency) -> Table:
    """The table of final losses and the floors that they reached."""
    expected = floors(task)
    reached = {lowest_floor(loss, expected) for run in runs for loss in run.final_losses}
    if len(expected) > 3:  # more would not fit the width of a terminal
        expected = {name: loss for name, loss in expected.items() if name in reached}
    table = Table(
        title=f"Final loss (nats) of {len(runs[0].losses)} seeds, and how many reached each floor",
        caption="A floor is the exact loss of a model that knows the named dependencies. A seed\n"
        f"reaches it within {TOLERANCE}, and counts at the lowest floor that it reaches.",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    floor_columns = [f"{name}\n{loss:.4f}" for name, loss in expected.items()]
    for column in ("num_\nsteps", "units", "epochs", "mean", "median", "best", "worst"):
        table.add_column(column, justify="right")
    for column in floor_columns:
        table.add_column(column, justify="right")
    for run in runs:
        final = run.final_losses
        names = [lowest_floor(loss, expected) for loss in final]
        table.add_row(
            *map(str, run.setting),
            *(f"{f(final):.4f}" for f in (np.mean, np.median, np.min, np.max)),
            *(str(names.count(name)) for name in expected),
        )
    return table


def figure(runs: list[Run], task: BinaryDependency) -> matplotlib.figure.Figure:
    """Plot learning curves, mean and range over the seeds, with the floors."""
    fig = matplotlib.figure.Figure(figsize=(2 + 4 * len(runs), 4), layout="constrained")
    for axes, run in zip(np.ravel(fig.subplots(1, len(runs), sharey=True)), runs, strict=True):
        steps, losses = run.curve()
        axes.fill_between(steps, losses.min(0), losses.max(0), alpha=0.25, linewidth=0)
        axes.plot(steps, losses.mean(0))
        for loss in floors(task).values():
            axes.axhline(loss, color="black", linewidth=0.8, linestyle="--")
        n = run.setting
        axes.set_title(f"num_steps={n.num_steps}, {n.state_size} units, epochs={n.epochs}")
        axes.set_xlabel("training steps")
    for name, loss in floors(task).items():
        fig.axes[-1].annotate(
            f"knows {name}\n{loss:.4f}", (1, loss), (6, 0), va="center",
            xycoords=("axes fraction", "data"), textcoords="offset points",
        )  # fmt: skip
    fig.axes[0].set_ylabel(f"loss (nats), mean of {WINDOW} steps")
    seeds = len(runs[0].losses)
    fig.suptitle(f"Loss of {seeds} seeds, mean and range; dashed: exact losses by what is known")
    return fig


def train_and_log(
    config: Config, setting: Setting, folder: RunDirectory, progress: Progress, bar: TaskID
) -> dict[str, Any]:
    """Train one setting, show progress and, in process 0, log it; return `Run` as JSON data."""
    progress.start_task(bar)
    began = time.perf_counter()
    windows: list[np.ndarray] = []
    records: list[dict[str, Any]] = []
    for epoch, losses in train(config, config.task, setting):
        windows.append(losses)
        at_end = spread(losses.mean(1))
        progress.update(bar, advance=losses.shape[1], loss=f"{at_end['mean']:.4f}")
        step = sum(window.shape[1] for window in windows)
        records.append({**setting._asdict(), "epoch": epoch + 1, "step": step, "loss": at_end})
        if ALL.is_first:
            folder.append_jsonl("metrics.jsonl", records[-1])
    seconds = round(time.perf_counter() - began, 2)
    losses = np.concatenate(windows, 1).tolist()
    return {"losses": losses, "wall_seconds": seconds, "records": records}


def main(config: Config, folder: RunDirectory) -> None:
    """Train every setting, show progress and write the results.

    Several processes share the settings, and process 0 writes the results.
    """
    ALL.start(folder)
    console, task = ALL.console, config.task
    announce(console, config.settings, "settings")
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"), TimeRemainingColumn(), console=console,
    ) as progress:  # fmt: skip
        bars = [
            progress.add_task(
                f"num_steps={s.num_steps:<3}",
                total=training_steps(config, s),
                loss="-",
                start=False,
            )
            for s in own_share(config.settings)
        ]
        own = [
            train_and_log(config, setting, folder, progress, bar)
            for bar, setting in zip(bars, own_share(config.settings), strict=True)
        ]
    trained = collect(own, console)
    if not ALL.is_first:
        return
    runs = [
        Run(setting, np.array(run["losses"], np.float32), run["wall_seconds"])
        for setting, run in zip(config.settings, trained, strict=True)
    ]
    folder.write_jsonl("metrics.jsonl", [record for run in trained for record in run["records"]])
    folder.write_json("result.json", result(runs, task))
    with folder.replacing("learning_curves.png") as path:
        figure(runs, task).savefig(path, dpi=120)
    console.print(result_table(runs, task))
    for run in runs:
        console.print(explain(run, task), highlight=False)
    console.print(f"Files in {folder.path}", highlight=False)
