"""Checks that a resumed run uses the options, text and vocabulary of its checkpoint."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.char_model.config import MAY_CHANGE, Config, config_of_run
from experiments.command_line import option
from seqjax.data.text import Vocabulary


@dataclasses.dataclass(frozen=True)
class Resume:
    """How to resume a run.

    Args:
      which: the checkpoint to start from.
      changed_corpus: whether the text may differ from the one that the run was trained on.
    """

    which: Literal["last", "best"] = "last"
    changed_corpus: bool = False


class TrainedOn(NamedTuple):
    """The text that a model was trained on, according to its checkpoint.

    Attributes:
      vocabulary: the vocabulary of the model.
      sha256: the checksum of the text; None for old checkpoints, which do not store it.
      changed: whether the text may differ.
    """

    vocabulary: Vocabulary
    sha256: str | None
    changed: bool = False

    def vocabulary_of(self, config: Config, sha256: str, made: Vocabulary) -> Vocabulary:
        """The vocabulary of the model, after a check that text and vocabulary are unchanged.

        Args:
          config: the options of the run.
          sha256: the checksum of the corpus as it is now.
          made: the vocabulary built from that corpus.

        Raises:
          ValueError: the text or the vocabulary differs, and ``changed`` is false.
        """
        if self.changed:
            return self.vocabulary
        if self.sha256 not in (None, sha256):
            hint = "python_docs differs between versions of Python; " * (
                config.corpus == "python_docs"
            )
            raise ValueError(
                f"the text of {config.corpus} is not the text that the run was trained on: its "
                f"sha256 is {sha256}, the sha256 of the run's text is {self.sha256}; {hint}"
                "restore the text, start a new run, resume with train --resume RUN "
                "--changed-corpus, or score the text with evaluate RUN --corpus FILE"
            )
        if made != self.vocabulary:
            raise ValueError(
                f"the vocabulary of {config.corpus} is {made}, but that of the run is "
                f"{self.vocabulary}; restore the text, start a new run, or keep the vocabulary of "
                "the run with train --resume RUN --changed-corpus"
            )
        return made


def trained_on(folder: Path, about: dict[str, Any]) -> tuple[Config, TrainedOn]:
    """The config and the text of a checkpoint, from its metadata ``about``.

    Raises:
      ValueError: the checkpoint does not hold a character model.
    """
    try:
        config = config_of_run(folder, about["config"])
        text = TrainedOn(Vocabulary.from_json(about["vocabulary"]), about.get("corpus_sha256"))
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"the checkpoint in {folder} does not hold a character model; give the folder of a "
            "run of char_model"
        ) from error
    return config, text


def check_config(folder: Path, config: Config, trained: Config) -> None:
    """Raise ``ValueError`` unless ``config`` has the options that the run was trained with."""
    for field in dataclasses.fields(Config):
        now, then = getattr(config, field.name), getattr(trained, field.name)
        if now != then and field.name not in MAY_CHANGE:
            raise ValueError(
                f"{folder / 'config.json'} was changed: it has {option(field.name)} {now}, but "
                f"the checkpoint was trained with {then}; restore the option, or start a new run"
            )
