"""The check of cells that require input features rather than tokens."""

import jax.numpy as jnp

from seqjax.checks import describe_type
from seqjax.types import Array, PyTree


def check_features(owner: str, xs: PyTree) -> None:
    """Raise ``ValueError`` unless ``xs`` is one array of floats, since tokens have no features."""
    if not isinstance(xs, Array):
        raise ValueError(
            f"{owner}: inputs must be one array of features, got {describe_type(xs)}; only "
            "features pass through it, so put it inside of the cell that takes such inputs"
        )
    if jnp.issubdtype(xs.dtype, jnp.integer):
        raise ValueError(
            f"{owner}: inputs must be one array of features, got tokens of shape {xs.shape}; embed "
            "tokens first, for example with an InputProjection as the lowest layer of a Stack"
        )
