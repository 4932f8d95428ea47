"""Truecasing: training and evaluation on lines of text, read from records in buckets."""

import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.processes import ALL
from experiments.run_directory import RunDirectory
from experiments.seeds import spread
from experiments.sequence_labelling import report
from experiments.sequence_labelling.baselines import Characters, Score, baselines, score
from experiments.sequence_labelling.config import Truecasing
from experiments.sequence_labelling.lines import Records, write_records
from experiments.sequence_labelling.networks import Network
from experiments.sequence_labelling.seeds import by_network, keys_of, list_trainings, own_seeds
from experiments.shares import announce, collect
from seqjax import sequence_loss
from seqjax.data import Batch, Bucketed, Loader, Report, Source, plan
from seqjax.devices import split_leading_axis
from seqjax.training import TrainState, init_train_state, train_step
from seqjax.types import Array, Params

EVALUATED_AT_ONCE = 256  # lines per batch in evaluation


def buckets(lengths: np.ndarray, batch_steps: int) -> Bucketed:
    """Four buckets with a quarter of the lines each: four shapes to compile, and little padding.

    >>> policy = buckets(np.array([3, 4, 5, 6, 9]), batch_steps=18)
    >>> policy.boundaries, policy.batch_size
    ((4, 5, 6, 9), (4, 3, 3, 2))
    """
    boundaries = np.unique(np.quantile(lengths, (0.25, 0.5, 0.75, 1), method="higher"))
    return Bucketed.of_steps(boundaries.tolist(), batch_steps, drop_remainder=True)


def steps_per_epoch(config: Truecasing, lengths: np.ndarray) -> int:
    """The number of batches per epoch of lines with these lengths, ``int[N]``."""
    return len(plan(lengths, [len(lengths)], buckets(lengths, config.batch_steps)))


def batch_loss(
    network: Network, params: Params, carry: None, batch: dict[str, Array], key: Array
) -> tuple[Array, None]:
    """The mean cross-entropy of the letters of a batch ``[B, T]``; padding is not a letter."""
    logits = network.logits(params, batch["token"], batch["lengths"], key)
    weights = batch["letter"].astype(logits.dtype)
    return sequence_loss(logits, batch["upper"].astype(jnp.int32), weights=weights), carry


def arrays(batch: Batch) -> dict[str, np.ndarray]:
    """The arrays of a batch that `batch_loss` takes."""
    features = {name: batch.features[name] for name in ("token", "upper", "letter")}
    return {**features, "lengths": batch.lengths}


def train(
    config: Truecasing,
    network: Network,
    seeds: Sequence[int],
    source: Source,
    vocabulary_size: int,
) -> Iterator[tuple[Params, np.ndarray]]:
    """Train some of the seeds of the config in one batch, on the same data.

    Yields:
      The parameters ``[seeds, ...]`` and the losses ``[seeds]`` after each step.
    """
    policy = buckets(source.lengths, config.batch_steps)
    total = config.epochs * steps_per_epoch(config, source.lengths)
    schedule = optax.cosine_decay_schedule(config.learning_rate, total)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
    loss_fn = functools.partial(batch_loss, network)

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None, 0))
    def step(state: TrainState, batch: dict[str, Array], key: Array) -> tuple[TrainState, Array]:
        return train_step(loss_fn, optimizer, state, batch, key=key)

    @jax.jit
    @jax.vmap
    def start(key: Array) -> TrainState:
        return init_train_state(network.init(key, vocabulary_size), optimizer, None)

    keys = keys_of(config.seed, config.seeds, seeds, 2)  # for parameters and dropout
    keys, state = split_leading_axis((keys[:, 1], start(keys[:, 0])))
    with Loader(source, policy, seed=config.seed, epochs=config.epochs) as loader:
        for batch in loader:
            state, losses = step(state, arrays(batch), keys)
            yield state.params, np.asarray(losses)


@functools.partial(jax.jit, static_argnames="network")
@functools.partial(jax.vmap, in_axes=(None, 0, None, None))
def _probabilities(network: Network, params: Params, tokens: Array, lengths: Array) -> Array:
    return jax.nn.softmax(network.logits(params, tokens, lengths))[..., 1]


def predict(network: Network, params: Params, source: Source) -> np.ndarray:
    """The probability of upper case for each character of a source, line after line.

    Args:
      network: the network.
      params: its parameters, ``[seeds, ...]``.
      source: examples of `lines.SCHEMA`.

    Returns:
      float32 ``[seeds, N]``.
    """
    policy = Bucketed((int(source.lengths.max()),), EVALUATED_AT_ONCE)  # at most two shapes
    parts = []
    for batch in Loader(source, policy, epochs=1):
        found = np.asarray(_probabilities(network, params, batch.features["token"], batch.lengths))
        within = np.arange(found.shape[-1]) < batch.lengths[:, None]
        parts.append(found[:, within])
    return np.concatenate(parts, axis=1)


