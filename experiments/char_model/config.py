"""The options and presets of the character model, and the model that the options make."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import seqjax
from experiments.cells import CellName, make_cell
from experiments.command_line import check_seed, check_sizes, option
from experiments.stored_config import config_from_json
from seqjax.checks import check_number, check_range, check_rate

if TYPE_CHECKING:
    import optax

    from seqjax.types import Array


@dataclasses.dataclass(frozen=True)
class Config:
    """Train a character model by truncated backpropagation."""

    corpus: str = "tiny_shakespeare"
    """tiny_shakespeare, python_docs, a UTF-8 file, a folder of .txt files, or a file pattern."""
    errors: Literal["strict", "replace"] = "strict"
    """How to read bytes that are not UTF-8: raise an error, or insert replacement characters."""
    validation: float = 0.1
    """Fraction of the text, taken from its end, that is held out for validation."""
    tuning: bool = False
    """Leave out the validation part, and hold out as large a fraction of the training part. Choose
    options by such runs, so that the validation text stays unseen."""
    bytes: bool = False
    """Model bytes instead of characters."""
    min_count: int = 1
    """Characters that occur less often in the training text become one unknown symbol."""

    cell: CellName = "lstm"
    """Recurrent cell: a name, or an import path."""
    units: int = 320
    """Units of each layer."""
    layers: int = 1
    """Number of stacked layers."""
    residual: bool = False
    """Whether each layer after the first adds its input to its output."""
    blocks: bool = False
    """Whether each layer is a normalised residual block around the cell, with a gated feed-forward
    part. Replaces --residual, and turns on --layer-norm."""
    members: int = 1
    """Models that train side by side on the same chunks, from different initial parameters, and
    predict together as an ensemble. Each takes as long as one."""
    embedding_size: int | None = None
    """Features of the embedding. None: tokens select rows of the first layer's kernel."""
    tied: bool = False
    """Whether the readout uses the transposed embedding (weight tying)."""
    layer_norm: bool = False
    """Whether to apply layer normalisation before the readout."""
    input_dropout: float = 0.0
    """Dropout rate of the features of the embedding."""
    layer_dropout: float = 0.0
    """Dropout rate of the features between layers."""
    output_dropout: float = 0.0
    """Dropout rate of the features before the readout."""
    recurrent_dropout: float = 0.0
    """Dropout rate of the units of the state."""
    weight_dropout: float = 0.0
    """Dropout rate of the recurrent kernels, drawn again for every chunk."""
    locked: bool = False
    """Whether a dropout mask stays the same over a chunk (locked or variational dropout)."""

    ngram_targets: float = 0.0
    """Weight, at first, of the distribution of an n-gram model of the training text in the
    targets."""
    ngram_targets_end: float = 0.0
    """Weight at the end; it changes evenly. 0 to 1."""
    ngram_order: int = 7
    """Order of that n-gram model."""

    batch_size: int = 32
    """Number of contiguous rows that the text is cut into."""
    num_steps: int = 64
    """Characters per chunk: the length of truncated backpropagation."""
    truncation: Literal["chunks", "true"] = "chunks"
    """chunks: errors stop at the start of their chunk. true: each flows back num_steps steps."""
    fresh_state: float = 0.0
    """Rate at which a row starts a chunk from the first state instead of the carried state."""
    epochs: float = 10.0
    """Passes over the training text; may be a fraction. Replaces the --max-seconds of a preset."""
    max_seconds: float | None = None
    """Seconds of training, instead of epochs. The learning rate then follows the clock."""
    optimizer: Literal["adam", "adamw"] = "adam"
    """Optimizer; adamw adds weight decay."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Learning rate after the warm-up; cosine decays to a hundredth of the peak."""
    warm_up: int = 50
    """Steps over which the learning rate rises from 0 to its peak."""
    b2: float = 0.99
    """Decay rate of Adam's second moment."""
    weight_decay: float = 0.0
    """Weight decay of adamw."""
    clip: float | None = 1.0
    """Largest global norm of the gradient; larger gradients are scaled down."""
    average: float = 0.0
    """Decay rate of the moving average of the parameters that is evaluated, such as 0.999."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of products; the state, sums and stored parameters are float32."""
    seed: int = 0
    """Random seed of the parameters, dropout and samples."""

    evaluations: int = 10
    """Number of evaluations during training; each also samples a text and saves a checkpoint."""
    window: int = 256
    """Characters per independent window of the windowed score."""
    ngrams: Literal["sample", "all", "none"] = "sample"
    """N-gram models to compare with. sample: count at most 5 million characters. all: count the
    whole training text, which takes up to 100 bytes of memory per character."""

    def __post_init__(self) -> None:
        owner = "char_model"
        sizes = ("min_count", "units", "layers", "batch_size", "num_steps", "window", "evaluations")
        check_sizes(owner, self, *sizes, "ngram_order", "members")
        for name in (
            "input_dropout",
            "layer_dropout",
            "output_dropout",
            "recurrent_dropout",
            "weight_dropout",
            "fresh_state",
        ):
            check_rate(owner, option(name), getattr(self, name))
        for name in ("validation", "b2", "average", "ngram_targets", "ngram_targets_end"):
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
        """The optimizer except for the learning rate, which is an argument of each step.

        Each member of an ensemble has its own.
        """
        import optax

        parts = [] if self.clip is None else [optax.clip_by_global_norm(self.clip)]
        parts.append(optax.scale_by_adam(b2=self.b2))
        if self.optimizer == "adamw":
            parts.append(optax.add_decayed_weights(self.weight_decay))
        chain = optax.chain(*parts)
        return chain if self.members == 1 else _for_each_member(chain)


