"""The training of all seeds at once, and what comes of it."""

import functools
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.figure
import matplotlib.lines
import numpy as np
import optax
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.cells import CellName, make_cell
from experiments.memory_tasks.config import Config, TaskName, Trial
from experiments.memory_tasks.tasks import TASKS
from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from seqjax import Cell, OutputProjection, Stack, unroll
from seqjax.devices import split_leading_axis
from seqjax.tasks import Adding, AssociativeRecall, Copy, MemoryTask
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

SOLVED = 0.06  # of chance: a test loss of at most this is called solved
AT_CHANCE = 0.95  # of chance: a test loss of at least this is called at chance
ENOUGH = 0.02  # of chance: training ends when no seed's loss is above this
BLOCK = 50  # training steps in one program
TEST_BATCHES = 20
TEST_BATCH = 100  # examples; all batches at once would take gigabytes


class Published(NamedTuple):
    """A loss that an article states."""

    task: TaskName
    length: int
    cell: CellName
    loss: float
    chance: float


def copy_chance(length: int) -> float:
    """Chance of the copying problem where the mean is over all steps, not the answers alone."""
    task = Copy()
    return task.count * task.chance / (2 * task.count + length)


# Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks
# for sequence modeling", 2018, table 1
PUBLISHED = (
    Published("adding", 600, "rnn", 0.177, Adding().chance),
    Published("adding", 600, "gru", 5.3e-5, Adding().chance),
    Published("adding", 600, "lstm", 0.164, Adding().chance),
    Published("copy", 1000, "rnn", 0.0202, copy_chance(1000)),
    Published("copy", 1000, "gru", 0.0197, copy_chance(1000)),
    Published("copy", 1000, "lstm", 0.0204, copy_chance(1000)),
)


class Outcome(NamedTuple):
    """A trial and what came of it."""

    trial: Trial
    steps: int  # of training
    losses: dict[int, np.ndarray]  # the test losses [seeds] at each length
    wall_seconds: float

    @property
    def chance(self) -> float:
        """The exact loss of a model that sees nothing."""
        return TASKS[self.trial.task].test.chance


def build_model(config: Config, cell: CellName, task: MemoryTask) -> Cell:
    """The cells in a stack, with a linear readout."""
    layers = [make_cell(cell, config.units) for _ in range(config.layers)]
    return OutputProjection(
        layers[0] if config.layers == 1 else Stack(layers), size=task.output_size
    )


def mean_loss(
    model: Cell,
    task: MemoryTask,
    length: int,
    examples: int,
    deterministic: bool,
    params: Params,
    key: Array,
) -> Array:
    """The loss on fresh examples, which noisy cells meet without noise if ``deterministic``."""
    example = jax.vmap(lambda key: task.sample(key, length))(jax.random.split(key, examples))
    xs = example.inputs
    if jnp.issubdtype(xs.dtype, jnp.integer):  # some cells take features alone
        xs = jax.nn.one_hot(xs, task.input_size, dtype=jnp.float32)
    noise_key = None if deterministic else jax.random.fold_in(key, examples)
    _, outputs = unroll(model, params, xs, key=noise_key, deterministic=deterministic)
    return task.loss(outputs, example)


def train(config: Config, trial: Trial) -> Iterator[tuple[Params, np.ndarray]]:
    """Train all seeds as one program, until they have all solved the task or the steps are over.

    Yields:
      The parameters of all seeds after a block of steps, and the losses ``[seeds, steps]`` in it.
    """
    task = TASKS[trial.task].train
    model = build_model(config, trial.cell, task)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(config.learning_rate))

    def loss_fn(params: Params, carry: None, key: Array) -> tuple[Array, None]:
        loss = mean_loss(model, task, trial.length, config.batch_size, False, params, key)
        return loss, carry

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        return init_train_state(model.init(key, task.input_size), optimizer, carry=None)

    @functools.partial(jax.jit, static_argnames="count")
    def block(state: TrainState, keys: Array, first: int, count: int) -> tuple[TrainState, Array]:
        def train_seed(state: TrainState, key: Array) -> tuple[TrainState, Array]:
            batch_keys = jax.random.split(jax.random.fold_in(key, first), count)
            return train_steps(loss_fn, optimizer, state, batch_keys)

        return jax.vmap(train_seed)(state, keys)

    keys = seed_keys(config)
    state = split_leading_axis(start(keys[:, 0]))
    for first in range(0, config.steps, BLOCK):
        state, losses = block(state, keys[:, 1], first, min(BLOCK, config.steps - first))
        yield state.params, np.asarray(losses)
        if (np.asarray(losses).mean(1) <= ENOUGH * task.chance).all():
            return


