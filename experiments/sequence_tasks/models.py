"""The tasks, and the encoder-decoder models that are trained on them."""

from typing import NamedTuple

import jax.numpy as jnp

from experiments.cells import make_cell
from experiments.sequence_tasks.config import Config, MechanismName, TaskName, Trial
from seqjax import Bidirectional, ContextAttention, InputProjection, LanguageModel
from seqjax.attention import Additive, General, LocationSensitive, Mechanism, Monotonic
from seqjax.seq2seq import EncoderDecoder
from seqjax.tasks import Addition, Reversal, SequencePairTask, Sorting


class Setup(NamedTuple):
    """A task with the defaults of its training.

    Attributes:
      task: the task.
      length: the largest length in training.
      steps: the number of training steps.
      unit: the unit of the length.
    """

    task: SequencePairTask
    length: int
    steps: int
    unit: str


TASKS: dict[TaskName, Setup] = {
    "reversal": Setup(Reversal(), 10, 1500, "symbols"),
    "sorting": Setup(Sorting(), 10, 1500, "symbols"),
    "addition": Setup(Addition(), 3, 3000, "digits of the longer number"),
}


def make_mechanism(name: MechanismName, units: int, hard: bool = False) -> Mechanism | None:
    """The attention mechanism of a name; None for ``none``.

    Monotonic attention makes hard decisions if ``hard``, as in tests.

    >>> make_mechanism("additive", 8)
    Additive(8)
    """
    mechanisms: dict[MechanismName, Mechanism | None] = {
        "none": None,
        "additive": Additive(units),
        "general": General(),
        # a filter of 7 positions sees where the last step attended, and which way to move on
        "location": LocationSensitive(units, filters=8, width=7),
        # the noise teaches decisions that are close to 0 or 1
        "monotonic": Monotonic(Additive(units), noise=1.0, hard=hard),
    }
    return mechanisms[name]


def build_model(config: Config, trial: Trial, hard: bool = False) -> EncoderDecoder:
    """A bidirectional encoder, and a decoder that attends to its outputs.

    The encoder's final state sets the decoder's first state. Without attention, this is all that
    the decoder knows of the source.
    """
    units, width = config.units, config.units // 2
    forward, backward = make_cell(config.cell, width), make_cell(config.cell, width)
    encoder = InputProjection(Bidirectional(forward, backward), width)
    cell = make_cell(config.cell, units)
    mechanism = make_mechanism(trial.mechanism, units, hard)
    if mechanism is not None:
        cell = ContextAttention(cell, mechanism, memory_size=units, size=units, activation=jnp.tanh)
    vocabulary = TASKS[trial.task].task.target_size
    decoder = LanguageModel(cell, vocabulary, embedding_size=width)
    try:
        return EncoderDecoder(encoder, decoder)
    except ValueError as error:
        raise ValueError(
            f"--cell {config.cell}: the decoder starts from the encoder's final state, but the "
            "state of this cell has neither hidden vectors nor memories; give another cell"
        ) from error
