"""From tokens to logits: an embedding, a cell, a readout."""

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp

from seqjax.checks import check_fixed_size, check_size
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.operations.normalization import layer_norm
from seqjax.types import Array, Loop, Noise, Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import Wrapper, check_one_axis


class NormParams(NamedTuple):
    """Parameters of a layer norm."""

    gain: Array  # [H]
    shift: Array  # [H]


class LanguageModelParams(NamedTuple):
    """Parameters of `LanguageModel`."""

    cell: Params  # of the cell inside
    readout_bias: Array  # [V]
    embedding_kernel: Array | None = None  # [V, E], only with an embedding
    norm: NormParams | None = None  # only with layer norm
    readout_kernel: Array | None = None  # [H, V], only if it is not tied to the embedding


@dataclasses.dataclass(frozen=True)
class LanguageModel(Wrapper):
    """A model of what token comes next::

        s', h  = cell(s, embedding[token])
        logits = norm(h) @ W + b

    Without an embedding the tokens pick rows of the cell's own input kernel, which can express the
    same. With one, over more tokens than there are kinds of, embedding and kernel are multiplied
    first where that changes nothing (`Cell.merge_embedding`). The state is that of the cell
    inside. It is a cell like any other, and so is unrolled, carried and sampled from.

    Args:
      cell: the cell inside, such as a `Stack`.
      vocabulary_size: V, kinds of token.
      embedding_size: E, features of the embedding; None for none.
      layer_norm: whether there is one before the readout.
      tied: whether ``W`` is the transposed embedding (Press and Wolf, "Using the output embedding
        to improve language models", 2017).

    Raises:
      ValueError: ``cell`` is not a cell with one feature axis, a size is not a whole number of at
        least 1, or ``tied`` meets no embedding, or one of another width than the cell's output.

    Reference: Mikolov, Karafiat, Burget, Cernocky and Khudanpur, "Recurrent neural network based
    language model", 2010.

    >>> from seqjax import GRU, LanguageModel, unroll
    >>> model = LanguageModel(GRU(4), vocabulary_size=65)
    >>> params = model.init(jax.random.key(0), input_size=65)
    >>> state, logits = unroll(model, params, jnp.array([[7, 64, 0]]))
    >>> params.cell.input_kernel.shape, logits.shape
    ((65, 12), (1, 3, 65))
    """

    vocabulary_size: int
    embedding_size: int | None = None
    layer_norm: bool = False
    tied: bool = False

    _steps_cell: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("LanguageModel", self.cell)
        check_size("LanguageModel", "vocabulary_size", self.vocabulary_size)
        if self.embedding_size is not None:
            check_size("LanguageModel", "embedding_size", self.embedding_size)
        if self.tied and self.embedding_size != self.cell.output_size:
            raise ValueError(
                f"LanguageModel: a tied readout needs embedding_size={self.cell.output_size}, the "
                f"width of the cell's output, got {self.embedding_size}"
            )

    @property
    def output_size(self) -> int:
        """V."""
        return self.vocabulary_size

    @property
    def outputs_hidden(self) -> bool:
        """No: the output is the logits."""
        return False

    @property
    def _inner_input_size(self) -> int:
        return self.vocabulary_size if self.embedding_size is None else self.embedding_size

    def inner(self, params: LanguageModelParams) -> Params:
        """The parameters of the cell inside."""
        return params.cell

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LanguageModelParams:
        """Draw those of the cell, a normal embedding and a Glorot readout."""
        check_fixed_size("LanguageModel", "input_size", input_size, self.vocabulary_size)
        cell_key, embedding_key, readout_key = jax.random.split(key, 3)
        V, H, E = self.vocabulary_size, self.cell.output_size, self.embedding_size
        embedding = norm = readout = None
        if E is not None:
            # features of variance 1 for the cell; small enough for logits where it is the readout
            scale = 1 / math.sqrt(E) if self.tied else 1.0
            embedding = scale * jax.random.normal(embedding_key, (V, E), jnp.float32)
            embedding = embedding.astype(dtype)
        if self.layer_norm:
            norm = NormParams(jnp.ones(H, dtype), jnp.zeros(H, dtype))
        if not self.tied:
            readout = glorot_uniform(readout_key, (H, V), dtype=dtype)
        cell = self.cell.init(cell_key, self._inner_input_size, dtype)
        return LanguageModelParams(cell, jnp.zeros(V, dtype), embedding, norm, readout)

    def input_size(self, params: LanguageModelParams) -> int:
        """V."""
        return params.readout_bias.shape[0]

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Of the cell inside."""
        return self.cell.draw_noise(key, leading_shape, self._inner_input_size)

    def project(self, params: LanguageModelParams, xs: Array, noise: Noise = None) -> Projected:
        """Embed, and project for the cell inside."""
        return self.cell.project(params.cell, self._embed(params, xs), noise)

    def step(self, params: LanguageModelParams, state: State, z: Projected) -> tuple[State, Array]:
        """Step the cell inside, and read its output out."""
        state, h = self.cell.step(params.cell, state, z)
        return state, self._read_out(params, h)

    def sequence(
        self, loop: Loop, params: LanguageModelParams, state: State, xs: Array, noise: Noise = None
    ) -> tuple[State, Array]:
        """Embed all steps, run the cell inside, and read all outputs out at once."""
        merged = None
        # a symbolic size, as in jax.export, may stand for few tokens, for which a product of the
        # whole table costs far more; many cost little more without it, since all of them step
        is_many = isinstance(xs.size, int) and xs.size > self.vocabulary_size
        if params.embedding_kernel is not None and is_many:
            merged = self.cell.merge_embedding(params.cell, params.embedding_kernel)
        if merged is None:
            merged, xs = params.cell, self._embed(params, xs)
        state, hs = self.cell.sequence(loop, merged, state, xs, noise)
        return state, self._read_out(params, hs)

    def features(self, xs: PyTree) -> PyTree:
        """All of the inputs."""
        return xs

    def leading_shape(self, params: LanguageModelParams, xs: PyTree) -> tuple[int, ...]:
        """The time and batch axes of the tokens."""
        return super(Wrapper, self).leading_shape(params, xs)

    def _embed(self, params: LanguageModelParams, xs: Array) -> Array:
        return xs if params.embedding_kernel is None else affine(xs, params.embedding_kernel)

    def _read_out(self, params: LanguageModelParams, hs: Array) -> Array:
        if params.norm is not None:
            hs = layer_norm(hs, *params.norm, epsilon=1e-6)
        if params.readout_kernel is not None:
            kernel = params.readout_kernel
        else:
            kernel = cast(Array, params.embedding_kernel).T
        return affine(hs, kernel, params.readout_bias)
