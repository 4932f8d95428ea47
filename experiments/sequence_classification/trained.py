"""A trained model in the folder of its run: saved, loaded and applied to new sequences."""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from experiments.sequence_classification import records
from experiments.sequence_classification.config import Config
from experiments.sequence_classification.inputs import Reader, reader_from_json
from experiments.sequence_classification.run import Network, NetworkParams, build_model, predict
from experiments.sequence_classification.sets import Examples, in_order
from experiments.stored_config import config_from_json
from seqjax.checkpoint import Checkpoints

NAME = "sequence_classification"


class Trained(NamedTuple):
    """A trained model.

    Attributes:
      config: the options of the run.
      params: the parameters, with a leading axis of seeds.
      reader: how the network reads stored values.
      classes: the names of the classes.
      steps: the longest sequence of the training set.
      features: the numbers of each step as they are stored, or the number of different tokens.
      inputs: the feature of the records that holds the sequences; None if the run had no records.
      label: the feature of the records that holds the class; None if the run had no records.
    """

    config: Config
    params: NetworkParams
    reader: Reader
    classes: tuple[str, ...]
    steps: int
    features: int
    inputs: str | None
    label: str | None

    @property
    def model(self) -> Network:
        """The network."""
        return build_model(self.config, len(self.classes), self.features)

    def probabilities(self, stored: Examples) -> np.ndarray:
        """The class probabilities ``[seeds, N, V]`` of sequences as they are stored."""
        config = self.config
        read = in_order(self.reader(stored), config.pixels, config.permuted, config.join)
        return predict(self.model, self.params, read)

    def save(self, folder: Path) -> None:
        """Write the model into the folder of its run.

        Raises:
          OSError: it cannot be written.
        """
        about = self._asdict()
        params = about.pop("params")
        about["config"] = dataclasses.asdict(dataclasses.replace(self.config, out=None))
        about["reader"] = self.reader.to_json()
        with Checkpoints(folder / "checkpoints") as checkpoints:
            checkpoints.save(self.config.epochs, params, {NAME: about}, loss=0.0)

    def read_new(self, path: Path) -> records.Records:
        """Read new records for the model; their labels are optional.

        Args:
          path: a directory or a pattern, as `seqjax.data.records.RecordSource` takes it.

        Raises:
          ValueError: the records do not have the feature that the model reads.
        """
        tokens = self.config.embedding is not None
        read = records.read(path, self.inputs, self.label, tokens, self.classes)
        shape, wanted = read.examples.xs.shape[1:], (self.steps, self.features)
        if not tokens and shape[1] != wanted[1]:
            raise ValueError(
                f"{path}: {read.inputs!r} has {shape[1]} numbers a step, but the model reads "
                f"{wanted[1]}; give records with the feature that it was trained on"
            )
        if self.config.permuted and shape[0] != wanted[0]:
            raise ValueError(
                f"{path}: {read.inputs!r} has {shape[0]} steps, but the model reads permuted "
                f"sequences of {wanted[0]} steps; give sequences of this length"
            )
        return read


def load(folder: Path) -> Trained:
    """Read the model of a run.

    Raises:
      ValueError: the folder holds no run of this experiment, or its model is damaged.
    """
    if not (folder / "checkpoints").is_dir():
        raise ValueError(
            f"{folder} holds no trained model: it has no checkpoints; give the folder of a run "
            "that has ended"
        )
    with Checkpoints(folder / "checkpoints") as checkpoints:
        about = checkpoints.about().get(NAME)
        if about is None:
            raise ValueError(
                f"the checkpoint in {folder} holds another kind of model; give the folder of a run "
                f"of {NAME}"
            )
        config = config_from_json(Config, about.pop("config"))
        about["reader"] = reader_from_json(about["reader"])
        about["classes"] = tuple(about["classes"])
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), config.seeds))
        model = build_model(config, len(about["classes"]), about["features"])
        params = checkpoints.restore(jax.eval_shape(jax.vmap(model.init), keys)).state
    return Trained(config=config, params=params, **about)
