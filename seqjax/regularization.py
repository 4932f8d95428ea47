"""Weight dropout."""

from collections.abc import Collection, Set

import jax
import jax.numpy as jnp

from seqjax.arrays import as_params
from seqjax.checks import check_key, check_rate
from seqjax.types import Array, Params

RECURRENT = ("recurrent_kernel", "gate_kernel", "candidate_kernel")  # a GRU has the last two


def drop_weights(
    key: Array, params: Params, rate: float, names: Collection[str] = RECURRENT
) -> Params:
    """Weight dropout: randomly set weights of the recurrent kernels to 0::

        W = keep * W / (1 - rate),   keep ~ Bernoulli(1 - rate) for each weight

    Call it once per training step, before `seqjax.unroll`, so that the same weights are dropped at
    all time steps and in all rows. Unlike dropout of the state, it adds no work to the loop.

    Args:
      key: a key from `jax.random.key`.
      params: the parameters of any cell.
      rate: the probability of dropping a weight, in ``[0, 1)``.
      names: the names of the parameters whose weights are dropped.

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
    check_key(key)
    check_rate("drop_weights", "rate", rate)
    if isinstance(names, str) or not isinstance(names, list | tuple | Set):
        raise ValueError(f"drop_weights: names must be a list of names, got {names!r}")
    leaves, structure = jax.tree.flatten_with_path(as_params(params))
    is_named = [jax.tree_util.keystr(path[-1:], simple=True) in names for path, _ in leaves]
    if not any(is_named):
        given = sorted(
            {jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves}
        )
        raise ValueError(
            f"drop_weights: no parameter has the name {' or '.join(map(str, names))}; give "
            f"names among {', '.join(given)}"
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
