"""A training run in a folder: data, evaluation, checkpoints, stopping and resuming."""

import contextlib
import dataclasses
import functools
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.char_model import scores
from experiments.char_model.config import Config, build_model
from experiments.char_model.evaluation import Score
from experiments.char_model.resume import Resume, TrainedOn, check_config, trained_on
from experiments.char_model.rows import make_rows
from experiments.char_model.scores import local
from experiments.char_model.speed import Speed
from experiments.char_model.text import Text, read_in_turn
from experiments.char_model.train import (
    init_state,
    learning_rate,
    make_block,
    ngram_weight,
    spread,
    spread_block,
    steps_per_epoch,
)
from experiments.errors import NotFiniteError, StoppedError
from experiments.processes import ALL, Group, Meeting
from experiments.run_directory import RunDirectory, only_one
from experiments.stop import on_signals
from experiments.stored_config import config_from_json
from seqjax import Cell
from seqjax.checkpoint import Checkpoints
from seqjax.devices import data_mesh
from seqjax.types import PyTree

if TYPE_CHECKING:
    from experiments.event_log import EventLog

BLOCK = 20  # steps per compiled call


def train(
    config: Config,
    folder: RunDirectory,
    console: Console,
    resume: Resume = Resume(),  # noqa: B008, a frozen dataclass
    group: Group = ALL,
) -> dict[str, Any]:
    """Train from the start or from a checkpoint in ``folder``, and write the results.

    Args:
      config: the options of the run.
      folder: the folder of the run.
      console: shows progress.
      resume: how to resume if the folder holds a checkpoint.
      group: the processes that train together.

    Returns:
      The content of ``result.json``.

    Raises:
      StoppedError: the process received SIGTERM or Ctrl-C; the state is saved.
      NotFiniteError: the loss or the state is not finite; the last good checkpoint remains.
      ValueError: the text does not fit the options, the options differ from those of the
        checkpoint, or they leave nothing to train.
      OSError: a file cannot be written.
    """
    mesh = data_mesh(config.batch_size, alone=group.alone)
    checkpoints = Checkpoints(folder.path / "checkpoints", alone=group.alone)
    resumed = group.together(lambda: _resumed(config, folder.path, checkpoints, resume))
    text = read_in_turn(config, resumed, group)
    model = build_model(config, text.vocabulary.size)
    with contextlib.ExitStack() as stack:

        def open_folder() -> "EventLog | None":
            if not group.is_first:
                return None
            from experiments.event_log import EventLog  # slow to import

            folder.start()
            stack.enter_context(only_one(folder.path))
            return stack.enter_context(EventLog(folder.path / "tensorboard"))

        board = group.together(open_folder)
        console.print(f"writing files to {folder.path}", highlight=False)
        stack.enter_context(checkpoints)
        stop = stack.enter_context(on_signals())
        meeting = Meeting(group, stop)
        run = _Run(
            config, folder, console, meeting, text, model, mesh, checkpoints, board, resume.which
        )
        run.train()
        return run.finish()


