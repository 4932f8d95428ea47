"""The check of cells that work on the features of their inputs themselves."""

import jax.numpy as jnp

from seqjax.types import Array, PyTree


def check_features(owner: str, xs: PyTree) -> None:
    """Raise ``ValueError`` if ``xs`` is not one array of floats: tokens have no features."""
    if not isinstance(xs, Array) or jnp.issubdtype(xs.dtype, jnp.integer):
        given = f"tokens of shape {xs.shape}" if isinstance(xs, Array) else f"a {type(xs).__name__}"
        raise ValueError(
            f"{owner}: works on one array of input features, got {given}; embed tokens first, "
            "for instance by a Stack with an InputProjection below"
        )
