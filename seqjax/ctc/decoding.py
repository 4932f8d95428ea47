"""Decoding of the outputs of connectionist temporal classification."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_count, check_size
from seqjax.ctc.arguments import time_last
from seqjax.operations.masking import lengths_to_mask, zero_outside
from seqjax.types import Array


class Labelling(NamedTuple):
    """Decoded labellings; of several, the most probable one is the first.

    Attributes:
      tokens: ``int32[B, T]`` or ``int32[B, N, T]``, the blank past the length.
      lengths: the number of tokens, ``int32[B]`` or ``int32[B, N]``.
      scores: log-probabilities in nats, floating ``[B]`` or ``[B, N]``.
    """

    tokens: Array
    lengths: Array
    scores: Array


def greedy_decode(
    logits: Array, *, lengths: Array | None = None, blank: int = 0, time_major: bool = False
) -> Labelling:
    """Decode the labelling of the most probable alignment.

    This is often, but not always, the most probable labelling. Its score is the log-probability of
    the alignment, which is a lower bound of that of the labelling.

    Args:
      logits: as in `ctc_loss`.
      lengths: as in `ctc_loss`.
      blank: as in `ctc_loss`.
      time_major: the logits are ``[T, B, V]``. The result stays batch-major.

    Returns:
      A `Labelling` with tokens ``int32[B, T]``.

    Raises:
      ValueError: the shapes or dtypes do not fit together, or a length is not in ``[0, T]``.

    Reference: Graves et al., 2006, section 3.2 (best path decoding).

    >>> logits = 9.0 * jax.nn.one_hot(jnp.array([[2, 2, 0, 2, 1]]), 3, dtype=jnp.float32)
    >>> best = greedy_decode(logits)
    >>> print(best.tokens, best.lengths)
    [[2 2 1 0 0]] [3]
    """
    logits, mask = time_last(logits, lengths, blank, time_major, "greedy_decode")
    blank = int(blank)
    labels = logits.argmax(-1).astype(jnp.int32)
    before = jnp.pad(labels, [(0, 0)] * (labels.ndim - 1) + [(1, 0)], constant_values=-1)
    keep = mask & (labels != blank) & (labels != before[..., :-1])
    order = jnp.argsort(~keep, axis=-1, stable=True)
    sizes = keep.sum(-1, dtype=jnp.int32)
    tokens = jnp.where(
        lengths_to_mask(sizes, labels.shape[-1]), jnp.take_along_axis(labels, order, -1), blank
    )
    best = jax.nn.log_softmax(logits).max(-1)
    return Labelling(tokens, sizes, zero_outside(mask, best).sum(-1))


def beam_decode(
    logits: Array,
    width: int,
    *,
    n_best: int | None = None,
    lengths: Array | None = None,
    blank: int = 0,
    time_major: bool = False,
) -> Labelling:
    """Search for the most probable labellings, with a beam of prefixes.

    After each step, the beam holds the ``width`` most probable prefixes of labellings. For each
    prefix it keeps the probability of the alignments that end with a blank and of those that end
    with its last token, because only the former can repeat that token. If no prefix with a
    probability above 0 was dropped, the scores are the exact log-probabilities of the labellings.
    Otherwise they are lower bounds.

    Args:
      logits: as in `ctc_loss`.
      width: the number of prefixes in the beam. Each width compiles a separate program.
      n_best: N, the number of labellings to return, at most ``width``; defaults to ``width``.
      lengths: as in `ctc_loss`.
      blank: as in `ctc_loss`.
      time_major: the logits are ``[T, B, V]``. The result stays batch-major.

    Returns:
      A `Labelling` with tokens ``int32[B, N, T]``, the most probable labelling first. If there are
      fewer labellings, the rest has a length of 0 and a score of ``-inf``.

    Raises:
      ValueError: the shapes or dtypes do not fit together, ``width`` is not a whole number of at
        least 1, ``n_best`` is not in ``[1, width]``, or a length is not in ``[0, T]``.

    Reference: Graves et al., 2006, section 3.2 (prefix search), in the form of Hannun, Maas,
    Jurafsky and Ng, "First-pass large vocabulary continuous speech recognition using bi-directional
    recurrent DNNs", 2014, without a language model.

    >>> logits = jnp.log(jnp.array([[[0.6, 0.4], [0.6, 0.4]]]))
    >>> print(jnp.exp(beam_decode(logits, width=3).scores))  # "1", then the empty labelling
    [[0.64 0.36 0.  ]]
    >>> print(beam_decode(logits, width=3).tokens[0, 0], greedy_decode(logits).lengths)
    [1 0] [0]
    """
    check_size("beam_decode", "width", width)
    n_best = width if n_best is None else n_best
    check_count("beam_decode", "n_best", n_best, low=1, high=width)
    logits, mask = time_last(logits, lengths, blank, time_major, "beam_decode")
    return _beam_decode(logits, mask, int(width), int(n_best), int(blank))


class _Beam(NamedTuple):
    """K prefixes of one row; a dead one has log-probabilities of -inf.

    Attributes:
      tokens: ``int32[K, T]``, the blank past the size; T is at least 1.
      sizes: ``int32[K]``.
      with_blank: ``[K]``, the log-probability of all alignments that end with a blank.
      with_label: ``[K]``, that of all alignments that end with the last token.
    """

    tokens: Array
    sizes: Array
    with_blank: Array
    with_label: Array

    @property
    def scores(self) -> Array:
        return jnp.logaddexp(self.with_blank, self.with_label)


@functools.partial(jax.jit, static_argnames=("width", "n_best", "blank"))
def _beam_decode(logits: Array, mask: Array, width: int, n_best: int, blank: int) -> Labelling:
    num_steps, classes = logits.shape[-2:]
    batch_shape = logits.shape[:-2]

    def search(logits: Array, mask: Array) -> Labelling:  # [T, V], bool[T]
        dead = jnp.full(width, -jnp.inf, logits.dtype)
        first = _Beam(
            jnp.full((width, max(num_steps, 1)), blank, jnp.int32),
            jnp.zeros(width, jnp.int32),
            dead.at[0].set(0),
            dead,
        )

        def take_step(beam: _Beam, x: tuple[Array, Array]) -> tuple[_Beam, None]:
            log_p, valid = x
            after = _extend(beam, log_p, blank)
            return jax.tree.map(functools.partial(jnp.where, valid), after, beam), None

        beam, _ = jax.lax.scan(take_step, first, (jax.nn.log_softmax(logits), mask))
        beam, scores = jax.tree.map(lambda a: a[:n_best], (beam, beam.scores))
        alive = scores > -jnp.inf
        tokens = jnp.where(alive[:, None], beam.tokens[:, :num_steps], blank)
        return Labelling(tokens, jnp.where(alive, beam.sizes, 0), scores)

    rows = math.prod(batch_shape)
    found = jax.vmap(search)(
        logits.reshape(rows, num_steps, classes), mask.reshape(rows, num_steps)
    )
    return jax.tree.map(lambda a: a.reshape(*batch_shape, *a.shape[1:]), found)


def _extend(beam: _Beam, log_p: Array, blank: int) -> _Beam:
    """The most probable prefixes after a step with the log-probabilities ``log_p [V]``."""
    (width, places), classes = beam.tokens.shape, log_p.shape[0]
    rows = jnp.arange(width, dtype=jnp.int32)
    scores, alive = beam.scores, beam.scores > -jnp.inf
    ends = jnp.maximum(beam.sizes - 1, 0)
    last = beam.tokens[rows, ends]  # the blank if the prefix is empty

    # the same prefix: one more blank, or its last token once more
    same_blank = scores + log_p[blank]
    same_label = beam.with_label + log_p[last]
    # one more token; to repeat the last one, the alignment must end with a blank
    repeats = jnp.arange(classes, dtype=jnp.int32)[None] == last[:, None]
    longer = jnp.where(repeats, beam.with_blank[:, None], scores[:, None])
    longer = (longer + jnp.broadcast_to(log_p, longer.shape)).at[:, blank].set(-jnp.inf)

    # An extension may equal another prefix j of the beam, whose parent is then prefix i. No two
    # live prefixes are equal, so there is at most one such i.
    parents = beam.tokens.at[rows, ends].set(blank)
    is_parent = (beam.tokens[:, None] == parents[None]).all(-1)  # [i, j]
    is_parent &= alive[:, None] & jnp.broadcast_to(alive & (beam.sizes > 0), is_parent.shape)
    has_parent, parent = is_parent.any(0), is_parent.argmax(0)
    joined = jnp.where(has_parent, longer[parent, last], -jnp.inf)
    same_label = jnp.logaddexp(same_label, joined)
    longer = longer.at[jnp.where(has_parent, parent, width), last].set(-jnp.inf, mode="drop")

    candidates = jnp.concatenate([jnp.logaddexp(same_blank, same_label), longer.reshape(-1)])
    _, chosen = jax.lax.top_k(candidates, width)
    grows = chosen >= width
    source = jnp.where(grows, (chosen - width) // classes, chosen)
    token = ((chosen - width) % classes).astype(jnp.int32)
    sizes = beam.sizes[source]
    tokens = beam.tokens[source].at[rows, jnp.where(grows, sizes, places)].set(token, mode="drop")
    return _Beam(
        tokens,
        sizes + grows.astype(jnp.int32),
        jnp.where(grows, -jnp.inf, same_blank[source]),
        jnp.where(grows, candidates[chosen], same_label[source]),
    )
