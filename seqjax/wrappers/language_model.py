"""The language model: an embedding, a cell and a readout from tokens to logits."""

import dataclasses
import math
from typing import Any, ClassVar, NamedTuple, cast

import jax
import jax.numpy as jnp

from seqjax.checks import check_fixed_size, check_size
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.operations.normalization import NormParams, layer_norm
from seqjax.types import Array, Loop, Noise, Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import ParametrisedWrapper, Wrapper, check_one_axis


class LanguageModelParams(NamedTuple):
    """Parameters of `LanguageModel`.

    Attributes:
      cell: the parameters of the wrapped cell.
      readout_bias: ``[V]``.
      embedding_kernel: ``[V, E]``; None if there is no embedding.
      norm: `NormParams`; None if there is no layer normalisation.
      readout_kernel: ``[H, V]``; None if the readout is tied to the embedding.
    """

    cell: Params
    readout_bias: Array
    embedding_kernel: Array | None = None
    norm: NormParams | None = None
    readout_kernel: Array | None = None


@dataclasses.dataclass(frozen=True)
class LanguageModel(ParametrisedWrapper):
    """A language model, which predicts the next token.

    Maps tokens ``[B, T]`` to logits ``[B, T, V]``; the state is that of the wrapped cell::

        s', h  = cell(s, embedding[token])
        logits = norm(h) @ W + b

    If there is no embedding, tokens select rows of the cell's own input kernel, which is as
    expressive. If there is one and a batch has more than V tokens, embedding and input kernel are
    multiplied first, provided that the cell supports it (`Cell.merge_embedding`).

    Args:
      cell: the wrapped cell, such as a `Stack`.
      vocabulary_size: V, the number of different tokens.
      embedding_size: E, the width of the embedding, or None for no embedding.
      layer_norm: whether layer normalisation precedes the readout.
      tied: whether ``W`` is the transposed embedding (Press and Wolf, "Using the output embedding
        to improve language models", 2017).

    Raises:
      ValueError: ``cell`` is not a cell with one output feature axis, a size is not a whole number
        of at least 1, or ``tied`` is given and ``embedding_size`` is not the width of the cell's
        output.

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
        """The number of output features, V."""
        return self.vocabulary_size

    @property
    def outputs_hidden(self) -> bool:
        """False: the output is the logits."""
        return False

    @property
    def _inner_input_size(self) -> int:
        return self.vocabulary_size if self.embedding_size is None else self.embedding_size

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LanguageModelParams:
        """Initialise the wrapped cell, a normal embedding and a Glorot readout."""
        check_fixed_size("LanguageModel", "input_size", input_size, self.vocabulary_size)
        cell_key, embedding_key, readout_key = jax.random.split(key, 3)
        V, H, E = self.vocabulary_size, self.cell.output_size, self.embedding_size
        embedding = norm = readout = None
        if E is not None:
            # variance 1 for the cell, or 1 / E to keep the logits of a tied readout small
            scale = 1 / math.sqrt(E) if self.tied else 1.0
            embedding = scale * jax.random.normal(embedding_key, (V, E), jnp.float32)
            embedding = embedding.astype(dtype)
        if self.layer_norm:
            norm = NormParams.initial(H, dtype)
        if not self.tied:
            readout = glorot_uniform(readout_key, (H, V), dtype=dtype)
        cell = self.cell.init(cell_key, self._inner_input_size, dtype)
        return LanguageModelParams(cell, jnp.zeros(V, dtype), embedding, norm, readout)

    def input_size(self, params: LanguageModelParams) -> int:
        """Return the vocabulary size, V."""
        return params.readout_bias.shape[0]

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Draw the noise of the wrapped cell."""
        return self.cell.draw_noise(key, leading_shape, self._inner_input_size)

    def project(self, params: LanguageModelParams, xs: Array, noise: Noise = None) -> Projected:
        """Embed the tokens and project them for the wrapped cell."""
        return self.cell.project(params.cell, self._embed(params, xs), noise)

    def step(self, params: LanguageModelParams, state: State, z: Projected) -> tuple[State, Array]:
        """Step the wrapped cell and compute the logits."""
        state, h = self.cell.step(params.cell, state, z)
        return state, self._read_out(params, h)

    def sequence(
        self, loop: Loop, params: LanguageModelParams, state: State, xs: Array, noise: Noise = None
    ) -> tuple[State, Array]:
        """Embed all steps, run the wrapped cell, and compute all logits at once."""
        merged = None
        # a symbolic size (jax.export) may be small; the product of the whole table costs more for
        # few tokens than it saves for many, since the steps dominate the cost of many tokens
        is_many = isinstance(xs.size, int) and xs.size > self.vocabulary_size
        if params.embedding_kernel is not None and is_many:
            merged = self.cell.merge_embedding(params.cell, params.embedding_kernel)
        if merged is None:
            merged, xs = params.cell, self._embed(params, xs)
        state, hs = self.cell.sequence(loop, merged, state, xs, noise)
        return state, self._read_out(params, hs)

    def features(self, xs: PyTree) -> PyTree:
        """Return all inputs."""
        return xs

    def leading_shape(self, params: LanguageModelParams, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes of the tokens."""
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
