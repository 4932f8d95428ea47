"""Hypotheses of a beam search, and how its candidates are excluded, chosen and listed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.decoding.beam import Beam
from seqjax.decoding.request import Decoded, exclude, one_hot
from seqjax.types import Array, PyTree, State


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


def mean_weights(state: State, alignment: np.ndarray) -> Array:
    """The weights ``[B, K, S]`` of the last step, averaged over the heads of all layers."""
    leaves = [a for a, found in zip(jax.tree.leaves(state), alignment, strict=True) if found]
    return jnp.concatenate(leaves, -2).mean(-2)


def greedy_target(logits: Array, totals: Array, greedy: Array, end: Array, places: int) -> Array:
    """The index among ``K / G * V`` candidates that continues the greedy hypothesis; -1 if none."""
    place = jnp.minimum(greedy, places - 1)
    token = take(logits, place[..., None])[..., 0, :].argmax(-1).astype(jnp.int32)
    total = jnp.take_along_axis(take(totals, place[..., None])[..., 0, :], token[..., None], -1)
    is_live = (greedy < places) & (token != end) & (total[..., 0] > -jnp.inf)
    return jnp.where(is_live, place * logits.shape[-1] + token, -1)


def select_live(totals: Array, target: Array, beam: Beam) -> tuple[Array, Array, Array, Array]:
    """Choose the next live hypotheses from ``totals [B, K, V]``, one group after the other.

    Returns parents, tokens and scores ``[B, K]``, and the place ``[B]`` of the greedy hypothesis.
    """
    places, size = beam.width // beam.groups, totals.shape[-1]
    chosen = []
    counts = jnp.zeros_like(totals[..., 0, :])  # how often earlier groups chose each token
    greedy = jnp.zeros_like(target)
    for group in range(beam.groups):
        of_group = totals[..., group * places : (group + 1) * places, :]
        biased = of_group - beam.diversity * jnp.expand_dims(counts, -2) if group else of_group
        flat = (*totals.shape[:-2], places * size)
        _, index = jax.lax.top_k(biased.reshape(flat), places)
        if group == 0:
            index, greedy = _keep(index, target)
        scores = jnp.take_along_axis(of_group.reshape(flat), index, -1)
        parents, tokens = index // size + group * places, index % size
        chosen.append((parents, tokens, scores))
        is_live = jnp.expand_dims(scores > -jnp.inf, -1)
        counts = counts + (one_hot(tokens, size) & is_live).sum(-2).astype(counts.dtype)
    parents, tokens, scores = (jnp.concatenate(part, -1) for part in zip(*chosen, strict=True))
    return parents, tokens, scores, greedy


def _keep(index: Array, target: Array) -> tuple[Array, Array]:
    """Put ``target [B]`` in the last place of ``index [B, K]`` unless it has a place; -1 is none.

    Returns the places, and that of the target, or K if there is none.
    """
    is_target = index == target[..., None]
    is_missing = (target >= 0) & ~is_target.any(-1)
    last = jnp.where(is_missing, target, index[..., -1])
    index = jnp.concatenate([index[..., :-1], last[..., None]], -1)
    is_target = index == target[..., None]
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