def _resumed(
    config: Config, folder: Path, checkpoints: Checkpoints, resume: Resume
) -> TrainedOn | None:
    """The text that the run was trained on; None if it has no checkpoint yet."""
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
        meeting: Meeting,
        text: Text,
        model: Cell,
        mesh: Mesh,
        checkpoints: Checkpoints,
        board: "EventLog | None",
        which: str,
    ) -> None:
        self.config, self.folder, self.console, self.meeting = config, folder, console, meeting
        self.text, self.model, self.checkpoints, self.board = text, model, checkpoints, board
        state = spread(mesh, init_state(config, model))
        self.rows = make_rows(config, text, console)
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
                self._check_extended(config_from_json(Config, restored.about["config"]))
        self.evaluated = self.evaluations_due - interrupted
        meeting.group.together(self._prepare_files)
        self.mesh = mesh
        self.speed = Speed(self.step)
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

    def _prepare_files(self) -> None:
        if self.meeting.group.is_first:
            self.folder.write_json("config.json", self.config)  # the run may have been extended
            self.folder.keep_jsonl(
                "metrics.jsonl",
                lambda record: isinstance(record.get("step"), int) and record["step"] <= self.step,
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
                    self.meeting.check()
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
        data = spread_block(self.mesh, self.config, self.rows, self.step, BLOCK)
        if data.soft is not None:
            weights = [ngram_weight(self.config, self._progress(n)) for n in range(BLOCK)]
            data = data._replace(weight=np.array(weights, np.float32))
        waited = time.perf_counter() - began
        self.state, block_losses = self.block(self.state, data, rates, np.int32(count))
        losses = np.asarray(block_losses)[:count]  # waits for the block
        bad = np.flatnonzero(~np.isfinite(losses))
        if bad.size:
            raise NotFiniteError(
                f"the loss of step {self.step + int(bad[0]) + 1} is {losses[bad[0]]}; "
                + self._last_good()
            )
        own = time.perf_counter() - began
        self.speed = self.speed.after(own, waited)
        seconds = self.meeting.exchange(seconds=own)[0]["seconds"]  # one clock for all
        self.step += count
        self.elapsed += seconds
        return losses, seconds

    def _rate(self, ahead: int = 0) -> float:
        return learning_rate(self.config, self.step + ahead, self._progress(ahead))

    def _progress(self, ahead: int) -> float:
        """The fraction of the training that is done some steps ahead, as far as it is known."""
        by_the_clock = self.config.max_seconds is not None
        return self.progress if by_the_clock else min(1.0, (self.step + ahead) / self.total)

    def _evaluate_if_due(self, bars: Progress) -> None:
        if self.evaluated == self.evaluations_due:
            return
        began = time.perf_counter()
        try:
            evaluate = functools.partial(scores.during_training, self.model, self.text)
            average = local(self.state.average)
            score = Score(self.meeting.by_first(lambda watch: evaluate(average, bars, watch)))
        except StoppedError:
            self._save(math.inf)
            raise
        self._log(validation_nats=score.nats)
        if self.board is not None:
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
        if self.meeting.group.is_first:
            drawn = scores.sample(self.model, self.text, average, self.config.seed, self.step)
            self.console.print(drawn, style="dim", markup=False, highlight=False)

    def _log(self, **values: float) -> None:
        if self.board is None:  # process 0 writes for all
            return
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
        }
        self.checkpoints.save(self.step, self.state, about, loss)

    def finish(self) -> dict[str, Any]:
        """Score the best checkpoint, and write the results and the learning curve.

        Raises:
          StoppedError: the process received a signal; a resumed run scores again.
        """
        best = self.checkpoints.restore(self.state, "best")
        params, config, text = local(best.state.average), self.config, self.text
        with Progress(console=self.console, transient=True) as bars:
            score = functools.partial(scores.final, self.model, text, config)
            scored = self.meeting.by_first(lambda watch: score(params, bars, watch))
        throughput = self.speed.throughput(config, self.step, self.mesh.size, self.meeting.group)
        self.console.print(throughput.shown, highlight=False)
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
            "throughput": throughput.to_json(),
            **scored,
        }
        self.meeting.group.together(functools.partial(self._write_results, result))
        return result

    def _write_results(self, result: dict[str, Any]) -> None:
        if not self.meeting.group.is_first:
            return
        self.folder.write_json("result.json", result)
        from experiments.char_model.figure import learning_curve  # matplotlib is slow to import

        with self.folder.replacing("learning_curve.png") as path:
            figure = learning_curve(self.folder.read_jsonl("metrics.jsonl"), result)
            figure.savefig(path, dpi=120)


def all_finite(tree: PyTree) -> bool:
    """Whether all floating-point numbers in a tree of arrays are finite.

    >>> all_finite([jnp.ones(2), jnp.arange(3)]), all_finite([jnp.array([1.0, jnp.nan])])
    (True, False)
    """
    leaves = (leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact))
    return all(bool(jnp.isfinite(leaf).all()) for leaf in leaves)
