"""What a run of the character model is: its options, presets and the model they make."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import seqjax
from experiments.cells import CellName, make_cell
from experiments.command_line import check_seed, check_sizes, option
from seqjax.checks import check_number, check_range, check_rate

if TYPE_CHECKING:
    import optax

    from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a character model by truncated backpropagation."""

    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs (built in), or the path of a UTF-8 file or folder of .txt."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are no UTF-8."""
    validation: float = 0.1
    """The share of the text, its end, that is held out."""
    bytes: bool = False
    """Model bytes and not characters."""
    min_count: int = 1
    """Characters seen less often in training become one unknown symbol."""

    cell: CellName = "lstm"
    """The recurrent cell, by its name or imported."""
    units: int = 320
    """Its width."""
    layers: int = 1
    """How many are stacked."""
    residual: bool = False
    """Whether each layer but the first adds its input to its output."""
    embedding_size: int | None = None
    """Features of the embedding; without, characters pick rows of the first layer's kernel."""
    tied: bool = False
    """Whether the readout is the embedding, transposed."""
    layer_norm: bool = False
    """Whether there is a layer norm before the readout."""
    input_dropout: float = 0.0
    """The rate at which features of the embedding are dropped."""
    layer_dropout: float = 0.0
    """The rate at which features between layers are dropped."""
    output_dropout: float = 0.0
    """The rate at which features before the readout are dropped."""
    recurrent_dropout: float = 0.0
    """The rate at which units of the state are dropped."""
    weight_dropout: float = 0.0
    """The rate at which weights of the recurrent kernels are dropped, anew for every chunk."""
    locked: bool = False
    """Whether a mask of dropout stays the same over a chunk (variational dropout)."""

    batch_size: int = 32
    """Contiguous rows that the text is cut into."""
    num_steps: int = 64
    """Characters over which errors flow back, the length of a chunk."""
    truncation: Literal["chunks", "true"] = "chunks"
    """Whether errors stop at the start of their chunk, or each flows back over all num_steps."""
    fresh_state: float = 0.0
    """The rate at which a row starts a chunk from the zero state and not from the one carried."""
    epochs: float = 10.0
    """Passes over the training text; fractions too."""
    max_seconds: float | None = None
    """Seconds of training in place of epochs; the learning rate then follows the clock."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """The optimizer; adamw also decays weights."""
    learning_rate: float = 2e-3
    """At its highest."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """How the learning rate goes on after the warm-up; cosine goes to a hundredth."""
    warm_up: int = 50
    """Steps over which the learning rate rises from 0."""
    b2: float = 0.99
    """Adam's memory of squares."""
    weight_decay: float = 0.0
    """Of adamw."""
    clip: float | None = 1.0
    """The largest norm of a gradient."""
    average: float = 0.0
    """The memory of the running average of the parameters that is evaluated, such as 0.999."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of products; the state, sums and parameters are float32 in any case."""
    seed: int = 0
    """From which everything random is drawn."""

    evaluations: int = 10
    """How often to evaluate, sample and save on the way."""
    window: int = 256
    """Characters of an independent window in the windowed score."""

    def __post_init__(self) -> None:
        owner = "char_model"
        sizes = ("min_count", "units", "layers", "batch_size", "num_steps", "window", "evaluations")
        check_sizes(owner, self, *sizes)
        for name in (
            "input_dropout",
            "layer_dropout",
            "output_dropout",
            "recurrent_dropout",
            "weight_dropout",
            "fresh_state",
        ):
            check_rate(owner, option(name), getattr(self, name))
        for name in ("validation", "b2", "average"):
            check_range(owner, option(name), getattr(self, name), 0, 1)
        if not isinstance(self.warm_up, int) or self.warm_up < 0:
            raise ValueError(
                f"{owner}: --warm-up must be a whole number of steps, 0 or more, got {self.warm_up}"
            )
        for name in ("learning_rate", "epochs", "max_seconds", "clip"):
            value = getattr(self, name)
            if value is not None:
                check_number(owner, option(name), value)
                if value <= 0:
                    raise ValueError(f"{owner}: {option(name)} must be above 0, got {value}")
        if not 0 < self.validation < 1:
            raise ValueError(f"{owner}: --validation must lie in (0, 1), got {self.validation}")
        check_seed(self.seed)
        if self.input_dropout and self.embedding_size is None:
            raise ValueError(
                f"{owner}: --input-dropout drops features of an embedding: give --embedding-size"
            )

    @property
    def optimizer_chain(self) -> optax.GradientTransformationExtraArgs:
        """Everything of the optimizer but the learning rate, which each step is given."""
        import optax

        parts = [] if self.clip is None else [optax.clip_by_global_norm(self.clip)]
        parts.append(optax.scale_by_adam(b2=self.b2))
        if self.optimizer == "adamw":
            parts.append(optax.add_decayed_weights(self.weight_decay))
        return optax.chain(*parts)


