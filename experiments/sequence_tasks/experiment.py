"""Training of all seeds in one batch, tests at every length, the table and the figure."""

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

from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.sequence_tasks.config import Config, Trial
from experiments.sequence_tasks.models import TASKS, build_model
from seqjax import sequence_loss
from seqjax.decoding import decode
from seqjax.devices import split_leading_axis
from seqjax.seq2seq import EncoderDecoder, shift_right
from seqjax.tasks import SequencePair
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

SOLVED = 0.95  # a success of at least this share counts as solved
BLOCK = 100  # training steps per compiled call
TESTED = 400  # examples at each length


class Outcome(NamedTuple):
    """The results of a trial.

    Attributes:
      trial: the trial.
      loss: the mean training loss of the last block of steps, ``[seeds]``.
      success: the share of exact answers at the lengths 1, 2, ..., ``[lengths, seeds]``.
      wall_seconds: the wall time of training and tests.
    """

    trial: Trial
    loss: np.ndarray
    success: np.ndarray
    wall_seconds: float

    @property
    def trained(self) -> np.ndarray:
        """The mean success over the lengths in training, ``[seeds]``."""
        return self.success[: self.trial.length].mean(0)

    @property
    def solved_to(self) -> np.ndarray:
        """The largest length up to which every length is solved, 0 if none is, ``[seeds]``."""
        return np.logical_and.accumulate(self.success >= SOLVED).sum(0)


def mean_loss(
    config: Config, trial: Trial, model: EncoderDecoder, params: Params, key: Array
) -> Array:
    """The loss on new examples of 1 to ``trial.length`` in length."""
    task = TASKS[trial.task].task
    data_key, noise_key = jax.random.split(key)
    keys = jax.random.split(data_key, config.batch_size)
    pair: SequencePair = jax.vmap(lambda key: task.sample(key, trial.length))(keys)
    lengths = pair.target_lengths + 1  # the end symbol
    logits = model.logits(
        params, pair.sources, shift_right(pair.targets, task.start),
        source_lengths=pair.source_lengths, target_lengths=lengths, key=noise_key,
    )  # fmt: skip
    return sequence_loss(
        logits, pair.targets, lengths=lengths, label_smoothing=config.label_smoothing
    )


