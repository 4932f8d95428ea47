"""The arguments that the loss and the decoders share."""

import jax.numpy as jnp

from seqjax.arrays import given_array
from seqjax.checks import check_count, check_flag
from seqjax.operations.affine import accumulation_dtype
from seqjax.operations.masking import resolve_mask, zero_outside
from seqjax.types import Array


def time_last(
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