def config_from_json(plain: dict[str, Any]) -> Config:
    """Read what `dataclasses.asdict` wrote.

    Raises:
      ValueError: an option is unknown or has no place here.
    """
    names = {field.name for field in dataclasses.fields(Config)}
    if unknown := plain.keys() - names:
        raise ValueError(f"the config holds unknown options: {', '.join(sorted(unknown))}")
    return Config(**plain)


def check_model(config: Config) -> None:
    """Raise ``ValueError`` if there is no such cell, or the parts of the model do not fit."""
    import jax

    model = build_model(config, vocabulary_size=2)
    if not model.can_step:
        raise ValueError(
            f"char_model: --cell {config.cell} sees the characters that it has to predict"
        )

    def run(tokens: Array) -> None:
        params = model.init(jax.random.key(0), 2)
        if config.weight_dropout:
            seqjax.regularization.drop_weights(jax.random.key(0), params, config.weight_dropout)
        seqjax.unroll(model, params, tokens, deterministic=True)

    jax.eval_shape(run, jax.ShapeDtypeStruct((1, 2), "int32"))


def build_model(config: Config, vocabulary_size: int) -> seqjax.LanguageModel:
    """The model that the options make."""
    layers: list[seqjax.Cell] = []
    for n in range(config.layers):
        cell = make_cell(config.cell, config.units)
        state_rate = config.recurrent_dropout
        input_rate = config.layer_dropout if n else config.input_dropout
        output_rate = config.output_dropout if n == config.layers - 1 else 0.0
        if input_rate or state_rate or output_rate:
            cell = seqjax.Dropout(cell, input_rate, state_rate, output_rate, config.locked)
        layers.append(seqjax.Residual(cell) if n and config.residual else cell)
    return seqjax.LanguageModel(
        layers[0] if len(layers) == 1 else seqjax.Stack(layers),
        vocabulary_size,
        config.embedding_size,
        config.layer_norm,
        config.tied,
    )


PRESETS: dict[str, Config] = {
    "article": Config(
        cell="lstm",
        units=100,
        layers=3,
        embedding_size=100,
        batch_size=32,
        num_steps=200,
        epochs=3,
        learning_rate=1e-4,
        schedule="constant",
        warm_up=0,
        b2=0.999,
        clip=None,
        evaluations=3,
    ),
    "small": Config(
        cell="coupled_lstm",  # its memory is a mean and cannot run away, as that of the LSTM does
        units=256,
        layers=2,
        residual=True,
        num_steps=32,
        fresh_state=0.01,
        max_seconds=104,
        average=0.995,
        learning_rate=1.3e-2,
        evaluations=4,
    ),
    "best": Config(
        cell="coupled_lstm",
        units=512,
        layers=2,
        residual=True,
        layer_dropout=0.4,
        output_dropout=0.5,
        weight_dropout=0.4,
        num_steps=32,
        epochs=24,
        average=0.999,
        learning_rate=5e-3,
        warm_up=500,
        evaluations=12,
    ),
}
