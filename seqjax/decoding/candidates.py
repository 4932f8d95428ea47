"""Hypotheses of a beam search, and how its candidates are excluded, chosen and listed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.decoding.beam import Beam
from seqjax.decoding.request import Decoded, exclude, one_hot
from seqjax.types import Array, PyTree


class Hypotheses(NamedTuple):
    """Hypotheses ``[B, G, N]`` of G groups; those that do not exist have a rank of ``-inf``."""

    decoded: Decoded
    ranks: Array


def exclude_from(
    allowed: Array | None, completions: Array | None, *tables: Array
) -> tuple[Array, ...]:
    """Exclude tokens that are not ``allowed [B, V]``, or are ``completions [B, K, V]``."""
    if allowed is not None:
        tables = tuple(exclude(table, jnp.expand_dims(allowed, -2)) for table in tables)
    if completions is not None:
        tables = tuple(exclude(table, ~completions) for table in tables)
    return tables


def completions(excluded: Array, tokens: Array, position: Array, size: int) -> Array:
    """``bool[B, K, V]``, True at the tokens that complete one of ``excluded [B, F, Q]``."""
    longest = min(excluded.shape[-1], tokens.shape[-1])
    wanted, given = jnp.expand_dims(excluded, -3), jnp.expand_dims(tokens, -2)
    begun = wanted[..., :longest] == given[..., :longest]  # [B, K, F, Q]
    is_later = jnp.arange(longest, dtype=jnp.int32) >= position
    begun = (begun | is_later.reshape((1,) * (begun.ndim - 1) + (-1,))).all(-1)
    is_last = (excluded >= 0).sum(-1, dtype=jnp.int32) == position + 1
    last = jnp.minimum(position, excluded.shape[-1] - 1)
    token = jax.lax.dynamic_index_in_dim(excluded, last, excluded.ndim - 1, keepdims=False)
    completes = begun & jnp.expand_dims(is_last, -2)
    return (completes[..., None] & jnp.expand_dims(one_hot(token, size), -3)).any(-2)


class Choice(NamedTuple):
    """What is chosen from the candidates of a step.

    Attributes:
      ending: ``[B, K]``, the scores of hypotheses with the end symbol that enter the list, ``-inf``
        where one does not.
      parents: ``int32[B, K]``, the hypotheses that are continued, by their places.
      tokens: ``int32[B, K]``, the tokens that continue them.
      scores: ``[B, K]``, ``-inf`` where there is no hypothesis.
      greedy: ``int32[B]``, the place of the greedy hypothesis; K / G if there is none.
    """

    ending: Array
    parents: Array
    tokens: Array
    scores: Array
    greedy: Array


def choose(
    logits: Array, totals: Array, ended: Array, greedy: Array, end: Array, beam: Beam
) -> Choice:
    """Choose from the candidates ``[B, K, V]`` of a step, one group after the other.

    Args:
      logits: ``[B, K, V]``, of which the greedy hypothesis takes the largest.
      totals: ``[B, K, V]``, the score of each hypothesis with each token.
      ended: ``[B, G]``, the highest score in the list of each group.
      greedy: ``int32[B]``, the place of the greedy hypothesis.
      end: the end symbol.
      beam: the options of the search.
    """
    places, size = beam.width // beam.groups, totals.shape[-1]
    batch_shape = totals.shape[:-2]
    ends = end + size * jnp.arange(places, dtype=jnp.int32)  # candidates that end
    ends = jnp.broadcast_to(ends, (*batch_shape, places))
    is_end = one_hot(jnp.broadcast_to(end, (*batch_shape, places)), size)
    target = _greedy_target(logits, totals, greedy, places)
    counts = jnp.zeros_like(totals[..., 0, :])  # how often earlier groups chose each token
    parts = []
    for group in range(beam.groups):
        first = group * places
        of_group = totals[..., first : first + places, :]
        if beam.threshold is not None:
            of_group = _prune(of_group, ended[..., group], target, beam.threshold)
        biased = of_group
        if group:
            bias = beam.diversity * jnp.expand_dims(counts, -2)
            biased = jnp.where(is_end, of_group, of_group - bias)
        flat = (*batch_shape, places * size)
        _, all_best = jax.lax.top_k(biased.reshape(flat), places)
        _, index = jax.lax.top_k(jnp.where(is_end, -jnp.inf, biased).reshape(flat), places)
        is_listed = (ends[..., None] == jnp.expand_dims(all_best, -2)).any(-1)
        if group == 0:
            is_greedy = ends == target[..., None]
            is_listed = is_listed | is_greedy
            target = jnp.where(is_greedy.any(-1), -1, target)
            index, greedy = _keep(index, target)
            target = jnp.full_like(target, -1)  # other groups have none
        ending = jax.lax.dynamic_index_in_dim(of_group, end, of_group.ndim - 1, keepdims=False)
        ending = jnp.where(is_listed, ending, -jnp.inf)
        scores = jnp.take_along_axis(of_group.reshape(flat), index, -1)
        scores = jnp.where(index % size == end, -jnp.inf, scores)
        parts.append((ending, index // size + first, index % size, scores))
        is_live = jnp.expand_dims(scores > -jnp.inf, -1)
        counts = counts + (one_hot(index % size, size) & is_live).sum(-2).astype(counts.dtype)
    ending, parents, tokens, scores = (
        jnp.concatenate(part, -1) for part in zip(*parts, strict=True)
    )
    return Choice(ending, parents, tokens, scores, greedy)


def _prune(totals: Array, ended: Array, kept: Array, threshold: float) -> Array:
    """Drop candidates of a group that lie too far below the best, see `Beam`.

    Args:
      totals: ``[B, K, V]``.
      ended: ``[B]``, the highest score in the list.
      kept: ``int32[B]``, the candidate that is never dropped, or -1.
      threshold: in nats.
    """
    places, size = totals.shape[-2:]
    lowest = jnp.maximum(totals.max((-2, -1)), ended) - threshold
    is_kept = one_hot(kept, places * size).reshape(totals.shape)
    is_low = totals < jnp.expand_dims(lowest, (-2, -1))  # False for NaN
    return jnp.where(is_low & ~is_kept, -jnp.inf, totals)


def _greedy_target(logits: Array, totals: Array, greedy: Array, places: int) -> Array:
    """The candidate of the first group that continues the greedy hypothesis, or -1."""
    place = jnp.minimum(greedy, places - 1)[..., None]
    token = take(logits, place)[..., 0, :].argmax(-1).astype(jnp.int32)
    total = jnp.take_along_axis(take(totals, place)[..., 0, :], token[..., None], -1)
    is_live = (greedy < places) & (total[..., 0] > -jnp.inf)
    return jnp.where(is_live, place[..., 0] * logits.shape[-1] + token, -1)


def _keep(index: Array, target: Array) -> tuple[Array, Array]:
    """Put ``target [B]`` in the last place of ``index [B, K]`` unless it has a place; -1 is none.

    Returns the places, and that of the target, or K if there is none.
    """
    target = target[..., None]
    is_missing = (target >= 0) & ~(index == target).any(-1, keepdims=True)
    is_last = one_hot(jnp.full_like(target[..., 0], index.shape[-1] - 1), index.shape[-1])
    # not a slice of the index, with which XLA would sort all candidates on CPUs
    index = jnp.where(is_missing & is_last, target, index)
    is_target = index == target
    place = jnp.where(is_target.any(-1), is_target.argmax(-1), index.shape[-1])
    return index, place.astype(jnp.int32)


def best(listed: Hypotheses, more: Hypotheses | None, count: int) -> Hypotheses:
    """The ``count`` hypotheses with the highest rank, the earlier one of equals first."""
    axis = listed.ranks.ndim - 1
    if more is not None:
        listed = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis), listed, more)
    _, index = jax.lax.top_k(listed.ranks, count)
    return take(listed, index)


def is_repeated(listed: Hypotheses) -> Array:
    """``bool[B, N]``, True at hypotheses that equal an earlier one."""
    tokens, lengths, finished, _ = listed.decoded
    axis = lengths.ndim - 1
    same = jnp.ones((1,) * lengths.ndim + (1,), bool)
    for part in (tokens, lengths[..., None], finished[..., None]):
        same = same & (jnp.expand_dims(part, axis) == jnp.expand_dims(part, axis + 1)).all(-1)
    exists = jnp.expand_dims(listed.ranks > -jnp.inf, axis)  # same[..., n, earlier]
    return jnp.tril(same & exists, -1).any(-1)


def take(tree: PyTree, index: Array) -> PyTree:
    """Take the entries ``index [B, K]`` along the last axis of B, K, of arrays ``[B, N, ...]``."""
    axis = index.ndim - 1

    def one(a: Array) -> Array:
        return jnp.take_along_axis(
            a, index.reshape(index.shape + (1,) * (a.ndim - index.ndim)), axis
        )

    return jax.tree.map(one, tree)
