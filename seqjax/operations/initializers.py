"""Initial kernels and biases: each gate is drawn separately, whatever their number."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.types import Array


def glorot_uniform(
    key: Array, shape: tuple[int, ...], gates: int = 1, dtype: Any = jnp.float32
) -> Array:
    """Draw kernels uniformly in ``+-sqrt(6 / (rows + columns))``, ``gates`` of them side by side.

    Args:
      key: a key from ``jax.random.key``.
      shape: ``(rows, columns)`` of one gate. A convolution kernel has the axes of its window in
        front, and its rows and columns are multiplied by the size of the window.
      gates: the number of gates.
      dtype: the dtype of the result.

    Returns:
      ``[..., rows, gates * columns]``.

    Reference: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010.

    >>> glorot_uniform(jax.random.key(0), (3, 5), gates=4).shape
    (3, 20)
    """
    draw = jax.nn.initializers.glorot_uniform()
    return _side_by_side([draw(k, shape, jnp.float32) for k in jax.random.split(key, gates)], dtype)


def orthogonal(
    key: Array, units: int, gates: int = 1, dtype: Any = jnp.float32, rows: int | None = None
) -> Array:
    """Draw random orthogonal matrices, ``gates`` of them side by side.

    An orthogonal recurrent kernel preserves the norm of the state.

    Args:
      key: a key from ``jax.random.key``.
      units: the number of columns of one gate.
      gates: the number of gates.
      dtype: the dtype of the result.
      rows: the number of rows; defaults to ``units``. If it differs, the shorter side is
        orthonormal.

    Returns:
      ``[rows, gates * units]``.

    Reference: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks", 2014.

    >>> gate = orthogonal(jax.random.key(0), 3, gates=2)[:, 3:]
    >>> bool(jnp.allclose(gate.T @ gate, jnp.eye(3, dtype=jnp.float32), atol=1e-6))
    True
    """
    shape = (units if rows is None else rows, units)
    # Under vmap, run one at a time: on CPU, batched QR decompositions wait for the thread pool in
    # which they run themselves, and can deadlock if other computations run there too.
    draw = jax.custom_batching.sequential_vmap(
        lambda key: jax.nn.initializers.orthogonal()(key, shape, jnp.float32)  # QR needs 32 bits
    )
    return _side_by_side([draw(k) for k in jax.random.split(key, gates)], dtype)


def diagonal(key: Array, units: int, gates: int = 1, dtype: Any = jnp.float32) -> Array:
    """Draw the diagonals of ``gates`` recurrent kernels uniformly in [-1, 1].

    Entries of magnitude at most 1 keep gradients from exploding.

    Args:
      key: a key from ``jax.random.key``.
      units: the number of units of one gate.
      gates: the number of gates.
      dtype: the dtype of the result.

    Returns:
      ``[gates * units]``.

    Reference: Li et al., "Independently recurrent neural network (IndRNN)", 2018, section 4.1.

    >>> diagonal(jax.random.key(0), 3, gates=2).shape
    (6,)
    """
    return jax.random.uniform(key, (gates * units,), jnp.float32, -1, 1).astype(dtype)


def gate_biases(values: Sequence[float], units: int, dtype: Any = jnp.float32) -> Array:
    """Return a bias for each gate, ``[gates * units]``.

    Args:
      values: the bias of each gate.
      units: the number of units of one gate.
      dtype: the dtype of the result.

    >>> print(gate_biases([0, 1], units=3))
    [0. 0. 0. 1. 1. 1.]
    """
    return jnp.array(np.repeat(np.asarray(values, np.float64), units), dtype)


def _side_by_side(kernels: list[Array], dtype: Any) -> Array:
    return jnp.concatenate(kernels, axis=-1).astype(dtype)
