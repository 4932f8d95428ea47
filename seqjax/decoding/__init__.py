"""Decoding: sequences of tokens from a model of the next token.

A model is a cell that maps tokens to the logits of the next token, such as a
`seqjax.LanguageModel`, or an attention decoder, whose context `seqjax.with_context` binds to the
parameters::

    bound = seqjax.with_context(model, params, memory, lengths=source_lengths)

==========================================  ===================================================
training with the true tokens as inputs     `seqjax.unroll` (teacher forcing)
training with tokens of its own as inputs   `scheduled_sampling`
the most likely token at each step          `decode`
tokens that are drawn                       `decode` with a `seqjax.sampling.Sampling`
the most likely sequences                   `beam_search`
a fixed number of tokens after a prompt     `seqjax.sampling.generate`
==========================================  ===================================================

Teacher forcing reads the tokens after a start symbol and predicts them with an end symbol::

    inputs  = start, y_1, ..., y_n
    targets = y_1, ..., y_n, end

`decode` and `beam_search` start from the same start symbol and stop at the same end symbol. Each
runs as one program, which stops as soon as all rows are finished and is not compiled again for new
values. The rows of a batch are independent. Noisy layers run in evaluation mode. Neither function
is differentiable: in a loss, give them ``jax.lax.stop_gradient(params)``.

>>> import jax, jax.numpy as jnp, seqjax
>>> model = seqjax.LanguageModel(seqjax.GRU(8), vocabulary_size=5)
>>> params = model.init(jax.random.key(0), input_size=5)
>>> start = jnp.zeros(2, jnp.int32)
>>> best = beam_search(model, params, start, Beam(width=4), end=0, max_length=6)
>>> best.tokens.shape, bool((best.scores[:, 0] >= best.scores[:, 1]).all())
((2, 4, 6), True)
>>> greedy = decode(model, params, start, end=0, max_length=6)
>>> bool((best.scores[:, 0] >= greedy.scores).all())
True
"""

from seqjax.decoding.beam import Beam
from seqjax.decoding.greedy import decode
from seqjax.decoding.request import Decoded
from seqjax.decoding.scheduled import inverse_sigmoid_schedule, scheduled_sampling
from seqjax.decoding.search import beam_search

__all__ = [
    "Beam",
    "Decoded",
    "beam_search",
    "decode",
    "inverse_sigmoid_schedule",
    "scheduled_sampling",
]
