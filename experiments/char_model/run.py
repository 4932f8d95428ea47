"""A training run in a folder: data, evaluation, checkpoints, stopping and resuming."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.char_model.baselines import baselines
from experiments.char_model.config import Config, build_model, config_from_json
from experiments.char_model.evaluation import Track, rows_for, streaming, windowed
from experiments.char_model.resume import Resume, TrainedOn, check_config, trained_on
from experiments.char_model.text import Text, read_text
from experiments.char_model.train import (
    Rows,
    block_data,
    init_state,
    learning_rate,
    make_block,
    spread,
    steps_per_epoch,
)
from experiments.errors import NotFiniteError, StoppedError
from experiments.event_log import EventLog
from experiments.run_directory import RunDirectory, only_one
from experiments.stop import Stop, on_signals
from seqjax import LanguageModel
from seqjax.checkpoint import Checkpoints
from seqjax.data.text import streams
from seqjax.devices import data_mesh
from seqjax.sampling import Sampling, generate, prime
from seqjax.types import Params, PyTree

BLOCK = 20  # steps per compiled call
EVALUATION_ROWS = 32  # parts of the validation text in one batch, for evaluation during training
EVALUATED = 2_000_000  # characters of a longer validation text that are read during training


def train(
    config: Config,
    folder: RunDirectory,
    console: Console,
    resume: Resume = Resume(),  # noqa: B008, a frozen dataclass
) -> dict[str, Any]:
    """Train from the start or from a checkpoint in ``folder``, and write the results.

    Args:
      config: the options of the run.
      folder: the folder of the run.
      console: shows progress.
      resume: how to resume if the folder holds a checkpoint.

    Returns:
      The content of ``result.json``.

    Raises:
      StoppedError: the process received SIGTERM or Ctrl-C; the state is saved.
      NotFiniteError: the loss or the state is not finite; the last good checkpoint remains.
      ValueError: the text does not fit the options, the options differ from those of the
        checkpoint, or they leave nothing to train.
      OSError: a file cannot be written.
    """
    text = read_text(config, _resumed(config, folder.path, resume))
    model = build_model(config, text.vocabulary.size)
    folder.start()
    console.print(f"writing files to {folder.path}", highlight=False)
    with (
        only_one(folder.path),
        Checkpoints(folder.path / "checkpoints") as checkpoints,
        on_signals() as stop,
        EventLog(folder.path / "tensorboard") as board,
    ):
        run = _Run(config, folder, console, text, model, checkpoints, board, stop, resume.which)
        folder.write_json("config.json", config)  # a resumed run may have been extended
        run.train()
        return run.finish()


def _resumed(config: Config, folder: Path, resume: Resume) -> TrainedOn | None:
    """The text that the run was trained on; None if it has no checkpoint yet."""
    if not (folder / "checkpoints").is_dir():
        return None
    with Checkpoints(folder / "checkpoints") as checkpoints:
        if not checkpoints.steps():
            return None
        trained, text = trained_on(folder, checkpoints.about(resume.which))
    check_config(folder, config, trained)
    return text._replace(changed=resume.changed_corpus)


class _Run:
    """The parts of `train`, which share the state of the run."""

    def __init__(
        self,
        config: Config,
        folder: RunDirectory,
        console: Console,
        text: Text,
        model: LanguageModel,
        checkpoints: Checkpoints,
        board: EventLog,
        stop: Stop,
        which: str,
    ) -> None:
        self.config, self.folder, self.console, self.stop = config, folder, console, stop
        self.text, self.model, self.checkpoints, self.board = text, model, checkpoints, board
        mesh = data_mesh(config.batch_size)
        state = init_state(config, model)
        self.rows = Rows(*streams(text.train, config.batch_size))
        self.chunks = steps_per_epoch(config, self.rows.inputs.shape[1])
        self.total = max(1, round(config.epochs * self.chunks))
        self.elapsed = 0.0  # seconds of training
        self.step = 0
        interrupted = False  # whether the run was stopped in an evaluation
        if checkpoints.steps():
            restored = checkpoints.restore(state, which)
            state, self.step = restored.state, restored.step
            self.elapsed = restored.about["elapsed"]
            console.print(f"resumed at step {self.step}", highlight=False)
            interrupted = restored.about.get("evaluation_interrupted", False)
            if not interrupted:
                self._check_extended(config_from_json(restored.about["config"]))
            self._compare_devices(restored.about.get("devices", mesh.size), mesh.size)
        self.evaluated = self.evaluations_due - interrupted
        folder.keep_jsonl(
            "metrics.jsonl",
            lambda record: isinstance(record.get("step"), int) and record["step"] <= self.step,
        )
        self.devices = mesh.size
        self.state = spread(mesh, state)
        self.block = make_block(config, model, mesh)

    @property
    def progress(self) -> float:
        """The fraction of the training that is done."""
        if self.config.max_seconds is not None:
            return min(1.0, self.elapsed / self.config.max_seconds)
        return self.step / self.total

    @property
    def evaluations_due(self) -> int:
        """The number of evaluations that are due by now."""
        if self.config.max_seconds is not None:
            return int(self.progress * self.config.evaluations)
        return self.step * self.config.evaluations // self.total

    def _compare_devices(self, before: int, now: int) -> None:
        if before != now:
            self.console.print(
                f"the checkpoint was saved on {before} devices and this run has {now}: each device "
                "draws its own noise, so the results differ from those of an uninterrupted run",
                highlight=False,
            )

    def _check_extended(self, before: Config) -> None:
        if self.progress < 1:
            return
        had = f"{self.step / self.chunks:.4g} epochs in {self.elapsed:.0f} s"
        if before != self.config:
            raise ValueError(
                f"--resume {self.folder.path}: the run has trained {had}, which leaves nothing to "
                "train; give more --epochs or --max-seconds"
            )
        self.console.print(
            f"the run ended after {had}; more --epochs or --max-seconds extend it",
            highlight=False,
        )

    def train(self) -> None:
        """Take all steps; evaluate and save at regular intervals."""
        with Progress(
            TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(),
            console=self.console,
        ) as bars:  # fmt: skip
            self._evaluate_if_due(bars)  # an evaluation may have been interrupted
            bar = bars.add_task("", total=1.0)
            while self.progress < 1:
                losses, seconds = self._take_block()
                chars = len(losses) * self.config.batch_size * self.config.num_steps
                loss = float(losses.mean(dtype=np.float64))
                self._log(loss=loss, learning_rate=self._rate(), chars_per_second=chars / seconds)
                speed = f"{chars / seconds:,.0f} chars/s"
                description = f"step {self.step}  loss {loss:.4f}  {speed}"
                bars.update(bar, completed=self.progress, description=description)
                self._evaluate_if_due(bars)
                try:
                    self.stop.check()
                except StoppedError:
                    if self.progress < 1:
                        self._save(math.inf)
                    raise

    def _take_block(self) -> tuple[np.ndarray, float]:
        count, began = BLOCK, time.perf_counter()
        if self.config.max_seconds is None:
            evaluation = -(-self.total * (self.evaluated + 1) // self.config.evaluations)
            count = min(count, max(1, evaluation - self.step), self.total - self.step)
        rates = np.zeros(BLOCK, np.float32)
        rates[:count] = [self._rate(n) for n in range(count)]
        data = block_data(self.config, self.rows, self.step, BLOCK)
        self.state, block_losses = self.block(
            self.state, data, jnp.asarray(rates), jnp.int32(count)
        )
        losses = np.asarray(block_losses)[:count]  # waits for the block
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            raise NotFiniteError(
                f"the loss of step {self.step + int(bad[0]) + 1} is {losses[bad[0]]}; "
                + self._last_good()
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

    def _evaluate_if_due(self, bars: Progress) -> None:
        if self.evaluated == self.evaluations_due:
            return
        began = time.perf_counter()
        try:
            with self.stop.at_once(), _shown(bars, "evaluating") as track:
                start = self.text.validation[:EVALUATED]
                score = streaming(self.model, self.average, start, EVALUATION_ROWS, track)
        except StoppedError:
            self._save(math.inf)
            raise
        self._log(validation_nats=score.nats)
        self.board.flush()
        if not math.isfinite(score.nats):
            raise NotFiniteError(
                f"the validation loss of step {self.step} is {score.nats}; {self._last_good()}"
            )
        self.evaluated = self.evaluations_due
        self._save(score.nats)
        self.console.print(
            f"step {self.step}: validation loss {score.nats:.4f} nats, {score.bits:.4f} bits per "
            f"character; trained for {self.elapsed:.0f} s, evaluated in "
            f"{time.perf_counter() - began:.1f} s",
            highlight=False,
        )
        self.console.print(self._sample(), style="dim", markup=False, highlight=False)

    @property
    def average(self) -> Params:
        """The moving average of the parameters, on one device."""
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
        self.board.add(self.step, **values)

    def _last_good(self) -> str:
        step = self.checkpoints.steps().get("last")
        advice = "lower --learning-rate or --clip"
        if step is None:
            return f"there is no checkpoint yet; {advice}"
        return f"the last good checkpoint is at step {step}; {advice}"

    def _save(self, loss: float) -> None:
        """Save the state, which must be finite, with its validation loss; infinity if unknown."""
        if not all_finite(self.state):
            raise NotFiniteError(
                f"the state of step {self.step} is not finite; {self._last_good()}"
            )
        about = {
            "config": dataclasses.asdict(self.config),
            "vocabulary": self.text.vocabulary.to_json(),
            "corpus_sha256": self.text.sha256,
            "elapsed": self.elapsed,
            "evaluation_interrupted": self.evaluated < self.evaluations_due,
            "devices": self.devices,
        }
        self.checkpoints.save(self.step, self.state, about, loss)

    def finish(self) -> dict[str, Any]:
        """Score the best checkpoint, and write the results and the learning curve.

        Raises:
          StoppedError: the process received a signal; a resumed run scores again.
        """
        best = self.checkpoints.restore(
            jax.eval_shape(lambda: init_state(self.config, self.model)), "best"
        )
        params, config, text = best.state.average, self.config, self.text
        rows = rows_for(text.validation)
        with self.stop.at_once(), Progress(console=self.console, transient=True) as bars:
            with _shown(bars, "scoring the text as a stream") as track:
                stream = streaming(self.model, params, text.validation, rows, track)
            with _shown(bars, "scoring windows") as track:
                window = windowed(self.model, params, text.validation, config.window, track)
            if config.ngrams != "none":
                bars.add_task(f"counting {config.ngrams} n-grams", total=None)
            ngrams = baselines(text.train, text.validation, text.vocabulary.size, config.ngrams)
        result = {
            "corpus": config.corpus,
            "corpus_sha256": text.sha256,
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
                "streaming_rows": rows,
                "windowed_nats": window.nats,
                "window": config.window,
            },
            "ngram_nats": {str(order): loss for order, loss in ngrams.nats.items()},
            "ngram_characters": {"counted": ngrams.counted, "scored": ngrams.scored},
        }
        self.folder.write_json("result.json", result)
        from experiments.char_model.figure import learning_curve  # matplotlib is slow to import

        with self.folder.replacing("learning_curve.png") as path:
            figure = learning_curve(self.folder.read_jsonl("metrics.jsonl"), result)
            figure.savefig(path, dpi=120)
        return result


def all_finite(tree: PyTree) -> bool:
    """Whether all floating-point numbers in a tree of arrays are finite.

    >>> all_finite([jnp.ones(2), jnp.arange(3)]), all_finite([jnp.array([1.0, jnp.nan])])
    (True, False)
    """
    leaves = (leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact))
    return all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)


@contextlib.contextmanager
def _shown(bars: Progress, description: str) -> Iterator[Track]:
    """Yield a `Track` that shows a bar until the block ends."""
    task = bars.add_task(description, total=None)
    try:
        yield lambda steps: bars.track(steps, task_id=task)
    finally:
        bars.remove_task(task)
