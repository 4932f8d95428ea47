"""Greedy decoding and sampling, until an end symbol."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_key
from seqjax.decoding.request import (
    Decoded,
    Request,
    check_request,
    exclude,
    first_state,
    next_logits,
    permitted,
    write_at,
)
from seqjax.operations.affine import accumulation_dtype
from seqjax.sampling import Sampling, draw
from seqjax.types import Array, Cell, Params, State


def decode(
    model: Cell,
    params: Params,
    start: Array,
    *,
    end: int,
    max_length: int,
    state: State | None = None,
    sampling: Sampling = Sampling(temperature=0.0),
    key: Array | None = None,
    forbidden: Array | None = None,
    prefix: Array | None = None,
    prefix_lengths: Array | None = None,
) -> Decoded:
    """Decode the most likely token at each step, or draw it, until the end symbol.

    ::

        s_t, l_t = step(s_{t-1}, y_{t-1})    with y_0 = start
        y_t      = argmax l_t                 or a draw from softmax(l_t / temperature)

    The randomness of a token depends only on the key, its row and its position, as in
    `seqjax.sampling.generate`. Constraints and sampling options do not affect the score of a token,
    which is its log-probability under the model, ``log_softmax(l_t)``.

    Args:
      model: a cell that maps tokens to the logits of the next token, such as a `LanguageModel`.
      params: the parameters of the model, with a context if it attends to one.
      start: ``int[B]``, the first input of each row, with any number of batch axes, or none.
      end: the end symbol, in ``[0, V)``.
      max_length: the largest number of tokens, with the end symbol. Each value compiles a separate
        program.
      state: the state before the first step; defaults to `Cell.first_state`.
      sampling: how to draw each token; by default the most likely one, and the lowest of equally
        likely ones.
      key: a key from `jax.random.key`, for a temperature above 0.
      forbidden: ``bool[V]`` or ``bool[B, V]``, True at tokens that must not be chosen.
      prefix: ``int[B, P]``, the first tokens of each row, without an end symbol. They are part of
        the result and its score, and may be forbidden ones.
      prefix_lengths: ``int[B]`` in ``[0, P]``, the number of tokens of each prefix; defaults to P.

    Returns:
      The `Decoded` tokens ``int32[B, max_length]``, lengths, whether rows are finished, and scores.

    Raises:
      ValueError: the arguments do not fit together. Values of arrays are checked outside of
        `jax.jit` only.

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> decoded = decode(model, params, jnp.array([1, 2]), end=0, max_length=7)
    >>> decoded.tokens.shape, decoded.scores.shape
    ((2, 7), (2,))
    >>> drawn = decode(model, params, jnp.array([1, 2]), end=0, max_length=7,
    ...                sampling=Sampling(temperature=0.5), key=jax.random.key(1))
    """
    request = check_request(
        "decode", model, params, start, end, max_length, state, forbidden, prefix, prefix_lengths
    )
    if not isinstance(sampling, Sampling):
        raise ValueError(
            f"sampling must be a Sampling, such as Sampling(temperature=0.8), got {sampling!r}"
        )
    if key is not None:
        check_key(key)
    elif sampling.temperature > 0:
        raise ValueError(
            f"sampling at temperature {sampling.temperature} needs key=jax.random.key(...); "
            "use temperature 0 for the most likely tokens"
        )
    return _decode(model, request, key, int(max_length), sampling)


class _Progress(NamedTuple):
    position: Array  # int32[]
    state: State
    token: Array  # int32[B], the last one, which the next step reads
    decoded: Decoded


@functools.partial(jax.jit, static_argnames=("model", "max_length", "sampling"))
def _decode(
    model: Cell, request: Request, key: Array | None, max_length: int, sampling: Sampling
) -> Decoded:
    params, start, end = request.params, request.start, request.end
    state = first_state(model, request)

    def is_running(progress: _Progress) -> Array:
        return (progress.position < max_length) & ~progress.decoded.finished.all()

    def advance(progress: _Progress) -> _Progress:
        position, state, token, (tokens, lengths, finished, scores) = progress
        state, logits = next_logits(model, params, state, token)
        possible = exclude(logits, permitted(request, position, logits.shape[-1]))
        if sampling.temperature == 0 or key is None:
            chosen = possible.argmax(-1).astype(jnp.int32)
        else:
            chosen = draw(jax.random.fold_in(key, position), possible, sampling)
        token = jnp.where(finished, end, chosen)
        gained = jnp.take_along_axis(jax.nn.log_softmax(logits), chosen[..., None], -1)[..., 0]
        decoded = Decoded(
            write_at(tokens, position, token),
            lengths + (token != end).astype(jnp.int32),
            finished | (token == end),
            scores + jnp.where(finished, 0, gained),
        )
        return _Progress(position + 1, state, token, decoded)

    logits = jax.eval_shape(lambda: next_logits(model, params, state, start)[1])
    nothing = Decoded(
        jnp.full((*start.shape, max_length), end),
        jnp.zeros(start.shape, jnp.int32),
        jnp.zeros(start.shape, bool),
        jnp.zeros(start.shape, accumulation_dtype(logits.dtype)),
    )
    progress = _Progress(jnp.zeros((), jnp.int32), state, start, nothing)
    return jax.lax.while_loop(is_running, advance, progress).decoded