def evaluate(config: Config, trial: Trial, length: int, params: Params) -> np.ndarray:
    """The loss of each seed on `TEST_BATCHES` fresh batches of some length, ``[seeds]``."""
    task = TASKS[trial.task].test
    model = build_model(config, trial.cell, task)

    @jax.jit
    @jax.vmap
    def of_seed(params: Params, key: Array) -> Array:
        of_batch = functools.partial(mean_loss, model, task, length, TEST_BATCH, True, params)
        return jax.lax.map(of_batch, jax.random.split(key, TEST_BATCHES)).mean()

    return np.asarray(of_seed(params, seed_keys(config)[:, 2]))


def seed_keys(config: Config) -> Array:
    """Keys ``[seeds, 3]`` for the parameters, the training and the test, split over the devices."""
    return split_leading_axis(jax.random.split(jax.random.key(config.seed), (config.seeds, 3)))


def verdict(losses: np.ndarray, chance: float) -> str:
    """Say how many of the losses ``[seeds]`` are solved, and how many at chance.

    >>> verdict(np.array([0.009, 0.002]), 1 / 6)
    'solved'
    >>> verdict(np.array([0.009, 0.1, 0.17, np.nan]), 1 / 6)
    '1 solved, 2 at chance'
    """
    counts = {
        "solved": int((losses <= SOLVED * chance).sum()),
        "at chance": int((~(losses < AT_CHANCE * chance)).sum()),  # NaN too
    }
    for name, count in counts.items():
        if count == len(losses):
            return name
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "between"


def result(outcomes: list[Outcome]) -> dict[str, Any]:
    """What goes into ``result.json``."""
    return {
        "solved_share_of_chance": SOLVED,
        "at_chance_share_of_chance": AT_CHANCE,
        "runs": [
            {
                **outcome.trial._asdict(),
                "chance": outcome.chance,
                "optimum": TASKS[outcome.trial.task].test.optimum,
                "steps": outcome.steps,
                "tests": [
                    {
                        "length": length,
                        "loss": {**spread(losses), "per_seed": losses.tolist()},
                        "verdict": verdict(losses, outcome.chance),
                    }
                    for length, losses in outcome.losses.items()
                ],
                "wall_seconds": outcome.wall_seconds,
            }
            for outcome in outcomes
        ],
        "published": [
            {**row._asdict(), "verdict": verdict(np.array([row.loss]), row.chance)}
            for row in PUBLISHED
        ],
    }


