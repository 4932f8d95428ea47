"""What a run that goes on shares with the one that was stopped: options, text and vocabulary."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, NamedTuple

from experiments.char_model.config import Config, config_of_run
from experiments.command_line import option
from seqjax.data.text import Corpus, Vocabulary

MAY_CHANGE = ("epochs", "max_seconds")  # a run may be extended


@dataclasses.dataclass(frozen=True)
class Resume:
    """How a stopped run goes on."""

    which: Literal["last", "best"] = "last"  # the checkpoint to go on from
    changed_corpus: bool = False  # whether the text may be another one


class TrainedOn(NamedTuple):
    """The text that a model was trained on, as its checkpoint tells it."""

    vocabulary: Vocabulary
    sha256: str | None  # None where it was not stored yet
    changed: bool = False  # whether another text is meant

    def vocabulary_of(self, config: Config, corpus: Corpus, made: Vocabulary) -> Vocabulary:
        """The vocabulary of the model, if the corpus is the one that it was trained on.

        Args:
          config: of the run.
          corpus: as it is read now.
          made: the vocabulary that is made of it.

        Raises:
          ValueError: it is another text or another vocabulary.
        """
        if self.changed:
            return self.vocabulary
        if self.sha256 not in (None, corpus.sha256):
            hint = "python_docs differs between versions of Python; " * (
                config.corpus == "python_docs"
            )
            raise ValueError(
                f"the text of {config.corpus} is not the one that the run was trained on: its "
                f"sha256 is {corpus.sha256}, that of the run's text {self.sha256}; {hint}restore "
                "it, start a new run, go on with it by train --resume RUN --changed-corpus, or "
                "score it by evaluate RUN --corpus FILE"
            )
        if made != self.vocabulary:
            raise ValueError(
                f"the vocabulary of {config.corpus} is not the one that the run was trained with: "
                f"it is {made}, that of the run {self.vocabulary}; restore the text, start a new "
                "run, or go on with the run's vocabulary by train --resume RUN --changed-corpus"
            )
        return made


def trained_on(folder: Path, about: dict[str, Any]) -> tuple[Config, TrainedOn]:
    """The config and the text of a checkpoint, of what is said about it.

    Raises:
      ValueError: it is not one of a character model.
    """
    try:
        config = config_of_run(folder, about["config"])
        text = TrainedOn(Vocabulary.from_json(about["vocabulary"]), about.get("corpus_sha256"))
    except (KeyError, TypeError) as error:
        raise ValueError(f"the checkpoint in {folder} is not one of a character model") from error
    return config, text


def check_config(folder: Path, config: Config, trained: Config) -> None:
    """Raise ``ValueError`` unless the run goes on with the options that it was trained with."""
    for field in dataclasses.fields(Config):
        now, then = getattr(config, field.name), getattr(trained, field.name)
        if now != then and field.name not in MAY_CHANGE:
            raise ValueError(
                f"{folder / 'config.json'} was changed: it says {option(field.name)} {now}, and "
                f"the checkpoint was trained with {then}; set it back to go on, or start a new run"
            )
