"""Recurrent layers for `flax.nnx`, which hold a cell and its parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax import wrappers
from seqjax.checks import check_flag
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import check_cell
from seqjax.types import Array, Cell, Params, PyTree, State


class Recurrent(nnx.Module):
    """A layer that runs a cell over sequences, with `seqjax.unroll`.

    ``layer.params`` has the structure of `Cell.init`, with a `flax.nnx.Param` for each array. Noisy
    layers such as `Dropout` draw keys from a random stream of this layer, and draw no noise while
    ``layer.deterministic`` is True. `flax.nnx.Module.eval` sets it and `flax.nnx.Module.train`
    clears it, as for `flax.nnx.Dropout`. If NNX treats modules as trees, split the keys off
    before `flax.nnx.grad` differentiates the parameters of a noisy cell, as below.

    Args:
      cell: any cell.
      in_features: D, the number of input features, or V for tokens.
      deterministic: whether to start in evaluation mode.
      param_dtype: the dtype of the parameters.
      rngs: random streams: ``params`` for the parameters, ``dropout`` for the noise.

    Raises:
      ValueError: ``rngs`` is not a `flax.nnx.Rngs`.

    >>> import seqjax
    >>> layer = Recurrent(seqjax.LSTM(4), 3, rngs=nnx.Rngs(0))
    >>> state, ys = layer(jnp.ones((2, 5, 3), jnp.float32), lengths=jnp.array([5, 2]))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 5, 4))
    >>> noisy = Recurrent(seqjax.Dropout(seqjax.GRU(4), input_rate=0.5), 3, rngs=nnx.Rngs(0))
    >>> graph, params, rest = nnx.split(noisy, nnx.Param, ...)
    >>> def loss(params, rest):
    ...     state, ys = nnx.merge(graph, params, rest)(jnp.ones((2, 5, 3), jnp.float32))
    ...     return (ys**2).mean()
    >>> grads = nnx.grad(loss)(params, rest)
    """

    def __init__(
        self,
        cell: Cell,
        in_features: int,
        *,
        deterministic: bool = False,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        if not isinstance(rngs, nnx.Rngs):
            raise ValueError(f"rngs must be flax.nnx.Rngs, such as nnx.Rngs(0), got {rngs!r}")
        check_cell(cell)
        check_flag(type(self).__name__, "deterministic", deterministic)
        self.cell = cell
        self.params = _to_variables(cell.init(rngs.params(), in_features, param_dtype))
        self.deterministic = deterministic
        self.rngs = rngs["dropout"].fork() if cell.is_noisy else None

    def __call__(
        self,
        xs: PyTree,
        *,
        key: Array | None = None,
        deterministic: bool | None = None,
        **options: Any,
    ) -> tuple[State, PyTree]:
        """Run the cell over a sequence.

        Args:
          xs: floating ``[B, T, D]`` or integer tokens ``[B, T]``, as in `seqjax.unroll`.
          key: a PRNG key for the noise; defaults to one from the random stream of the layer.
          deterministic: whether to run without noise; defaults to ``layer.deterministic``.
          options: other keyword arguments of `seqjax.unroll`, such as ``lengths``.

        Returns:
          ``(final_state, outputs)``, as in `seqjax.unroll`.
        """
        deterministic = self.deterministic if deterministic is None else deterministic
        check_flag(type(self).__name__, "deterministic", deterministic)
        if key is None and self.rngs is not None and not deterministic:
            key = self.rngs()
        return unroll(
            self.cell,
            _to_arrays(self.params),
            xs,
            key=key,
            deterministic=deterministic and key is None,
            **options,
        )


class Bidirectional(Recurrent):
    """A bidirectional layer: `Recurrent` over a `seqjax.Bidirectional`.

    Args:
      forward: the cell that reads each row from its first step to the last.
      backward: the cell that reads each row from its last step to the first.
      in_features: D, the number of input features, or V for tokens.
      deterministic: whether to start in evaluation mode.
      param_dtype: the dtype of the parameters.
      rngs: random streams: ``params`` for the parameters, ``dropout`` for the noise.

    >>> import seqjax
    >>> layer = Bidirectional(seqjax.LSTM(4), seqjax.LSTM(4), 3, rngs=nnx.Rngs(0))
    >>> state, ys = layer(jnp.ones((2, 5, 3), jnp.float32))
    >>> state.backward.h.shape, ys.shape
    ((2, 4), (2, 5, 8))
    """

    def __init__(
        self,
        forward: Cell,
        backward: Cell,
        in_features: int,
        *,
        deterministic: bool = False,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            wrappers.Bidirectional(forward, backward),
            in_features,
            deterministic=deterministic,
            param_dtype=param_dtype,
            rngs=rngs,
        )


class SequenceModel(Recurrent):
    """A model from tokens to logits: an embedding, a cell and a linear readout.

    Past the length of a row, the logits are 0 for any tokens.

    Args:
      cell: any cell, such as a `seqjax.Stack`.
      vocabulary_size: V, the number of tokens in the vocabulary.
      embedding_size: the number of features of an embedded token.
      num_classes: the number of logits of each step.
      deterministic: whether to start in evaluation mode.
      param_dtype: the dtype of the parameters.
      rngs: random streams: ``params`` for the parameters, ``dropout`` for the noise.

    >>> import seqjax
    >>> model = SequenceModel(
    ...     seqjax.GRU(4), vocabulary_size=50, embedding_size=3, num_classes=2, rngs=nnx.Rngs(0)
    ... )
    >>> state, logits = model(jnp.array([[7, 49, 0]]))
    >>> logits.shape
    (1, 3, 2)
    """

    def __init__(
        self,
        cell: Cell,
        *,
        vocabulary_size: int,
        embedding_size: int,
        num_classes: int,
        deterministic: bool = False,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        # inside of the cell, so that lengths apply to the embedding and the readout too
        cell = wrappers.OutputProjection(
            wrappers.InputProjection(cell, embedding_size), num_classes
        )
        super().__init__(
            cell,
            vocabulary_size,
            deterministic=deterministic,
            param_dtype=param_dtype,
            rngs=rngs,
        )


def _to_variables(params: Params) -> Params:
    """Wrap each array in a `flax.nnx.Param`, for optimizers and checkpoints."""
    return nnx.data(jax.tree.map(nnx.Param, params))


def _to_arrays(variables: Params) -> Params:
    return jax.tree.map(lambda v: v[...], variables, is_leaf=lambda v: isinstance(v, nnx.Param))
