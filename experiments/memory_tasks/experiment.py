"""Training of all seeds in one batch, and tests."""

import functools
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.cells import CellName, make_cell
from experiments.memory_tasks.config import Config, Trial
from experiments.memory_tasks.report import (
    Outcome,
    figure,
    published_table,
    result,
    result_table,
)
from experiments.memory_tasks.tasks import TASKS
from experiments.processes import ALL
from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.shares import announce, collect, own_share
from seqjax import Cell, OutputProjection, Stack, unroll
from seqjax.devices import split_leading_axis
from seqjax.tasks import MemoryTask
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.types import Array, Params

ENOUGH = 0.02  # training ends when the loss of every seed is at most this fraction of chance
BLOCK = 50  # training steps per compiled call
TEST_BATCHES = 20
TEST_BATCH = 100  # examples; all batches in one would take gigabytes


def build_model(config: Config, cell: CellName, task: MemoryTask) -> Cell:
    """A stack of cells with a linear readout."""
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
    """The loss on new examples; cells draw no noise if ``deterministic``."""
    example = jax.vmap(lambda key: task.sample(key, length))(jax.random.split(key, examples))
    xs = example.inputs
    if jnp.issubdtype(xs.dtype, jnp.integer):  # some cells accept only features
        xs = jax.nn.one_hot(xs, task.input_size, dtype=jnp.float32)
    noise_key = None if deterministic else jax.random.fold_in(key, examples)
    _, outputs = unroll(model, params, xs, key=noise_key, deterministic=deterministic)
    return task.loss(outputs, example)


def train(config: Config, trial: Trial) -> Iterator[tuple[Params, np.ndarray]]:
    """Train all seeds in one batch, until all have solved the task or ``config.steps`` is reached.

    Yields:
      After each block of steps, the parameters of all seeds and the losses ``[seeds, steps]`` of
      the block.
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
    """The loss of each seed on `TEST_BATCHES` new batches of the given length, ``[seeds]``."""
    task = TASKS[trial.task].test
    model = build_model(config, trial.cell, task)

    @jax.jit
    @jax.vmap
    def of_seed(params: Params, key: Array) -> Array:
        of_batch = functools.partial(mean_loss, model, task, length, TEST_BATCH, True, params)
        return jax.lax.map(of_batch, jax.random.split(key, TEST_BATCHES)).mean()

    return np.asarray(of_seed(params, seed_keys(config)[:, 2]))


def seed_keys(config: Config) -> Array:
    """Keys ``[seeds, 3]`` for parameters, training and tests, sharded over the devices."""
    return split_leading_axis(jax.random.split(jax.random.key(config.seed), (config.seeds, 3)))


def train_and_test(
    config: Config, trial: Trial, folder: RunDirectory, progress: Progress
) -> dict[str, Any]:
    """Train and test one cell, and show progress and, in process 0, log it.

    Returns:
      The `Outcome` as JSON data, with the records of the log.
    """
    began = time.perf_counter()
    name = f"{trial.task} {trial.length} {trial.cell}"
    bar = progress.add_task(f"{name:22}", total=config.steps, loss="-")
    steps = 0
    records: list[dict[str, Any]] = []

    def log(**values: Any) -> None:
        records.append({**trial._asdict(), "step": steps, **values})
        if ALL.is_first:
            folder.append_jsonl("metrics.jsonl", records[-1])

    for params, losses in train(config, trial):  # noqa: B007, the tests use the last
        steps += losses.shape[1]
        loss = spread(losses.mean(1))
        log(loss=loss)
        progress.update(bar, completed=steps, loss=f"{loss['mean']:.4f}")
    tested = {n: evaluate(config, trial, n, params) for n in config.tested(trial)}
    for length, losses in tested.items():
        log(tested_at=length, loss=spread(losses))
    progress.update(bar, total=steps)
    progress.stop_task(bar)
    seconds = round(time.perf_counter() - began, 2)
    of_length = [(length, losses.tolist()) for length, losses in tested.items()]
    return {"steps": steps, "losses": of_length, "wall_seconds": seconds, "records": records}


def main(config: Config, folder: RunDirectory) -> None:
    """Train and test every cell on every task, show progress and results, and write the files.

    Several processes share the trials, and process 0 writes the files.
    """
    ALL.start(folder)
    console = ALL.console
    announce(console, config.trials, "trials")
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"), TimeElapsedColumn(), console=console,
    ) as progress:  # fmt: skip
        own = [
            train_and_test(config, trial, folder, progress) for trial in own_share(config.trials)
        ]
    done = collect(own, console)
    if not ALL.is_first:
        return
    outcomes = [
        Outcome(
            trial,
            found["steps"],
            {length: np.array(losses, np.float32) for length, losses in found["losses"]},
            found["wall_seconds"],
        )
        for trial, found in zip(config.trials, done, strict=True)
    ]
    folder.write_jsonl("metrics.jsonl", [record for found in done for record in found["records"]])
    folder.write_json("result.json", result(outcomes))
    with folder.replacing("success_over_length.png") as path:
        figure(config, outcomes).savefig(path, dpi=120)
    console.print(result_table(config, outcomes))
    console.print(published_table())
    console.print(f"Files in {folder.path}", highlight=False)
