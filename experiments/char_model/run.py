"""A training run in a folder: data, progress, evaluation, checkpoints, a clean stop and resume."""

import contextlib
import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import filelock
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboardX import SummaryWriter

from experiments.char_model.config import Config, build_model, config_from_json
from experiments.char_model.errors import NotFiniteError, StoppedError
from experiments.char_model.evaluation import streaming, windowed
from experiments.char_model.train import (
    Data,
    init_state,
    learning_rate,
    make_block,
    span,
    spread,
    steps_per_epoch,
)
from experiments.run_directory import RunDirectory
from seqjax import LanguageModel
from seqjax.checkpoint import Checkpoints
from seqjax.data.ngram import ngram_losses
from seqjax.data.text import Corpus, Vocabulary, read_corpus, split, streams
from seqjax.devices import data_mesh
from seqjax.sampling import Sampling, generate, prime
from seqjax.types import Params

BLOCK = 20  # steps in one program
EVALUATION_ROWS = 32  # parts of the validation text that are read side by side on the way
NGRAMS = (3, 5)


class Text(NamedTuple):
    """A corpus as tokens."""

    corpus: Corpus
    vocabulary: Vocabulary
    train: np.ndarray  # int32[N]
    validation: np.ndarray  # int32[M]
    split: str  # what the split is called in results


class Trained(NamedTuple):
    """A model that was trained, read back from the folder of its run."""

    config: Config
    vocabulary: Vocabulary
    model: LanguageModel
    params: Params  # the running average
    step: int


def read_text(config: Config) -> Text:
    """Read the corpus and make its vocabulary, of the training part alone."""
    corpus = read_corpus(config.corpus, errors=config.errors)
    parts = split(corpus.text, config.validation)
    if config.bytes:
        vocabulary = Vocabulary(None)
    else:
        vocabulary = Vocabulary.of(parts.train, min_count=config.min_count)
        unseen = {*parts.validation} - {*parts.train}
        if unseen and not vocabulary.unknown:
            vocabulary = dataclasses.replace(vocabulary, unknown=True)
    train, validation = map(vocabulary.encode, (parts.train, parts.validation))
    needed = config.batch_size * span(config) + 1
    if len(train) < needed:
        raise ValueError(
            f"the training part of {config.corpus} has {len(train)} characters, and one step needs "
            f"{needed}: --batch-size {config.batch_size} rows of {span(config)} steps; "
            "give a longer text, fewer rows or shorter chunks"
        )
    if len(validation) < 2:
        raise ValueError(
            f"the validation part of {config.corpus} has {len(validation)} characters; give a "
            "longer text or a larger --validation"
        )
    return Text(corpus, vocabulary, train, validation, parts.name)


def load(folder: Path, which: str = "best") -> Trained:
    """Read a trained model back.

    Raises:
      ValueError: the folder holds no run, or its checkpoint cannot be read.
    """
    if not (folder / "checkpoints").is_dir():
        raise ValueError(f"{folder} is no folder of a run: it has no checkpoints in it")
    with Checkpoints(folder / "checkpoints") as checkpoints:
        about = checkpoints.about(which)
        config, vocabulary = _config_and_vocabulary(folder, about)
        model = build_model(config, vocabulary.size)
        like = jax.eval_shape(lambda: init_state(config, model))
        restored = checkpoints.restore(like, which)
    return Trained(config, vocabulary, model, restored.state.average, restored.step)


