"""The check of cells that require input features rather than tokens."""

import jax.numpy as jnp

from seqjax.types import Array, PyTree


def check_features(owner: str, xs: PyTree) -> None:
    """Raise ``ValueError`` unless ``xs`` is one array of floats, since tokens have no features."""
    if not isinstance(xs, Array) or jnp.issubdtype(xs.dtype, jnp.integer):
        given = f"tokens of shape {xs.shape}" if isinstance(xs, Array) else f"a {type(xs).__name__}"
        raise ValueError(
            f"{owner}: inputs must be one array of features, got {given}; embed tokens first, "
            "for example with an InputProjection as the lowest layer of a Stack"
        )
