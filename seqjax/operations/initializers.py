"""How kernels are drawn: each gate of its own, so that the number of gates changes no scale."""

from typing import Any

import jax
import jax.numpy as jnp

from seqjax.types import Array


def glorot_uniform(
    key: Array, shape: tuple[int, ...], gates: int = 1, dtype: Any = jnp.float32
) -> Array:
    """Uniform in ``+-sqrt(6 / (rows + columns))``, ``gates`` kernels side by side.

    Args:
      key: a key from `jax.random.key`.
      shape: ``(rows, columns)`` of one gate; a convolution's has its window's axes in front, and
        each place of the window counts as so many rows and columns.
      gates: how many.
      dtype: of the result.

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
    """Random orthogonal matrices, ``gates`` of them side by side.

    A recurrent kernel that is orthogonal neither shrinks nor grows the state it multiplies.

    Args:
      key: a key from `jax.random.key`.
      units: columns of one gate, and its rows.
      gates: how many.
      dtype: of the result.
      rows: of one gate where they are not as many; the shorter side is then orthonormal.

    Returns:
      ``[rows, gates * units]``.

    Reference: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning
    in deep linear neural networks", 2014.

    >>> gate = orthogonal(jax.random.key(0), 3, gates=2)[:, 3:]
    >>> bool(jnp.allclose(gate.T @ gate, jnp.eye(3, dtype=jnp.float32), atol=1e-6))
    True
    """
    shape = (units if rows is None else rows, units)
    # Under vmap one after the other: a batch of QR decompositions on CPU is spread over the threads
    # of the pool that it runs in itself, and may wait for them forever where others run there too.
    draw = jax.custom_batching.sequential_vmap(
        lambda key: jax.nn.initializers.orthogonal()(key, shape, jnp.float32)  # no QR has 16 bits
    )
    return _side_by_side([draw(k) for k in jax.random.split(key, gates)], dtype)


def diagonal(key: Array, units: int, gates: int = 1, dtype: Any = jnp.float32) -> Array:
    """The diagonals of ``gates`` recurrent kernels, uniform in [-1, 1], so that no unit explodes.

    Args:
      key: a key from `jax.random.key`.
      units: of one gate.
      gates: how many.
      dtype: of the result.

    Returns:
      ``[gates * units]``.

    Reference: Li et al., "Independently recurrent neural network (IndRNN)", 2018, section 4.1.

    >>> diagonal(jax.random.key(0), 3, gates=2).shape
    (6,)
    """
    return jax.random.uniform(key, (gates * units,), jnp.float32, -1, 1).astype(dtype)


def _side_by_side(kernels: list[Array], dtype: Any) -> Array:
    return jnp.concatenate(kernels, axis=-1).astype(dtype)
