"""The loss of connectionist temporal classification."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.arrays import as_int32, given_array
from seqjax.checks import check_flag
from seqjax.ctc.arguments import time_last
from seqjax.operations.masking import check_tokens, resolve_mask
from seqjax.types import Array

# Sums of log-probabilities this low stand for a probability of 0. Optax adds and compares them, so
# they are finite, and far apart from each other and from sums over possible alignments.
_LOG_ZERO = -1e30  # of a transition that is not possible
_LOG_FLOOR = -1e18  # of a class with a logit of -inf
_IMPOSSIBLE = 1e15  # a loss that an alignment of possible classes does not reach


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
      average_over_batch: whether to average over all rows, which divides by their number B. The
        average over no rows is 0.
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
    logits, mask = time_last(logits, lengths, blank, time_major, "ctc_loss")
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
    if not average_over_batch:
        return losses
    return losses.sum() / max(losses.size, 1)  # 0 if there are no rows


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