def result_table(config: Config, outcomes: list[Outcome]) -> Table:
    """The losses of all seeds beside chance."""
    caption = (
        f"Solved: a loss of at most {SOLVED:.0%} of chance; at chance: of at least "
        f"{AT_CHANCE:.0%}.\nThe optimum is 0. Adding: squared error; all others: nats."
    )
    for length in dict.fromkeys(o.trial.length for o in outcomes if o.trial.task == "recall"):
        loss = AssociativeRecall().values_alone(length)
        caption += f"\nWho recalls the {length} values, and of no key which is its own: {loss:.4f}."
    table = Table(
        title=f"Test loss of {config.seeds} seeds, and how many solve also longer sequences",
        caption=caption,
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    table.add_column("task")
    table.add_column("length", justify="right")
    table.add_column("cell")
    for column in ("chance", "mean", "least", "most"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for times in config.longer:
        table.add_column(f"x{times}", justify="right")
    for outcome, after in zip(outcomes, [*outcomes[1:], None], strict=True):
        trial, (losses, *longer) = outcome.trial, outcome.losses.values()
        table.add_row(
            trial.task, str(trial.length), trial.cell, f"{outcome.chance:.4f}",
            *(f"{value:.4f}" for value in spread(losses).values()),
            verdict(losses, outcome.chance),
            *(str((losses <= SOLVED * outcome.chance).sum()) for losses in longer),
            end_section=after is None or after.trial.task != trial.task,
        )  # fmt: skip
    return table


def published_table() -> Table:
    """What others state for longer sequences, under the same two criteria."""
    table = Table(
        title="Published losses (Bai et al., 2018, table 1; copy: mean over all steps)",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
    )
    for column in Published._fields:
        table.add_column(column, justify="left" if column in ("task", "cell") else "right")
    table.add_column("verdict")
    for row in PUBLISHED:
        table.add_row(
            row.task, str(row.length), row.cell, f"{row.loss:.4g}", f"{row.chance:.4f}",
            verdict(np.array([row.loss]), row.chance),
        )  # fmt: skip
    return table


def figure(config: Config, outcomes: list[Outcome]) -> matplotlib.figure.Figure:
    """Success over length: mean and range over the seeds, a panel for each task."""
    width = 3 + 2.8 * len(config.tasks)
    fig = matplotlib.figure.Figure(figsize=(width, 4), layout="constrained")
    panels = np.ravel(fig.subplots(1, len(config.tasks), sharey=True))
    for axes, task in zip(panels, config.tasks, strict=True):
        mine = [outcome for outcome in outcomes if outcome.trial.task == task]
        for outcome in mine:
            place = config.cells.index(outcome.trial.cell)
            apart = 2 ** (0.08 * (place - (len(config.cells) - 1) / 2))  # lines that would coincide
            lengths = apart * np.array([*outcome.losses])
            success = 1 - np.stack([*outcome.losses.values()]) / outcome.chance
            success = np.nan_to_num(success, nan=0.0).clip(0, 1)
            mean = success.mean(1)
            color = f"C{place % 10}"
            axes.vlines(lengths, success.min(1), success.max(1), color=color, alpha=0.4)
            axes.plot(lengths, mean, "o-", color=color, markerfacecolor="white")
            axes.plot(lengths[0], mean[0], "o", color=color)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({length for outcome in mine for length in outcome.losses}))
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.minorticks_off()
        axes.set_title(task)
        axes.set_xlabel(f"length ({TASKS[task].unit})")
    panels[0].set_ylim(-0.05, 1.05)
    panels[0].set_yticks([0, 0.5, 1], ["0: chance", "0.5", "1: optimum"])
    panels[0].set_ylabel("success, 1 - loss / chance")
    fig.legend(
        [matplotlib.lines.Line2D([], [], color=f"C{n % 10}") for n in range(len(config.cells))],
        config.cells,
        loc="outside right center",
    )
    fig.suptitle(
        f"Mean and range of {config.seeds} seeds\n"
        "filled: trained at this length, open: only tested",
        fontsize="medium",
    )
    return fig


def main(config: Config, folder: RunDirectory) -> None:
    """Train and test every cell on every task, show progress and results, and write the files."""
    console = Console()
    outcomes = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn(), console=console,
    ) as progress:  # fmt: skip
        for trial in config.trials:
            began = time.perf_counter()
            name = f"{trial.task} {trial.length} {trial.cell}"
            bar = progress.add_task(f"{name:22}", total=config.steps, loss="-")
            steps = 0
            for params, losses in train(config, trial):  # noqa: B007, the last are tested
                steps += losses.shape[1]
                loss = spread(losses.mean(1))
                folder.append_jsonl(
                    "metrics.jsonl", {**trial._asdict(), "step": steps, "loss": loss}
                )
                progress.update(bar, completed=steps, loss=f"{loss['mean']:.4f}")
            tested = {n: evaluate(config, trial, n, params) for n in config.tested(trial)}
            for length, losses in tested.items():
                record = {**trial._asdict(), "step": steps, "tested_at": length}
                folder.append_jsonl("metrics.jsonl", record | {"loss": spread(losses)})
            progress.update(bar, total=steps)
            progress.stop_task(bar)
            seconds = round(time.perf_counter() - began, 2)
            outcomes.append(Outcome(trial, steps, tested, seconds))
    folder.write_json("result.json", result(outcomes))
    with folder.replacing("success_over_length.png") as path:
        figure(config, outcomes).savefig(path, dpi=120)
    console.print(result_table(config, outcomes))
    console.print(published_table())
    console.print(f"Files in {folder.path}", highlight=False)
