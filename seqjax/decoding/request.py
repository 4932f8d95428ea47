"""What a decoding is given, what it returns, and the step that all decodings take."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_arrays, as_int32, given_array, is_known
from seqjax.checks import check_count, check_size
from seqjax.engine.validation import (
    check_contexts,
    check_generator,
    check_state,
    is_context,
    state_dtype,
)
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.masking import check_tokens, resolve_mask
from seqjax.types import Array, Cell, Params, PyTree, State


class Decoded(NamedTuple):
    """Decoded sequences.

    `seqjax.decoding.beam_search` returns arrays with an axis of hypotheses after B.

    Attributes:
      tokens: ``int32[B, max_length]``, the tokens; past the length, the end symbol.
      lengths: ``int32[B]``, the number of tokens before the end symbol.
      finished: ``bool[B]``, whether the sequence ends in an end symbol. Otherwise it was cut off
        after ``max_length`` tokens.
      scores: floating ``[B]``, the sum of the log-probabilities of the tokens, in nats, with that
        of the end symbol.
    """

    tokens: Array
    lengths: Array
    finished: Array
    scores: Array


class Request(NamedTuple):
    """The checked arguments of a decoding.

    Attributes:
      params: the parameters of the model.
      start: ``int32[B]``, the first input.
      end: ``int32[]``, the end symbol.
      state: the state before the first step; None for the first state of the model.
      forbidden: ``bool[B, V]``, True at tokens that must not be chosen; None if there are none.
      forced: ``int32[B, P]``, the first tokens of each row, -1 at free positions; None if there are
        none.
      excluded: ``int32[B, F, Q]``, sequences that no hypothesis of a beam search begins with, -1
        past their lengths; None if there are none.
    """

    params: Params
    start: Array
    end: Array
    state: State | None
    forbidden: Array | None
    forced: Array | None
    excluded: Array | None = None


def map_rows(change: Callable[[Array], Array], request: Request) -> Request:
    """Apply ``change`` to all arrays of ``request`` that have the batch axes."""

    def of_params(part: PyTree) -> PyTree:
        return jax.tree.map(change, part) if is_context(part) else part

    params, start, end, *others = request
    params = jax.tree.map(of_params, params, is_leaf=is_context)
    return Request(params, change(start), end, *jax.tree.map(change, others))


def check_request(
    owner: str,
    model: Any,
    params: Params,
    start: Array,
    end: int,
    max_length: int,
    state: State | None,
    forbidden: Array | None,
    prefix: Array | None,
    prefix_lengths: Array | None,
) -> Request:
    """Check the arguments that all decodings share."""
    params = check_generator(model, params)
    start = given_array("start", start)
    if not jnp.issubdtype(start.dtype, jnp.integer):
        raise ValueError(
            f"start must be integers [B], the first input token of each row, got "
            f"{start.dtype}{list(start.shape)}"
        )
    batch_shape = start.shape
    if math.prod(batch_shape) == 0:
        raise ValueError(f"the batch must not be empty, got start of shape {batch_shape}")
    check_tokens("start", start, model.input_size(params))
    check_contexts(params, batch_shape)
    size = model.output_size
    check_count(owner, "end", end, high=size - 1)
    check_size(owner, "max_length", max_length)
    tokens = as_int32(start)
    if state is not None:
        state = as_arrays("state", state)
        dtype = state_dtype(model, params, tokens)
        check_state(model, params, state, batch_shape, dtype, "state")
    if forbidden is not None:
        forbidden = _check_forbidden(forbidden, batch_shape, size)
    forced = _check_prefix(prefix, prefix_lengths, batch_shape, size, end, max_length)
    return Request(params, tokens, jnp.asarray(end, jnp.int32), state, forbidden, forced)


def _check_forbidden(forbidden: Array, batch_shape: tuple[int, ...], size: int) -> Array:
    forbidden = given_array("forbidden", forbidden)
    if forbidden.dtype != bool or forbidden.shape not in ((size,), (*batch_shape, size)):
        raise ValueError(
            f"forbidden must be bool of shape {(size,)} or {(*batch_shape, size)}, True at tokens "
            f"that must not be chosen, got {forbidden.dtype} of shape {forbidden.shape}"
        )
    if is_known(forbidden) and np.asarray(forbidden).all(-1).any():
        raise ValueError("forbidden must leave at least one token possible in each row")
    return jnp.broadcast_to(jnp.asarray(forbidden), (*batch_shape, size))


def _check_prefix(
    prefix: Array | None,
    lengths: Array | None,
    batch_shape: tuple[int, ...],
    size: int,
    end: int,
    max_length: int,
) -> Array | None:
    if prefix is None:
        if lengths is not None:
            raise ValueError("prefix_lengths were given without a prefix")
        return None
    prefix = given_array("prefix", prefix)
    leading = prefix.shape[:-1] if prefix.ndim else None
    if leading != batch_shape or not jnp.issubdtype(prefix.dtype, jnp.integer):
        raise ValueError(
            f"prefix must be integers [B, P] with the batch axes {batch_shape} of start, got "
            f"{prefix.dtype} of shape {prefix.shape}"
        )
    if prefix.shape[-1] > max_length:
        raise ValueError(
            f"prefix holds up to {prefix.shape[-1]} tokens, more than max_length={max_length}"
        )
    axis = prefix.ndim - 1
    mask = resolve_mask(lengths, None, prefix.shape, axis, "prefix_lengths")
    check_tokens("prefix", prefix, size, mask)
    tokens = as_int32(prefix)
    if mask is not None:
        tokens = jnp.where(mask, tokens, -1)
    if is_known(tokens) and (np.asarray(tokens) == end).any():
        raise ValueError(f"prefix must not hold the end symbol, {end}; leave it out")
    return tokens if prefix.shape[-1] else None


def first_state(model: Cell, request: Request) -> State:
    """The state before the first step."""
    if request.state is not None:
        return request.state
    dtype = state_dtype(model, request.params, request.start)
    return model.first_state(request.params, request.start.shape, dtype)


def next_logits(model: Cell, params: Params, state: State, token: Array) -> tuple[State, Array]:
    """One step, ``(state, token [B]) -> (next state, logits [B, V])``, without checks."""
    z = jax.tree.map(lambda a: a[0], model.project(params, token[None]))
    state, logits = model.step(params, state, z)
    return state, as_logits(model, logits)


def as_logits(model: Cell, logits: Any) -> Array:
    """The outputs of a model in the dtype of scores, if they are one array of logits."""
    if not isinstance(logits, jax.Array):
        raise ValueError(
            f"the outputs of {model} must be one array of logits, got a {type(logits).__name__}"
        )
    return logits.astype(accumulation_dtype(logits.dtype))


def permitted(request: Request, position: Array, size: int) -> Array | None:
    """``bool[B, V]``, True at the tokens that a row may choose; None if it may choose any.

    A forced token may be a forbidden one.
    """
    free = None if request.forbidden is None else ~request.forbidden
    forced = request.forced
    if forced is None:
        return free
    last = forced.shape[-1] - 1
    token = jax.lax.dynamic_index_in_dim(
        forced, jnp.minimum(position, last), forced.ndim - 1, keepdims=False
    )
    token = jnp.where(position > last, -1, token)
    chosen = one_hot(token, size)
    is_free = jnp.expand_dims(token < 0, -1)
    return chosen | (is_free if free is None else is_free & free)


def one_hot(tokens: Array, size: int) -> Array:
    """``bool[B, V]`` from ``int32[B]``, all False for -1."""
    return jax.nn.one_hot(tokens, size, dtype=bool)


def exclude(logits: Array, mask: Array | None) -> Array:
    """Set ``logits`` to ``-inf`` where ``mask`` is False."""
    return logits if mask is None else jnp.where(mask, logits, -jnp.inf)


def write_at(tokens: Array, position: Array, token: Array) -> Array:
    """Write ``token [B]`` at one position of ``tokens [B, T]``."""
    return jax.lax.dynamic_update_index_in_dim(tokens, token, position, tokens.ndim - 1)
