"""Valid calls of attention mechanisms, encoder-decoder models and decoding."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import seqjax
from benchmarks.wrong_calls.accepts import (
    between,
    floats,
    integers,
    is_floating_dtype,
    is_integer,
    is_number,
    like,
    optional,
)
from benchmarks.wrong_calls.example import Argument, Example, of
from seqjax import attention, decoding, seq2seq
from seqjax.types import Cell

VOCABULARY, WIDTH = 5, 4


def attention_examples(key: Argument) -> Iterator[Example]:
    """Each mechanism, and a decoder that attends."""
    not_negative = between(0, 1e308)
    content = attention.Additive(3)
    is_content = lambda v: isinstance(v, attention.ContentMechanism)  # noqa: E731
    odd = lambda v: between(1, 2**31 - 1, is_integer)(v) and v % 2 == 1  # noqa: E731
    yield of("Additive", attention.Additive, size=3, weight_norm=False)
    yield of("Dot", attention.Dot, scaled=True)
    yield of("General", attention.General, scaled=True)
    yield of(
        "LocationSensitive",
        attention.LocationSensitive,
        size=3,
        filters=2,
        width=Argument(3, odd),
        cumulative=False,
    )
    yield of(
        "Monotonic",
        attention.Monotonic,
        mechanism=Argument(content, is_content),
        noise=Argument(1.0, not_negative),
        score_bias=0.0,
        hard=False,
    )
    attending = seqjax.ContextAttention(seqjax.GRU(WIDTH), content, memory_size=WIDTH)
    decoder = seqjax.LanguageModel(attending, VOCABULARY, embedding_size=WIDTH)
    model = seq2seq.EncoderDecoder(seqjax.GRU(WIDTH), decoder)
    params = model.init(jax.random.key(0), 3)
    source = jnp.ones((2, 4, 3), jnp.float32)
    rows = np.array([[0, 1, 2], [2, 1, 0]])
    of_source = Argument(np.array([4, 2]), optional(like(np.array([4, 2]), 0, 4)))
    of_target = Argument(np.array([3, 1]), optional(like(np.array([3, 1]), 0, 3)))
    memory = jnp.ones((2, 4, WIDTH), jnp.float32)
    yield of(
        "with_context",
        seqjax.with_context,
        cell=decoder,
        params=Argument(params.decoder, like(params.decoder)),
        memory=Argument(memory, lambda v: like(memory)(v)),
        lengths=of_source,
    )
    is_cell = lambda v: isinstance(v, Cell)  # noqa: E731
    yield of(
        "EncoderDecoder",
        seq2seq.EncoderDecoder,
        encoder=Argument(model.encoder, is_cell),
        decoder=Argument(model.decoder, is_cell),
        bridge=True,
    )
    yield of(
        "init of EncoderDecoder",
        model.init,
        key=key,
        source_size=Argument(3, between(1, 2**31 - 1, is_integer)),
        dtype=Argument(jnp.float32, is_floating_dtype),
    )
    run: dict[str, Any] = {
        "params": Argument(params, like(params)),
        "source": Argument(source, like(source)),
        "key": Argument(None, optional(key.accepts)),
        "deterministic": False,
    }
    yield of("EncoderDecoder.encode", model.encode, **run, lengths=of_source)
    yield of(
        "EncoderDecoder.logits",
        model.logits,
        **run,
        inputs=Argument(
            rows,
            lambda v: (
                (integers(0, VOCABULARY - 1, any_shape=True)(v) and np.shape(v)[:1] == (2,))
                or floats(2, None, WIDTH)(v)
            ),
        ),
        source_lengths=of_source,
        target_lengths=of_target,
    )
    symbol = between(0, VOCABULARY - 1, is_integer)
    yield of(
        "shift_right",
        seq2seq.shift_right,
        targets=Argument(rows, integers(-(2**31), 2**31 - 1, any_shape=True)),
        start=Argument(0, between(-(2**31), 2**31 - 1, is_integer)),
    )
    yield from _decoding_examples(decoder, params.decoder, memory, key, symbol)


def _decoding_examples(
    decoder: Cell, params: Any, memory: jax.Array, key: Argument, symbol: Any
) -> Iterator[Example]:
    not_negative = between(0, 1e308)
    yield of(
        "Beam",
        decoding.Beam,
        width=2,
        n_best=2,
        length_penalty=Argument(0.5, not_negative),
        coverage_penalty=Argument(0.1, not_negative),
        groups=Argument(1, between(1, 1, is_integer)),
        diversity=Argument(0.0, between(0, 0)),
    )
    bound = seqjax.with_context(decoder, params, memory)
    start = np.array([0, 1])
    state = decoder.first_state(bound, (2,))
    forbidden = np.arange(VOCABULARY) == 3
    prefix, lengths = np.array([[1, 2], [2, 1]]), np.array([2, 2])
    request: dict[str, Any] = {
        "model": decoder,
        "params": Argument(bound, like(bound)),
        "start": Argument(start, like(start, 0, VOCABULARY - 1)),
        "end": Argument(0, symbol),
        "max_length": Argument(3, between(1, 64, is_integer)),
        "state": Argument(state, optional(like(state))),
        "forbidden": Argument(forbidden, optional(like(forbidden))),
        "prefix": Argument(prefix, like(prefix, 1, VOCABULARY - 1)),
        "prefix_lengths": Argument(lengths, optional(like(lengths, 0, 2))),
    }
    yield of(
        "decode",
        decoding.decode,
        **request,
        sampling=seqjax.sampling.Sampling(),
        key=key,
    )
    yield of("beam_search", decoding.beam_search, **request, beam=decoding.Beam(2))
    tokens = np.array([[0, 1, 2], [2, 1, 0]])
    yield of(
        "scheduled_sampling",
        decoding.scheduled_sampling,
        model=decoder,
        params=request["params"],
        tokens=Argument(
            tokens, lambda v: integers(0, VOCABULARY - 1, any_shape=True)(v) and len(v) == 2
        ),
        key=key,
        probability=Argument(0.5, lambda v: np.shape(v) == () and 0 <= v <= 1),
        lengths=Argument(np.array([3, 1]), optional(like(np.array([3, 1]), 0, 3))),
        state=request["state"],
        sampling=seqjax.sampling.Sampling(),
    )
    yield of(
        "inverse_sigmoid_schedule",
        decoding.inverse_sigmoid_schedule,
        k=Argument(10.0, between(1, 1e308, is_number)),
    )
