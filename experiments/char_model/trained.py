"""Reading the folder of a run: its config, its model, and the state of its checkpoints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from experiments.char_model.config import Config, build_model, config_of_run
from experiments.char_model.resume import TrainedOn, check_config, trained_on
from experiments.char_model.train import init_state
from seqjax import Cell, Ensemble
from seqjax.checkpoint import Checkpoints
from seqjax.data.text import Vocabulary
from seqjax.types import Params


class Trained(NamedTuple):
    """A trained model, read from the folder of its run.

    Attributes:
      config: the options of the run.
      vocabulary: the vocabulary of the model.
      model: the model, a cell from tokens to logits.
      params: the moving average of the parameters.
      step: the step of the checkpoint.
      text: the text that the model was trained on.
    """

    config: Config
    vocabulary: Vocabulary
    model: Cell
    params: Params
    step: int
    text: TrainedOn


def load(folder: Path, which: str = "best") -> Trained:
    """Read a trained model from the folder of its run.

    Raises:
      ValueError: the folder holds no run, or its checkpoint cannot be read.
    """
    with _checkpoints(folder) as checkpoints:
        about = checkpoints.about(which)
        config, text = trained_on(folder, about)
        model = build_model(config, text.vocabulary.size)
        like = jax.eval_shape(lambda: init_state(config, model))
        restored = checkpoints.restore(like, which)
    return Trained(config, text.vocabulary, model, restored.state.average, restored.step, text)


def together(trained: Sequence[Trained]) -> Trained:
    """Several models as one, a `seqjax.Ensemble`; a single one stays as it is.

    Raises:
      ValueError: there is no model, or the models differ in their vocabulary or in their training
        text.
    """
    if not trained:
        raise ValueError("there is no run to read; give the folder of a run")
    first, *others = trained
    for other in others:
        if other.vocabulary != first.vocabulary:
            raise ValueError("the runs differ in their vocabulary; give runs of the same text")
        parts = [
            (one.text.sha256 or one.config.corpus, one.config.validation, one.config.tuning)
            for one in (first, other)
        ]
        if parts[0] != parts[1]:
            raise ValueError(
                "the runs were trained on different texts or parts, so one may have read what the "
                "other has not; give runs of one text with the same --validation and --tuning"
            )
    if not others:
        return first
    return first._replace(
        model=Ensemble([one.model for one in trained]), params=tuple(one.params for one in trained)
    )


def _checkpoints(folder: Path) -> Checkpoints:
    if not (folder / "checkpoints").is_dir():
        raise ValueError(f"{folder} holds no run: it has no checkpoints; give the folder of a run")
    return Checkpoints(folder / "checkpoints")


def verify(folder: Path) -> dict[int, str | None]:
    """Check all checkpoints of a run, and compare its config with theirs.

    Returns:
      For each step, a description of the damage to its checkpoint, or None.

    Raises:
      ValueError: the folder holds no run, its config was changed, or no checkpoint can be read.
    """
    with _checkpoints(folder) as checkpoints:
        config, text = trained_on(folder, checkpoints.about())
        check_config(folder, read_config(folder), config)
        model = build_model(config, text.vocabulary.size)
        return checkpoints.verify(jax.eval_shape(lambda: init_state(config, model)))


def read_config(folder: Path) -> Config:
    """The config of the run in ``folder``.

    Raises:
      ValueError: the folder holds no run, or its model cannot be built.
    """
    try:
        plain = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} holds no run to resume: {error}; give the folder of a run"
        ) from None
    return config_of_run(folder, plain)
