"""What keeps a model from learning its training text by heart, beside the dropout of cells."""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from seqjax.checks import check_rate
from seqjax.types import Array, Params

RECURRENT = ("recurrent_kernel", "gate_kernel", "candidate_kernel")  # the last two are the GRU's


def drop_weights(
    key: Array, params: Params, rate: float, names: Collection[str] = RECURRENT
) -> Params:
    """Drop weights of the recurrent kernels::

        W = keep * W / (1 - rate),   keep ~ Bernoulli(1 - rate) for each weight

    Call it once for each training step, before `seqjax.unroll`: then the same weights are missing
    at all time steps of all rows. Unlike dropout of the state it leaves the loop as it is.

    Args:
      key: from `jax.random.key`.
      params: of any cell or stack of cells.
      rate: the probability to drop a weight, in ``[0, 1)``; at 0 the parameters stay as they are.
      names: the names of the parameters that it drops weights of.

    Returns:
      Parameters of the same structure.

    Raises:
      ValueError: ``rate`` is outside of ``[0, 1)``, or no parameter has one of the ``names``.

    Reference: Merity, Keskar and Socher, "Regularizing and optimizing LSTM language models", 2018
    (weight-dropped LSTM), after Wan et al., "Regularization of neural networks using DropConnect",
    2013.

    >>> from seqjax import BasicRNN
    >>> params = BasicRNN(2).init(jax.random.key(0), input_size=3)
    >>> dropped = drop_weights(jax.random.key(1), params, rate=0.5)
    >>> ratio = dropped.recurrent_kernel / params.recurrent_kernel
    >>> bool(((ratio == 0) | (ratio == 2)).all())
    True
    >>> bool((dropped.input_kernel == params.input_kernel).all())
    True
    """
    check_rate("drop_weights", "rate", rate)
    leaves, structure = jax.tree.flatten_with_path(params)
    is_named = [jax.tree_util.keystr(path[-1:], simple=True) in names for path, _ in leaves]
    if not any(is_named):
        given = sorted(
            {jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves}
        )
        raise ValueError(
            f"drop_weights: none of the parameters is called {' or '.join(names)}; there are "
            f"{', '.join(given)}"
        )
    if not rate:
        return params
    keys = jax.random.split(key, len(leaves))

    def drop(key: Array, weights: Array) -> Array:
        kept = jax.random.bernoulli(key, 1 - rate, weights.shape)
        return jnp.where(kept, weights / (1 - rate), 0)

    return jax.tree.unflatten(
        structure,
        [
            drop(k, leaf) if named else leaf
            for k, named, (_, leaf) in zip(keys, is_named, leaves, strict=True)
        ],
    )
