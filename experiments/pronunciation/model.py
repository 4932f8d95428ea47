"""The network: a bidirectional encoder of letters, and a decoder of phonemes that attends to it."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import (
    LSTM,
    Bidirectional,
    Cell,
    ContextAttention,
    Dropout,
    LanguageModel,
    Stack,
    attention,
    unroll,
    with_context,
)
from seqjax.types import Array, Params


class ModelParams(NamedTuple):
    """The parameters of `Model`.

    Attributes:
      encoder: those of the encoder.
      decoder: those of the decoder.
    """

    encoder: Params
    decoder: Params


@dataclasses.dataclass(frozen=True)
class Model:
    """An encoder and a decoder with attention in each of its layers.

    The encoder reads the letters in both directions. Each layer of the decoder attends to the
    outputs of the encoder, and the next layer reads the attention vectors. It therefore knows
    where the layer below has looked so far, as with input feeding, but all steps of a layer attend
    at once, which makes training fast.

    Args:
      letters: the number of tokens of letters.
      phonemes: the number of tokens of phonemes.
      encoder_units: the units of each direction of a layer of the encoder.
      encoder_layers: the layers of the encoder.
      decoder_units: the units of a layer of the decoder.
      decoder_layers: the layers of the decoder.
      attention_units: the width in which letters and phonemes are compared.
      embedding_size: the width of the embedding of phonemes.
      dropout: the dropout rate of the outputs of all layers.
    """

    letters: int
    phonemes: int
    encoder_units: int
    encoder_layers: int
    decoder_units: int
    decoder_layers: int
    attention_units: int
    embedding_size: int
    dropout: float = 0.0

    @property
    def encoder(self) -> Cell:
        """The encoder, a cell from tokens of letters to a memory."""
        units = LSTM(self.encoder_units)
        layer = Dropout(Bidirectional(units, units), output_rate=self.dropout)
        return Stack([layer] * self.encoder_layers)

    @property
    def decoder(self) -> LanguageModel:
        """The decoder, a cell from tokens of phonemes to the logits of the next one."""
        layer = ContextAttention(
            LSTM(self.decoder_units),
            attention.Additive(self.attention_units),
            memory_size=2 * self.encoder_units,
            size=self.decoder_units,
            input_feeding=False,
            activation=jnp.tanh,
        )
        layers = [Dropout(layer, output_rate=self.dropout)] * self.decoder_layers
        return LanguageModel(Stack(layers), self.phonemes, self.embedding_size)

    def init(self, key: Array) -> ModelParams:
        """Initialise the float32 parameters."""
        of_encoder, of_decoder = jax.random.split(key)
        return ModelParams(
            self.encoder.init(of_encoder, self.letters),
            self.decoder.init(of_decoder, self.phonemes),
        )

    def bind(
        self, params: ModelParams, letters: Array, counts: Array, key: Array | None = None
    ) -> Params:
        """Read words and bind them to the parameters of the decoder.

        Args:
          params: from `Model.init`.
          letters: ``int[B, S]``, the tokens of letters.
          counts: ``int[B]``, the number of tokens of each word.
          key: draws the dropout; None for evaluation.
        """
        _, memory = unroll(
            self.encoder, params.encoder, letters, lengths=counts, key=key,
            deterministic=key is None,
        )  # fmt: skip
        return with_context(self.decoder, params.decoder, memory, lengths=counts)

    def logits(
        self,
        params: ModelParams,
        letters: Array,
        counts: Array,
        inputs: Array,
        key: Array | None = None,
    ) -> Array:
        """The logits ``[B, T, V]`` of the phoneme after each of ``inputs``, ``int[B, T]``.

        >>> model = Model(3, 5, 4, 1, 6, 1, 4, 2)
        >>> params = model.init(jax.random.key(0))
        >>> tokens = jnp.array([[1, 2, 0]])
        >>> model.logits(params, tokens, jnp.array([3]), tokens).shape
        (1, 3, 5)
        """
        keys = (None, None) if key is None else tuple(jax.random.split(key))
        bound = self.bind(params, letters, counts, keys[0])
        _, logits = unroll(self.decoder, bound, inputs, key=keys[1], deterministic=key is None)
        return logits