class Epoch(NamedTuple):
    """The results of some seeds of a network after an epoch, ``[seeds]`` each.

    Attributes:
      step: the number of training steps.
      loss: the mean training loss of the epoch.
      scores: the scores on the held-out lines.
    """

    step: int
    loss: np.ndarray
    scores: Score

    def record(self, network: Network) -> dict[str, Any]:
        """The record of the log."""
        return {
            "network": network.name,
            "step": self.step,
            "loss": spread(self.loss),
            "held_out": {name: spread(value) for name, value in self.scores._asdict().items()},
        }


def train_and_score(
    config: Truecasing,
    records: Records,
    network: Network,
    seeds: Sequence[int],
    folder: RunDirectory,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train some seeds of a network, score them after each epoch, and show and log progress.

    Returns:
      The results of each seed, as JSON data.
    """
    per_epoch = steps_per_epoch(config, records.train.lengths)
    bar = progress.add_task(network.name, total=config.epochs * per_epoch, shown="")
    held_out = Characters.of(records.held_out)
    began = time.perf_counter()
    losses: list[np.ndarray] = []
    epochs: list[Epoch] = []
    for params, loss in train(config, network, seeds, records.train, records.vocabulary.size):
        losses.append(loss)
        progress.update(bar, advance=1)
        if len(losses) % per_epoch:
            continue
        probabilities = predict(network, params, records.held_out)
        scores = score(held_out, probabilities > 0.5)
        progress.update(bar, shown=f"held-out F1 {scores.f1.mean():.3f}")
        epochs.append(Epoch(len(losses), np.mean(losses[-per_epoch:], axis=0), scores))
        if ALL.is_first:
            folder.append_jsonl("metrics.jsonl", epochs[-1].record(network))
    seconds = round(time.perf_counter() - began, 2)
    parameters = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    return [
        {
            "parameters": parameters,
            "probabilities": None if seed else probabilities[n].tolist(),
            "epochs": [
                [epoch.step, float(epoch.loss[n]), [float(value[n]) for value in epoch.scores]]
                for epoch in epochs
            ],
            "wall_seconds": seconds,
        }
        for n, seed in enumerate(seeds)
    ]


def join_seeds(results: Sequence[dict[str, Any]]) -> list[Epoch]:
    """The epochs of all seeds of a network, from what `train_and_score` returns."""
    epochs = []
    for of_seeds in zip(*(result["epochs"] for result in results), strict=True):
        steps, losses, scores = zip(*of_seeds, strict=True)
        columns = Score(*np.array(scores).T)
        epochs.append(Epoch(steps[0], np.array(losses, np.float32), columns))
    return epochs


def run_of(network: Network, results: Sequence[dict[str, Any]]) -> report.Run:
    """The results of all seeds of a network."""
    return report.Run(
        network,
        results[0]["parameters"],
        np.array(results[0]["probabilities"], np.float32),
        join_seeds(results)[-1].scores,
        max(result["wall_seconds"] for result in results),
    )


def main(config: Truecasing, folder: RunDirectory) -> None:
    """Write the records, train both networks, and show and write the results.

    Several processes share the seeds, and process 0 writes the files.
    """
    console = ALL.console
    lines = config.read_lines()
    ALL.start(folder)
    with console.status("writing the lines as records"):
        records = write_records(lines, folder.path / "records")
    policy = buckets(records.train.lengths, config.batch_steps)
    batches = plan(records.train.lengths, records.train.shards, policy, seed=config.seed)
    console.print(
        f"{len(lines.train):,} lines to train on, {len(lines.held_out):,} held out "
        f"({lines.split})\n"
        f"An epoch: {Report.of_plan(batches, records.train.lengths, policy)}",
        highlight=False,
    )
    trainings = list_trainings(config.networks, config.seeds)
    announce(console, trainings, "trainings")
    own: list[dict[str, Any]] = []
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[shown]}"), TimeRemainingColumn(), console=console,
    ) as progress:  # fmt: skip
        for network, seeds in own_seeds(trainings).items():
            own += train_and_score(config, records, network, seeds, folder, progress)
    found = by_network(trainings, collect(own, console))
    if not ALL.is_first:
        return
    log = [epoch.record(network) for network, results in found for epoch in join_seeds(results)]
    folder.write_jsonl("metrics.jsonl", log)
    runs = [run_of(*results) for results in found]
    held_out = Characters.of(records.held_out)
    predictions = baselines(Characters.of(records.train), held_out)
    scores = {name: score(held_out, predicted) for name, predicted in predictions.items()}
    folder.write_json("result.json", report.result(config.corpus, held_out, scores, runs))
    examples = report.choose(lines.held_out, runs)
    with folder.replacing("examples.png") as path:
        report.figure(examples).savefig(path, dpi=120)
    for shown in examples:
        console.print(report.in_terminal(shown))
    name = Path(config.corpus).name
    console.print(report.result_table(name, held_out, scores, runs))
    console.print(report.LEGEND, report.conclusion(scores, runs), sep="\n", highlight=False)
