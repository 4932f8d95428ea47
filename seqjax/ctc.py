"""Connectionist temporal classification (CTC): a target that is shorter than its input.

The network outputs logits of V classes at each of T steps; one class is the blank. An alignment
picks one class for each step. Its labelling follows by merging equal adjacent classes and then
dropping blanks. So the alignments ``a-ab-`` and ``-aabb`` have the labellings ``aab`` and ``ab``.
The probability of a labelling is the sum of the probabilities of its alignments::

    p(labelling) = sum over its alignments of the product over t of softmax(logits[t])[alignment[t]]

`ctc_loss` is its negative logarithm. `greedy_decode` finds the labelling of the most probable
alignment, and `beam_decode` searches for the most probable labellings. An encoder alone is enough,
such as a `seqjax.Bidirectional` with a `seqjax.OutputProjection`::

    state, logits = seqjax.unroll(model, params, xs, lengths=lengths)
    loss = ctc_loss(logits, targets, lengths=lengths, target_lengths=target_lengths)
    best = beam_decode(logits, width=16, lengths=lengths)
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.arrays import as_int32, given_array
from seqjax.checks import check_count, check_flag, check_size
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.masking import check_tokens, lengths_to_mask, resolve_mask, zero_outside
from seqjax.types import Array

# Sums of log-probabilities this low stand for a probability of 0. Optax adds and compares them, so
# they are finite, and far apart from each other and from sums over possible alignments.
_LOG_ZERO = -1e30  # of a transition that is not possible
_LOG_FLOOR = -1e18  # of a class with a logit of -inf
_IMPOSSIBLE = 1e15  # a loss that an alignment of possible classes does not reach


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


def ctc_loss(
    logits: Array,
    targets: Array,
    *,
    lengths: Array | None = None,
    target_lengths: Array | None = None,
    blank: int = 0,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """The negative log-probability of target labellings, in nats per row::

        loss = -log p(targets)

    Steps past the length of a row and targets past its target length affect neither the loss nor
    its gradient, even if they are NaN or out of range. A row with a length of 0 has only the empty
    labelling, with a loss of 0.

    A labelling needs a step for each token, and one more for the blank between two equal tokens.
    If a row has fewer steps, its probability is 0. Outside of `jax.jit` this is an error. Inside of
    it, the loss is ``inf`` and the gradient of this row is 0. The same holds for a target whose
    logits are ``-inf``, inside and outside.

    Args:
      logits: floating ``[B, T, V]``, with any number of batch axes.
      targets: integers ``[B, N]`` in ``[0, V)``, without the blank.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      target_lengths: ``int[B]`` in ``[0, N]``, the number of tokens of each row; defaults to N.
      blank: the class of the blank, in ``[0, V)``.
      average_over_batch: whether to average over all rows, which divides by their number B.
      time_major: the logits are ``[T, B, V]``. Targets stay ``[B, N]``.

    Returns:
      ``[]``, or ``[B]`` without the average, in the dtype of the logits, or float32 for 16-bit
      dtypes.

    Raises:
      ValueError: the shapes or dtypes do not fit together, a token is the blank or outside of
        ``[0, V)``, or a row has too few steps for its target. The values of tokens and lengths are
        checked outside of `jax.jit` only; inside, such a token makes the loss NaN.

    Reference: Graves, Fernandez, Gomez and Schmidhuber, "Connectionist temporal classification:
    labelling unsegmented sequence data with recurrent neural networks", 2006.

    >>> logits = jnp.zeros((1, 3, 4), jnp.float32)
    >>> print(ctc_loss(logits, jnp.array([[2, 1]])))  # 5 of 4 ** 3 alignments: log(64 / 5)
    2.5494452
    >>> ctc_loss(logits, jnp.array([[2, 2, 1]]))
    Traceback (most recent call last):
    ...
    ValueError: 3 targets, 1 of which repeats its predecessor, need at least 4 steps, got 3 at row 0
    """
    check_flag("ctc_loss", "average_over_batch", average_over_batch)
    logits, mask = _time_last(logits, lengths, blank, time_major, "ctc_loss")
    batch_shape, classes = logits.shape[:-2], logits.shape[-1]
    targets = given_array("targets", targets)
    if targets.ndim != logits.ndim - 1 or targets.shape[:-1] != batch_shape:
        raise ValueError(
            f"targets must be integers [B, N] with the batch axes {batch_shape} of the logits, got "
            f"{targets.dtype} of shape {targets.shape}"
        )
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(f"targets must be integers [B, N], got {targets.dtype}")
    target_axis = targets.ndim - 1
    inside = resolve_mask(target_lengths, None, targets.shape, target_axis, "target_lengths")
    if inside is None:
        inside = jnp.ones(targets.shape, bool)
    check_tokens("targets", targets, classes, inside)
    _check_possible(targets, inside, mask, blank)
    losses = _losses(logits, mask, as_int32(targets), inside, int(blank))
    return losses.mean() if average_over_batch else losses


@functools.partial(jax.jit, static_argnames="blank")
def _losses(logits: Array, mask: Array, targets: Array, inside: Array, blank: int) -> Array:
    batch_shape, classes = logits.shape[:-2], logits.shape[-1]
    usable = ((targets >= 0) & (targets < classes) & (targets != blank)) | ~inside
    targets = jnp.where(inside & usable, targets, 0)
    # optax multiplies by one-hot vectors, which -inf would turn into NaN
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    logits = jnp.maximum(logits, largest + _LOG_FLOOR)
    # optax needs at least one step and one target
    more = [(0, 0)] * len(batch_shape)
    steps = 1 if logits.shape[-2] == 0 else 0
    tokens = 1 if targets.shape[-1] == 0 else 0
    logits = jnp.pad(logits, [*more, (0, steps), (0, 0)])
    mask, targets, inside = (
        jnp.pad(array, [*more, (0, size)])
        for array, size in ((mask, steps), (targets, tokens), (inside, tokens))
    )
    # optax computes with float32 and the default float dtype together
    rows = math.prod(batch_shape)
    with jax.numpy_dtype_promotion("standard"), jax.default_matmul_precision("highest"):
        losses = optax.ctc_loss(
            logits.reshape(rows, *logits.shape[-2:]),
            (~mask).astype(logits.dtype).reshape(rows, mask.shape[-1]),
            targets.reshape(rows, targets.shape[-1]),
            (~inside).astype(logits.dtype).reshape(rows, inside.shape[-1]),
            blank_id=blank,
            log_epsilon=_LOG_ZERO,
        )
    losses = losses.astype(logits.dtype).reshape(batch_shape)
    losses = jnp.where(losses >= _IMPOSSIBLE, jnp.inf, losses)
    return jnp.where(usable.all(-1), losses, jnp.nan)


def _check_possible(targets: Any, inside: Array, mask: Array, blank: int) -> None:
    """Raise ``ValueError`` if a target is the blank, or does not fit in the steps of its row."""
    values = targets, inside, mask
    if any(isinstance(array, jax.core.Tracer) for array in values):
        return
    if not all(getattr(array, "is_fully_addressable", True) for array in values):
        return
    host, counts, steps = (np.asarray(array) for array in values)
    found = np.argwhere(counts & (host == blank))
    if len(found):
        raise ValueError(
            f"targets must not hold the blank, {blank}, got it at index "
            f"{tuple(int(i) for i in found[0])}; give another class as blank"
        )
    repeats = ((host[..., 1:] == host[..., :-1]) & counts[..., 1:]).sum(-1)
    need, have = counts.sum(-1) + repeats, steps.sum(-1)
    for row in np.argwhere(need > have)[:1]:
        index = tuple(int(i) for i in row)
        size, again = int(counts.sum(-1)[index]), int(repeats[index])
        which = f", {again} of which repeats its predecessor," if again else ""
        raise ValueError(
            f"{size} targets{which} need at least {need[index]} steps, got {have[index]}"
            f"{f' at row {index[0] if len(index) == 1 else index}' if index else ''}"
        )


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
    logits, mask = _time_last(logits, lengths, blank, time_major, "greedy_decode")
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
    logits, mask = _time_last(logits, lengths, blank, time_major, "beam_decode")
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


def _time_last(
    logits: Array, lengths: Array | None, blank: int, time_major: bool, owner: str
) -> tuple[Array, Array]:
    """Check the arguments; return logits ``[B, T, V]``, 0 at padding, and the mask ``[B, T]``."""
    check_flag(owner, "time_major", time_major)
    logits = jnp.asarray(given_array("logits", logits))
    if not (jnp.issubdtype(logits.dtype, jnp.floating) and logits.ndim >= 2 and logits.shape[-1]):
        raise ValueError(
            f"logits must be floating [B, T, V], got {logits.dtype} of shape {logits.shape}"
        )
    check_count(owner, "blank", blank, high=logits.shape[-1] - 1)
    logits = logits.astype(accumulation_dtype(logits.dtype))
    if time_major:
        logits = jnp.moveaxis(logits, 0, -2)
    leading_shape = logits.shape[:-1]
    mask = resolve_mask(lengths, None, leading_shape, len(leading_shape) - 1)
    if mask is None:
        return logits, jnp.ones(leading_shape, bool)
    return zero_outside(mask, logits), mask