def train(config: Config, trial: Trial) -> Iterator[tuple[Params, np.ndarray]]:
    """Train all seeds in one batch.

    Yields:
      After each block of steps, the parameters of all seeds and the losses ``[seeds, steps]`` of
      the block.
    """
    model = build_model(config, trial)
    schedule = optax.cosine_decay_schedule(config.learning_rate, trial.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    def loss_fn(params: Params, carry: None, key: Array) -> tuple[Array, None]:
        return mean_loss(config, trial, model, params, key), carry

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        params = model.init(key, TASKS[trial.task].task.source_size)
        return init_train_state(params, optimizer, carry=None)

    @functools.partial(jax.jit, static_argnames="count")
    def block(state: TrainState, keys: Array, first: int, count: int) -> tuple[TrainState, Array]:
        def train_seed(state: TrainState, key: Array) -> tuple[TrainState, Array]:
            batch_keys = jax.random.split(jax.random.fold_in(key, first), count)
            return train_steps(loss_fn, optimizer, state, batch_keys)

        return jax.vmap(train_seed)(state, keys)

    keys = seed_keys(config)
    state = split_leading_axis(start(keys[:, 0]))
    for first in range(0, trial.steps, BLOCK):
        state, losses = block(state, keys[:, 1], first, min(BLOCK, trial.steps - first))
        yield state.params, np.asarray(losses)


def evaluate(config: Config, trial: Trial, params: Params) -> np.ndarray:
    """The share of exact answers of greedy decoding at every length, ``[lengths, seeds]``."""
    task, model = TASKS[trial.task].task, build_model(config, trial, hard=True)
    longest = config.reach * trial.length

    def at_length(params: Params, key: Array, length: Array) -> Array:
        keys = jax.random.split(jax.random.fold_in(key, length), TESTED)
        pair: SequencePair = jax.vmap(lambda key: task.sample(key, longest, length))(keys)
        source = model.encode(params, pair.sources, lengths=pair.source_lengths, deterministic=True)
        decoded = decode(
            model.decoder, source.params, jnp.full(TESTED, task.start, jnp.int32), end=task.end,
            max_length=pair.targets.shape[-1], state=source.state,
        )  # fmt: skip
        return task.success(decoded.tokens, decoded.lengths, pair)

    @jax.jit
    @jax.vmap
    def of_seed(params: Params, key: Array) -> Array:
        lengths = jnp.arange(1, longest + 1, dtype=jnp.int32)
        return jax.lax.map(functools.partial(at_length, params, key), lengths)

    return np.asarray(of_seed(params, seed_keys(config)[:, 2])).T


def seed_keys(config: Config) -> Array:
    """Keys ``[seeds, 3]`` for parameters, training and tests, sharded over the devices."""
    return split_leading_axis(jax.random.split(jax.random.key(config.seed), (config.seeds or 1, 3)))


def result(outcomes: list[Outcome]) -> dict[str, Any]:
    """The content of ``result.json``."""
    return {
        "solved_success": SOLVED,
        "examples_per_length": TESTED,
        "runs": [
            {
                **outcome.trial._asdict(),
                "training_loss": {**spread(outcome.loss), "per_seed": outcome.loss.tolist()},
                "success_at_trained_lengths": spread(outcome.trained),
                "solved_to": outcome.solved_to.tolist(),
                "tests": [
                    {
                        "length": length,
                        "chance": TASKS[outcome.trial.task].task.chance(length),
                        "success": {**spread(success), "per_seed": success.tolist()},
                    }
                    for length, success in enumerate(outcome.success, 1)
                ],
                "wall_seconds": outcome.wall_seconds,
            }
            for outcome in outcomes
        ],
    }


def result_table(config: Config, outcomes: list[Outcome]) -> Table:
    """The table of the success over all seeds, at the lengths in training and past them."""
    table = Table(
        title=f"Exact answers of {config.seeds} seed{'s' * (config.seeds != 1)}",
        caption=(
            "1 to L: mean and least of the seeds over the lengths in training.\n"
            f"solved to: the length up to which all lengths have {SOLVED:.0%}, least and most."
        ),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    table.add_column("task")
    table.add_column("L", justify="right")
    table.add_column("attention")
    for column in ("1 to L", "least", "at L", "1.5 L", f"{config.reach} L", "solved to"):
        table.add_column(column, justify="right")
    for outcome, after in zip(outcomes, [*outcomes[1:], None], strict=True):
        trial, success = outcome.trial, outcome.success.mean(1)
        lengths = (trial.length, round(1.5 * trial.length), config.reach * trial.length)
        reached = sorted({int(outcome.solved_to.min()), int(outcome.solved_to.max())})
        table.add_row(
            trial.task, str(trial.length), trial.mechanism,
            f"{outcome.trained.mean():.1%}", f"{outcome.trained.min():.1%}",
            *(f"{success[n - 1]:.1%}" if n <= len(success) else "" for n in lengths),
            " to ".join(map(str, reached)),
            end_section=after is None or after.trial.task != trial.task,
        )  # fmt: skip
    return table


def figure(config: Config, outcomes: list[Outcome]) -> matplotlib.figure.Figure:
    """Plot success over length, mean and range of the seeds, with one panel per task."""
    fig = matplotlib.figure.Figure(figsize=(2 + 3.4 * len(config.tasks), 3.6), layout="constrained")
    panels = np.ravel(fig.subplots(1, len(config.tasks), sharey=True))
    for axes, task in zip(panels, config.tasks, strict=True):
        mine = [outcome for outcome in outcomes if outcome.trial.task == task]
        for outcome in mine:
            lengths = np.arange(1, len(outcome.success) + 1)
            color = f"C{config.mechanisms.index(outcome.trial.mechanism)}"
            low, high = outcome.success.min(1), outcome.success.max(1)
            axes.fill_between(lengths, low, high, color=color, alpha=0.15, linewidth=0)
            axes.plot(lengths, outcome.success.mean(1), ".-", color=color)
        axes.plot(lengths, [TASKS[task].task.chance(n) for n in lengths.tolist()], ":", color="0.4")
        border = mine[0].trial.length + 0.5
        axes.axvline(border, color="0.4", linewidth=0.8)
        for side, label in (("right", "trained "), ("left", " longer")):
            axes.text(border, 1.04, label, color="0.4", ha=side, fontsize="small")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(task)
        axes.set_xlabel(f"length ({TASKS[task].unit})")
    panels[0].set_ylim(-0.04, 1.1)
    panels[0].set_ylabel("share of exact answers")
    lines = [
        matplotlib.lines.Line2D([], [], color=f"C{n}", marker=".")
        for n in range(len(config.mechanisms))
    ]
    chance = matplotlib.lines.Line2D([], [], color="0.4", linestyle=":")
    names = [{"none": "no attention"}.get(name, name) for name in config.mechanisms]
    fig.legend([*lines, chance], [*names, "chance"], loc="outside right center")
    return fig


def main(config: Config, folder: RunDirectory) -> None:
    """Train and test every mechanism on every task, show the results, and write the files."""
    folder.start()
    console = Console()
    outcomes = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn(), console=console,
    ) as progress:  # fmt: skip
        for trial in config.trials:
            began = time.perf_counter()
            name = f"{trial.task} {trial.mechanism}"
            bar = progress.add_task(f"{name:18}", total=trial.steps, loss="-")
            steps = 0
            for params, losses in train(config, trial):  # noqa: B007, the tests use the last
                steps += losses.shape[1]
                loss = losses.mean(1)
                record = {**trial._asdict(), "step": steps, "loss": spread(loss)}
                folder.append_jsonl("metrics.jsonl", record)
                progress.update(bar, completed=steps, loss=f"{spread(loss)['mean']:.4f}")
            success = evaluate(config, trial, params)
            for length, share in enumerate(success, 1):
                record = {**trial._asdict(), "step": steps, "tested_at": length}
                folder.append_jsonl("metrics.jsonl", record | {"success": spread(share)})
            progress.stop_task(bar)
            seconds = round(time.perf_counter() - began, 2)
            outcomes.append(Outcome(trial, loss, success, seconds))
    folder.write_json("result.json", result(outcomes))
    with folder.replacing("success_over_length.png") as path:
        figure(config, outcomes).savefig(path, dpi=120)
    console.print(result_table(config, outcomes))
    console.print(f"Files in {folder.path}", highlight=False)