def _config_and_vocabulary(folder: Path, about: dict[str, Any]) -> tuple[Config, Vocabulary]:
    try:
        return config_from_json(about["config"]), Vocabulary.from_json(about["vocabulary"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"the checkpoint in {folder} is not one of a character model") from error


def train(config: Config, folder: RunDirectory, console: Console) -> dict[str, Any]:
    """Train from the last checkpoint in ``folder``, or from the start, and write the results.

    Returns:
      What is in ``result.json``.

    Raises:
      StoppedError: SIGTERM or Ctrl-C came; the state is saved.
      NotFiniteError: the loss was no number; the last good checkpoint is there.
      ValueError: the text does not fit the options, or the checkpoint not the config.
      OSError: a file cannot be written.
    """
    text = read_text(config)
    model = build_model(config, text.vocabulary.size)
    with (
        _only_one(folder.path),
        Checkpoints(folder.path / "checkpoints") as checkpoints,
        _signals() as stop,
        SummaryWriter(str(folder.path / "tensorboard")) as board,
    ):
        run = _Run(config, folder, console, text, model, checkpoints, board)
        run.train(stop)
        return run.finish()


class _Run:
    """What `train` does, in parts that share the run."""

    def __init__(
        self,
        config: Config,
        folder: RunDirectory,
        console: Console,
        text: Text,
        model: LanguageModel,
        checkpoints: Checkpoints,
        board: SummaryWriter,
    ) -> None:
        self.config, self.folder, self.console = config, folder, console
        self.text, self.model, self.checkpoints, self.board = text, model, checkpoints, board
        mesh = data_mesh(config.batch_size)
        state = init_state(config, model)
        data = Data(*map(jnp.asarray, streams(text.train, config.batch_size)))
        self.chunks = steps_per_epoch(config, data.inputs.shape[1])
        self.total = max(1, round(config.epochs * self.chunks))
        self.elapsed = 0.0  # seconds of training
        self.step = 0
        self.evaluated = 0  # how many evaluations there were
        if checkpoints.steps():
            restored = checkpoints.restore(state)
            state, self.step = restored.state, restored.step
            self.elapsed, self.evaluated = (restored.about[n] for n in ("elapsed", "evaluated"))
            console.print(f"resumed at step {self.step}", highlight=False)
        folder.keep_jsonl("metrics.jsonl", lambda record: record["step"] <= self.step)
        self.state, self.data = spread(mesh, state, data)
        self.block = make_block(config, model, mesh)

    @property
    def progress(self) -> float:
        """The share of the training that is done."""
        if self.config.max_seconds is not None:
            return min(1.0, self.elapsed / self.config.max_seconds)
        return self.step / self.total

    def train(self, stop: list[int]) -> None:
        """Take all steps, with an evaluation now and then."""
        with Progress(
            TextColumn("step {task.fields[step]}"), BarColumn(),
            TextColumn("loss {task.fields[loss]}  {task.fields[speed]} chars/s"),
            TimeRemainingColumn(), console=self.console,
        ) as bars:  # fmt: skip
            bar = bars.add_task("", total=1.0, step="", loss="", speed="")
            while self.progress < 1:
                losses, seconds = self._take_block()
                chars = len(losses) * self.config.batch_size * self.config.num_steps
                loss = float(losses.mean(dtype=np.float64))
                self._log(loss=loss, learning_rate=self._rate(), chars_per_second=chars / seconds)
                bars.update(
                    bar, completed=self.progress, step=self.step, loss=f"{loss:.4f}",
                    speed=f"{chars / seconds:,.0f}",
                )  # fmt: skip
                if self.progress * self.config.evaluations >= self.evaluated + 1:
                    self._evaluate()
                if stop and self.progress < 1:
                    self._save(math.inf)
                    raise StoppedError(signal.Signals(stop[0]).name)

    def _take_block(self) -> tuple[np.ndarray, float]:
        count, began = BLOCK, time.perf_counter()
        if self.config.max_seconds is None:
            evaluation = -(-self.total * (self.evaluated + 1) // self.config.evaluations)
            count = min(count, max(1, evaluation - self.step), self.total - self.step)
        rates = np.zeros(BLOCK, np.float32)
        rates[:count] = [self._rate(n) for n in range(count)]
        self.state, block_losses = self.block(
            self.state, self.data, jnp.asarray(rates), jnp.int32(count)
        )
        losses = np.asarray(block_losses)[:count]  # waits for the block
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            raise NotFiniteError(
                f"the loss of step {self.step + int(bad[0]) + 1} is {losses[bad[0]]}; "
                f"the last good checkpoint is that of step {self.checkpoints.steps().get('last')}"
            )
        seconds = time.perf_counter() - began
        self.step += count
        self.elapsed += seconds
        return losses, seconds

    def _rate(self, ahead: int = 0) -> float:
        step = self.step + ahead
        by_the_clock = self.config.max_seconds is not None
        progress = self.progress if by_the_clock else step / self.total
        return learning_rate(self.config, step, progress)

    def _evaluate(self) -> None:
        self.evaluated += 1
        began = time.perf_counter()
        score = streaming(self.model, self.average, self.text.validation, EVALUATION_ROWS)
        self._log(validation_nats=score.nats)
        self._save(score.nats)
        self.console.print(
            f"step {self.step}: validation {score.nats:.4f} nats, {score.bits:.4f} bits per "
            f"character; {self.elapsed:.0f} s of training, evaluated in "
            f"{time.perf_counter() - began:.1f} s",
            highlight=False,
        )
        self.console.print(self._sample(), style="dim", markup=False, highlight=False)

    @property
    def average(self) -> Params:
        """The averaged parameters on one device."""
        return jax.device_put(self.state.average, jax.devices()[0])

    def _sample(self) -> str:
        start = prime(self.model, self.average, jnp.asarray(self.text.validation[None, :1]))
        key = jax.random.fold_in(jax.random.key(self.config.seed), self.step)
        _, tokens = generate(self.model, self.average, start, key, 200, Sampling())
        return self.text.vocabulary.decode(np.asarray(tokens)[0])

    def _log(self, **values: float) -> None:
        epoch = self.step / self.chunks
        record = {"step": self.step, "epoch": round(epoch, 4), "seconds": round(self.elapsed, 3)}
        self.folder.append_jsonl("metrics.jsonl", record | values)
        for name, value in values.items():
            self.board.add_scalar(name, value, self.step)

    def _save(self, loss: float) -> None:
        about = {
            "config": dataclasses.asdict(self.config),
            "vocabulary": self.text.vocabulary.to_json(),
            "elapsed": self.elapsed,
            "evaluated": self.evaluated,
        }
        self.checkpoints.save(self.step, self.state, about, loss)

    def finish(self) -> dict[str, Any]:
        """Score the best checkpoint and write the results."""
        best = self.checkpoints.restore(
            jax.eval_shape(lambda: init_state(self.config, self.model)), "best"
        )
        params, config, text = best.state.average, self.config, self.text
        stream = streaming(self.model, params, text.validation)
        window = windowed(self.model, params, text.validation, config.window)
        ngrams = ngram_losses(text.train, text.validation, NGRAMS, text.vocabulary.size)
        result = {
            "corpus": config.corpus,
            "corpus_sha256": text.corpus.sha256,
            "split": text.split,
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "train_seconds": round(self.elapsed, 2),
            "steps": self.step,
            "best_step": best.step,
            "chars_per_second": round(
                self.step * config.batch_size * config.num_steps / max(self.elapsed, 1e-9)
            ),
            "val": {
                "streaming_nats": stream.nats,
                "streaming_bits": stream.bits,
                "windowed_nats": window.nats,
                "window": config.window,
            },
            "ngram_nats": {str(order): loss for order, loss in ngrams.items()},
        }
        self.folder.write_json("result.json", result)
        return result


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGTERM and Ctrl-C; a second one of them ends the process as ever."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # others get no signals
        yield caught
        return
    before = {int(n): signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)}

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Hold the folder while this process writes to it; the lock ends with the process."""
    try:
        lock = filelock.FileLock(folder / ".lock", blocking=False).acquire()
    except filelock.Timeout:
        raise ValueError(f"another process is training in {folder}; wait for it") from None
    with lock:
        yield


def read_config(folder: Path) -> Config:
    """The config of the run in ``folder``.

    Raises:
      ValueError: there is none.
    """
    try:
        return config_from_json(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(f"{folder} holds no run to go on with: {error}") from None