def _for_each_member(
    chain: optax.GradientTransformationExtraArgs,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer for a tuple of parameters, whose gradients are clipped one by one."""
    import optax

    def init(params: Any) -> Any:
        return tuple(map(chain.init, params))

    def update(grads: Any, state: Any, params: Any = None, **_: Any) -> tuple[Any, Any]:
        done = [chain.update(*one) for one in zip(grads, state, params, strict=True)]
        updates, states = zip(*done, strict=True)
        return updates, states

    return optax.GradientTransformationExtraArgs(init, update)


MAY_CHANGE = ("epochs", "max_seconds", "ngrams")
"""The options that a resumed run may change."""


def config_of_run(folder: Path, plain: dict[str, Any]) -> Config:
    """The config of the run in ``folder``; checks that its model can be built.

    Raises:
      ValueError: an option is unknown or out of range, or the cell cannot be made.
    """
    try:
        config = config_from_json(Config, plain)
        build_model(config, vocabulary_size=2)
    except ValueError as error:
        raise ValueError(f"the model in {folder} cannot be built: {error}") from error
    return config


def check_effects(config: Config) -> None:
    """Raise ``ValueError`` if an option that differs from its default can have no effect.

    >>> check_effects(Config(weight_decay=0.1))
    Traceback (most recent call last):
    ...
    ValueError: --weight-decay has no effect without --optimizer adamw
    """
    rates = config.input_dropout, config.layer_dropout, config.output_dropout
    for name, met, needs in (
        ("weight_decay", config.optimizer == "adamw", "without --optimizer adamw"),
        ("min_count", not config.bytes, "with --bytes, because no byte is unknown"),
        ("ngram_order", config.ngram_targets > 0, "without --ngram-targets"),
        ("ngram_targets_end", config.ngram_targets > 0, "without --ngram-targets"),
        ("locked", any(rates) or config.recurrent_dropout > 0, "without a dropout rate"),
    ):
        if getattr(config, name) != getattr(Config(), name) and not met:
            raise ValueError(f"{option(name)} has no effect {needs}")


def extend(config: Config, given: Config, folder: Path) -> Config:
    """Check that a run with this ``config`` can resume with the options ``given``, and return them.

    Raises:
      ValueError: options other than those of `MAY_CHANGE` differ.

    >>> extend(Config(), Config(seed=1), Path("a"))  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
    ...
    ValueError: --resume a: only --epochs, --max-seconds, --ngrams may change, got --seed 1; start a
    new run
    """
    changed = [
        f"{option(field.name)} {getattr(given, field.name)}"
        for field in dataclasses.fields(Config)
        if field.name not in MAY_CHANGE
        and getattr(given, field.name) != getattr(config, field.name)
    ]
    if changed:
        raise ValueError(
            f"--resume {folder}: only {', '.join(map(option, MAY_CHANGE))} may change, got "
            f"{', '.join(changed)}; start a new run"
        )
    return given


def check_model(config: Config) -> None:
    """Raise ``ValueError`` if the cell is unknown, or the model cannot run with these options."""
    import jax

    model = build_model(config, vocabulary_size=2)
    if not model.can_step:
        raise ValueError(
            f"char_model: --cell {config.cell} reads the characters that it has to predict; "
            "give a cell that runs forward only"
        )

    def run(tokens: Array) -> None:
        params = model.init(jax.random.key(0), 2)
        if config.weight_dropout:
            seqjax.regularization.drop_weights(jax.random.key(0), params, config.weight_dropout)
        seqjax.unroll(model, params, tokens, deterministic=True)

    jax.eval_shape(run, jax.ShapeDtypeStruct((1, 2), "int32"))


def build_model(config: Config, vocabulary_size: int) -> seqjax.Cell:
    """The model that the options make, or an ensemble of such models."""
    model = _build_member(config, vocabulary_size)
    return model if config.members == 1 else seqjax.Ensemble([model] * config.members)


def _build_member(config: Config, vocabulary_size: int) -> seqjax.LanguageModel:
    layers: list[seqjax.Cell] = []
    for n in range(config.layers):
        cell = make_cell(config.cell, config.units)
        if config.blocks:
            width = cell.output_size
            cell = seqjax.ResidualBlock(cell)
            if n == 0 and config.embedding_size != width:
                cell = seqjax.InputProjection(cell, width)
        state_rate = config.recurrent_dropout
        input_rate = config.layer_dropout if n else config.input_dropout
        output_rate = config.output_dropout if n == config.layers - 1 else 0.0
        if input_rate or state_rate or output_rate:
            cell = seqjax.Dropout(cell, input_rate, state_rate, output_rate, config.locked)
        adds = n and config.residual and not config.blocks
        layers.append(seqjax.Residual(cell) if adds else cell)
    return seqjax.LanguageModel(
        layers[0] if len(layers) == 1 else seqjax.Stack(layers),
        vocabulary_size,
        config.embedding_size,
        config.layer_norm or config.blocks,
        config.tied,
    )


_SMALL = Config(
    cell="coupled_lstm",  # its memory is a weighted mean, so it stays bounded, unlike an LSTM's
    units=256,
    layers=2,
    residual=True,
    ngram_targets=0.8,
    num_steps=32,
    fresh_state=0.01,
    max_seconds=96,  # and 8 s to count n-grams
    average=0.995,
    learning_rate=1.3e-2,
    evaluations=4,
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
    "small": _SMALL,
    "best": dataclasses.replace(
        _SMALL, members=10, ngram_targets_end=0.1, max_seconds=None, epochs=6, evaluations=12
    ),
}
