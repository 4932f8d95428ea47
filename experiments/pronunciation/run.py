"""A training run in a folder: data, evaluation, checkpoints, stopping and resuming."""

import dataclasses
import math
import time
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.char_model.run import all_finite
from experiments.errors import NotFiniteError, StoppedError
from experiments.event_log import EventLog
from experiments.pronunciation.config import Config
from experiments.pronunciation.decoding import Speaker, pronounce
from experiments.pronunciation.dictionary import Dictionary, Words, read_dictionary
from experiments.pronunciation.examples import (
    as_pairs,
    check_records_can_be_read,
    make_buckets,
    open_records,
    pairs_of,
    write_records,
)
from experiments.pronunciation.model import build_model
from experiments.pronunciation.score import Score, score
from experiments.pronunciation.symbols import Symbols
from experiments.pronunciation.train import average_of, init_state, make_loss, make_optimizer
from experiments.pronunciation.trained import About, check_dictionary
from experiments.run_directory import RunDirectory, only_one
from experiments.stop import Stop, on_signals
from seqjax.checkpoint import Checkpoints
from seqjax.data import Loader, plan
from seqjax.data.loader import Position
from seqjax.devices import data_mesh
from seqjax.training import TrainState, data_parallel_steps

LOGGED = 50  # steps for each record of the loss


def train(config: Config, folder: RunDirectory, console: Console) -> dict[str, Any]:
    """Train from the start or from the last checkpoint in ``folder``, and write the results.

    Returns:
      The content of ``result.json``.

    Raises:
      StoppedError: the process received SIGTERM or Ctrl-C; the state is saved.
      NotFiniteError: the loss is not finite; the last good checkpoint remains.
      ValueError: the dictionary does not fit the options, or it, the options or the records are
        not those of the checkpoint.
      OSError: a file cannot be written.
    """
    check_records_can_be_read()
    dictionary = read_dictionary(config.dictionary)
    letters = Symbols.of(dictionary.train)
    phonemes = Symbols.of(p for _, p in pairs_of(dictionary.train))
    for part in (dictionary.validation, dictionary.test):
        for word, pronunciation in pairs_of(part):
            letters.encode(word)
            phonemes.encode(pronunciation)
    folder.start()
    console.print(f"writing files to {folder.path}", highlight=False)
    with (
        only_one(folder.path),
        Checkpoints(folder.path / "checkpoints") as checkpoints,
        on_signals() as stop,
        EventLog(folder.path / "tensorboard") as board,
    ):
        run = _Run(config, folder, console, dictionary, letters, phonemes, checkpoints, board, stop)
        run.train()
        return run.finish()


