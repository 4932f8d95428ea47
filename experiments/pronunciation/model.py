"""The network: a bidirectional encoder of letters, and a decoder of phonemes that attends to it."""

import jax.numpy as jnp

from experiments.pronunciation.config import Config
from seqjax import LSTM, Bidirectional, ContextAttention, Dropout, LanguageModel, Stack, attention
from seqjax.seq2seq import EncoderDecoder


def build_model(config: Config, letters: int, phonemes: int) -> EncoderDecoder:
    """The encoder-decoder of the options, for these numbers of tokens.

    The encoder is a stack of bidirectional LSTMs. Each layer of the decoder is an LSTM that attends
    to the outputs of the encoder, and the next layer reads its attention vectors. A layer therefore
    knows where the layer below has looked so far, as with input feeding. Without input feeding, all
    steps of a layer attend at once, which makes training fast.

    >>> model = build_model(Config(encoder_units=4, decoder_units=6), letters=28, phonemes=40)
    >>> model.encoder.output_size, model.decoder.output_size
    (8, 40)
    """
    units = LSTM(config.encoder_units)
    reader = Dropout(Bidirectional(units, units), output_rate=config.dropout)
    attending = ContextAttention(
        LSTM(config.decoder_units),
        attention.Additive(config.attention_units),
        memory_size=2 * config.encoder_units,
        size=config.decoder_units,
        input_feeding=False,
        activation=jnp.tanh,
    )
    writer = Dropout(attending, output_rate=config.dropout)
    return EncoderDecoder(
        Stack([reader] * config.encoder_layers),
        LanguageModel(Stack([writer] * config.decoder_layers), phonemes, config.embedding_size),
    )
