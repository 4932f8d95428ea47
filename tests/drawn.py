"""Random parameters for tests that compute them when they are imported."""

import jax
import jax.numpy as jnp
import numpy as np


def params_of(cell, input_size, dtype=jnp.float64, seed=0):
    """Draw all parameters with NumPy, since `Cell.init` would compile a program for each shape."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size, dtype))
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.5, a.shape), a.dtype), shapes)
