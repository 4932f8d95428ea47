"""Cross-entropy of sequences of classes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqjax.arrays import as_int32, given_array
from seqjax.checks import check_rate
from seqjax.losses.averaging import Averaging, masked_average
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.masking import check_tokens, zero_outside
from seqjax.types import Array


def sequence_loss(
    logits: Array,
    targets: Array,
    *,
    lengths: Array | None = None,
    weights: Array | None = None,
    label_smoothing: float = 0.0,
    average_over_time: bool = True,
    average_over_batch: bool = True,
    time_major: bool = False,
) -> Array:
    """Cross-entropy of integer targets over the valid steps, in nats.

    The weight ``w`` of a step is 1 within the length of its row and 0 past it, unless ``weights``
    are given. With ``ce``, the cross-entropy of one step, the result is

    ====  =====  ==================================================  =========
    time  batch  value                                               shape
    ====  =====  ==================================================  =========
    yes   yes    ``sum_bt(w * ce) / sum_bt(w)``, mean per step       ``[]``
    yes   no     ``sum_t(w * ce) / sum_t(w)``, mean of each example  ``[B]``
    no    yes    ``sum_b(w * ce) / sum_b(w)``, mean at each step     ``[T]``
    no    no     ``w * ce``                                          ``[B, T]``
    ====  =====  ==================================================  =========

    A mean always divides by the sum of its weights, never by B or T. If that sum is 0 (an empty
    row), the mean is 0. Class 0 is a regular class, and -1 is not a class. Where the weight is 0,
    neither NaN in the logits nor a target outside of the classes affects the loss or its gradient.

    With label smoothing, the target distribution of a step gives each of the V classes a share of
    ``label_smoothing / V`` and the target class the rest::

        ce = -(1 - label_smoothing) * log p[target] - label_smoothing * sum_v(log p[v]) / V

    The lowest possible loss is then the entropy of that distribution, which is above 0. For a loss
    to compare models by, leave label smoothing out.

    This is TensorFlow's ``seq2seq.sequence_loss`` with ``average_across_timesteps`` and
    ``average_across_batch``.

    Args:
      logits: floating ``[B, T, V]``, with any number of batch axes.
      targets: integers ``[B, T]`` in ``[0, V)``.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      weights: floating ``[B, T]``, the weight of each step. Give ``lengths`` or ``weights``, not
        both.
      label_smoothing: the share of the target distribution that is uniform, in ``[0, 1)``. If it is
        above 0, a logit of ``-inf`` makes the loss infinite.
      average_over_time: whether to average over time, see the table.
      average_over_batch: whether to average over the batch, see the table.
      time_major: the arrays and the result have the axes ``[T, B, ...]``.

    Returns:
      The loss, of the shape in the table, in the dtype of the logits, or float32 for 16-bit dtypes.

    Raises:
      ValueError: the shapes or dtypes do not fit together, both ``lengths`` and ``weights`` are
        given, ``label_smoothing`` is not in ``[0, 1)``, or a target with a weight is outside of
        ``[0, V)``. Targets are checked outside of `jax.jit` only; inside, such a target makes the
        loss NaN.

    Reference: Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, "Rethinking the Inception architecture
    for computer vision", 2016, section 7 (label smoothing).

    >>> logits = jnp.zeros((2, 3, 4), jnp.float32)
    >>> targets = jnp.array([[0, 1, 2], [0, -1, -1]])
    >>> print(sequence_loss(logits, targets, lengths=jnp.array([3, 1])))  # log(4)
    1.3862944
    """
    check_rate("sequence_loss", "label_smoothing", label_smoothing)
    logits = jnp.asarray(given_array("logits", logits))
    targets = given_array("targets", targets)
    if not (jnp.issubdtype(logits.dtype, jnp.floating) and logits.ndim >= 2 and logits.shape[-1]):
        raise ValueError(
            f"logits must be floating [B, T, V], got {logits.dtype} of shape {logits.shape}"
        )
    logits = logits.astype(accumulation_dtype(logits.dtype))
    leading_shape, classes = logits.shape[:-1], logits.shape[-1]
    if targets.shape != leading_shape or not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(
            f"targets must be integers of shape {leading_shape}, the batch and time axes of the "
            f"logits, got {targets.dtype} of shape {targets.shape}"
        )

    def losses_of(counts: Array) -> Array:
        check_tokens("targets", targets, classes, counts)
        labels = as_int32(targets)
        # where the weight is 0, an undefined cross-entropy must not make the loss 0 * NaN
        in_range = (labels >= 0) & (labels < classes)
        bounded = (jnp.abs(logits) < float(np.finfo(logits.dtype).max) / 4).all(-1)
        usable = counts | (in_range & bounded)
        labels = jnp.where(labels < 0, classes, labels)  # -1 is not the last class
        scores, labels = zero_outside(usable, logits), zero_outside(usable, labels)
        losses = optax.softmax_cross_entropy_with_integer_labels(scores, labels)
        if label_smoothing > 0:
            # divided before they are summed, because the sum may overflow where the weight is 0
            uniform = -(jax.nn.log_softmax(scores) / classes).sum(-1)
            share = float(label_smoothing)  # a number of NumPy has a dtype of its own
            losses = (1 - share) * losses + share * uniform
        return losses

    averaging = Averaging(lengths, weights, average_over_time, average_over_batch, time_major)
    return masked_average(
        "sequence_loss", "logits", losses_of, leading_shape, logits.dtype, averaging
    )