class _Run:
    """The parts of `train`, which share the state of the run."""

    def __init__(
        self,
        config: Config,
        folder: RunDirectory,
        console: Console,
        dictionary: Dictionary,
        letters: Symbols,
        phonemes: Symbols,
        checkpoints: Checkpoints,
        board: EventLog,
        stop: Stop,
    ) -> None:
        self.config, self.folder, self.console, self.stop = config, folder, console, stop
        self.dictionary, self.checkpoints, self.board = dictionary, checkpoints, board
        self.letters, self.phonemes = letters, phonemes
        resumed = bool(checkpoints.steps())
        if not resumed:
            with console.status("writing the pairs as records"):
                write_records(folder.path / "records", dictionary.train, letters, phonemes)
        self.source = open_records(folder.path / "records")
        lengths = self.source.lengths
        self.policy = make_buckets(lengths, config.buckets, config.batch_size)
        self.per_epoch = len(plan(lengths, self.source.shards, self.policy))
        self.total = self.per_epoch * config.epochs
        self.model = build_model(config, letters.size, phonemes.size)
        self.state = init_state(config, self.model, letters.size, self.total)
        self.position, self.elapsed = Position(), 0.0
        if resumed:
            self._restore()
        self.step = int(self.state.step)
        self.evaluated = self.evaluations_due
        folder.keep_jsonl(
            "metrics.jsonl",
            lambda record: isinstance(record.get("step"), int) and record["step"] <= self.step,
        )
        mesh = data_mesh(config.batch_size)
        self.state = jax.device_put(self.state, NamedSharding(mesh, PartitionSpec()))
        loss = make_loss(self.model, config.label_smoothing)
        self.take_steps = data_parallel_steps(loss, make_optimizer(config, self.total), mesh)

    def _restore(self) -> None:
        restored = self.checkpoints.restore(self._like)
        about = About.from_json(self.folder.path, restored.about)
        if about.config != self.config:
            raise ValueError(
                f"{self.folder.path / 'config.json'} was changed since the checkpoint was saved; "
                "restore it, or start a new run"
            )
        check_dictionary(self.dictionary, about.sha256)
        if about.records != self.source.manifest_sha256:
            raise ValueError(
                f"the records in {self.folder.path / 'records'} are not those of the checkpoint; "
                "restore them, or start a new run"
            )
        self.state, self.elapsed = restored.state, about.elapsed
        self.position = Position(*about.position)
        self.console.print(f"resumed at step {restored.step}", highlight=False)

    @property
    def _like(self) -> TrainState:
        config, model, size = self.config, self.model, self.letters.size
        return jax.eval_shape(lambda: init_state(config, model, size, self.total))

    @property
    def evaluations_due(self) -> int:
        """The number of evaluations that are due by now."""
        return self.step * self.config.evaluations // self.total

    def train(self) -> None:
        """Take all steps; evaluate and save at regular intervals."""
        if self.step >= self.total:
            return
        key = jax.random.key(self.config.seed + 1)
        losses: list[float] = []
        with (
            Progress(
                TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
                console=self.console,
            ) as bars,
            Loader(
                self.source, self.policy, seed=self.config.seed, epochs=self.config.epochs,
                start=self.position,
            ) as loader,
        ):  # fmt: skip
            bar = bars.add_task("", total=self.total, completed=self.step)
            began = time.perf_counter()
            for batch in loader:
                pairs = as_pairs(batch, self.config.batch_size)
                one = jax.tree.map(lambda a: a[None], pairs)
                self.state, loss = self.take_steps(self.state, one, key)
                losses.append(float(loss[0]))
                self.step, self.position = self.step + 1, loader.position
                if not math.isfinite(losses[-1]):
                    raise NotFiniteError(
                        f"the loss of step {self.step} is {losses[-1]}; {self._last_good()}"
                    )
                now = time.perf_counter()
                self.elapsed, began = self.elapsed + now - began, now
                if self.step % LOGGED == 0 or self.step == self.total:
                    mean = float(np.mean(losses))
                    self._log(loss=mean)
                    bars.update(
                        bar, completed=self.step, description=f"step {self.step}  loss {mean:.4f}"
                    )
                    losses.clear()
                self._evaluate_if_due()
                try:
                    self.stop.check()
                except StoppedError:
                    self._save(math.inf)
                    raise
                began = time.perf_counter()

    def _evaluate_if_due(self) -> None:
        if self.evaluated == self.evaluations_due:
            return
        began = time.perf_counter()
        self.evaluated = self.evaluations_due
        scored = self._score(self.state, self.dictionary.validation)
        self._log(**_rates("validation", scored))
        self.board.flush()
        self._save(scored.phoneme_error)
        self.console.print(
            f"step {self.step}, pass {self.step / self.per_epoch:.2f}: phoneme error "
            f"{scored.phoneme_error:.2%}, word error {scored.word_error:.2%} on "
            f"{scored.words:,} validation words; trained for {self.elapsed:.0f} s, evaluated in "
            f"{time.perf_counter() - began:.1f} s",
            highlight=False,
        )

    def _score(self, state: TrainState, words: Words) -> Score:
        params = jax.device_put(average_of(state), jax.devices()[0])
        speaker = Speaker((self.model,), (params,), self.letters, self.phonemes)
        found = pronounce(speaker, list(words))
        return score({word: best[0].phonemes for word, best in found.items()}, words)

    def _log(self, **values: float) -> None:
        epoch = round(self.step / self.per_epoch, 4)
        record = {"step": self.step, "epoch": epoch, "seconds": round(self.elapsed, 3)}
        self.folder.append_jsonl("metrics.jsonl", record | values)
        self.board.add(self.step, **values)

    def _last_good(self) -> str:
        step = self.checkpoints.steps().get("last")
        if step is None:
            return "there is no checkpoint yet; lower --learning-rate or --clip"
        return f"the last good checkpoint is at step {step}; lower --learning-rate or --clip"

    def _save(self, error: float) -> None:
        """Save the state, which must be finite, with its validation error; infinity if unknown."""
        if not all_finite(self.state):
            raise NotFiniteError(
                f"the state of step {self.step} is not finite; {self._last_good()}"
            )
        about = About(
            self.config, self.letters, self.phonemes, self.total, self.dictionary.sha256,
            self.source.manifest_sha256 or "", (self.position.epoch, self.position.batch),
            self.elapsed,
        )  # fmt: skip
        config = dataclasses.asdict(self.config)
        if self.config.dictionary is not None:
            config["dictionary"] = str(self.config.dictionary)
        self.checkpoints.save(self.step, self.state, {"config": config, **about.to_json()}, error)

    def finish(self) -> dict[str, Any]:
        """Score the best checkpoint on the test words, and write the results."""
        best = self.checkpoints.restore(self._like, "best")
        with self.console.status("scoring the validation and the test words"):
            validation = self._score(best.state, self.dictionary.validation)
            test = self._score(best.state, self.dictionary.test)
        parts = {name: getattr(self.dictionary, name) for name in ("train", "validation", "test")}
        result = {
            "dictionary_sha256": self.dictionary.sha256,
            "dropped_words": self.dictionary.dropped,
            "words": {name: len(words) for name, words in parts.items()},
            "training_pairs": len(self.source.lengths),
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(best.state.params)),
            "train_seconds": round(self.elapsed, 2),
            "steps": self.step,
            "best_step": best.step,
            "validation": validation.as_json(),
            "test": test.as_json(),
        }
        self.folder.write_json("result.json", result)
        return result


def _rates(part: str, scored: Score) -> dict[str, float]:
    return {
        f"{part}_phoneme_error": scored.phoneme_error,
        f"{part}_word_error": scored.word_error,
    }
