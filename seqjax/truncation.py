"""Truncated backpropagation through time: long streams, cut into chunks that carry the state on."""

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.types import PyTree


def chunks(streams: PyTree, num_steps: int) -> PyTree:
    """Cut streams into chunks of ``num_steps`` for truncated backpropagation.

    Trained on one after the other, the final state of a chunk being the initial state of the next,
    they see each stream whole while no error flows back over a cut: of the errors of a chunk only
    its last one goes back ``num_steps`` steps. It is the kind that the articles of 2016 use.

    Args:
      streams: a pytree of arrays ``[B, N, ...]``, each row a contiguous stream.
      num_steps: T, the length of a chunk.

    Returns:
      The pytree with arrays ``[N // T, B, T, ...]``, ready for `jax.lax.scan`; the last ``N % T``
      steps of each stream are left out.

    Raises:
      ValueError: ``num_steps`` is not in ``[1, N]``, or the streams differ in B or N.

    >>> print(chunks(jnp.arange(10).reshape(2, 5), 2))
    [[[0 1]
      [5 6]]
    <BLANKLINE>
     [[2 3]
      [7 8]]]
    """
    check_size("chunks", "num_steps", num_steps)
    shapes = {leaf.shape[:2] for leaf in jax.tree.leaves(streams)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(
            f"streams must be arrays [B, N, ...] of one B and one N, got leading axes {shapes}"
        )
    rows, length = shapes.pop()
    count = length // num_steps
    if not count:
        raise ValueError(
            f"streams of {length} steps hold no chunk of num_steps={num_steps}; "
            f"give num_steps of at most {length}, or longer streams"
        )

    def cut(leaf: jax.Array) -> jax.Array:
        whole = leaf[:, : count * num_steps]
        return jnp.moveaxis(whole.reshape(rows, count, num_steps, *leaf.shape[2:]), 1, 0)

    return jax.tree.map(cut, streams)
