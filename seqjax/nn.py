"""Layers for `flax.nnx`: a cell together with its parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax import wrappers
from seqjax.engine.unroll import unroll
from seqjax.types import Array, Cell, Params, PyTree, State


class Recurrent(nnx.Module):
    """A cell that runs over sequences, as `seqjax.unroll` does; its options are options here.

    ``layer.params`` has the structure of `Cell.init`, with an `nnx.Param` for each array. A noisy
    cell (dropout) draws its keys from a stream of its own, and draws nothing while
    ``layer.deterministic`` is true: `nnx.Module.eval` sets it, `nnx.Module.train` clears it, as for
    flax's own `nnx.Dropout`. Where NNX treats modules as trees, keys have to be split off before
    `nnx.grad` differentiates the parameters of a noisy cell.

    Args:
      cell: any cell.
      in_features: features of the inputs, or kinds of token.
      deterministic: whether to start in evaluation mode.
      param_dtype: of the parameters.
      rngs: whose ``params`` stream draws them, and whose ``dropout`` stream the noise.

    Raises:
      ValueError: ``rngs`` is not an `nnx.Rngs`.

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
        """Return ``(final_state, outputs)``.

        Args:
          xs: as in `seqjax.unroll`.
          key: for the noise, in place of one from the layer's own stream.
          deterministic: whether to draw no noise; defaults to ``self.deterministic``.
          options: the others of `seqjax.unroll`.
        """
        deterministic = self.deterministic if deterministic is None else deterministic
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
    """A cell for each direction, a `seqjax.Bidirectional` as a layer.

    Args:
      forward: the cell that sees the past.
      backward: the cell that sees the future.
      in_features: features of the inputs, or kinds of token.
      deterministic: whether to start in evaluation mode.
      param_dtype: of the parameters.
      rngs: whose ``params`` stream draws them, and whose ``dropout`` stream the noise.

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
    """From tokens to logits: an embedding, a cell, a linear readout.

    Past a row's length logits are 0, whatever the tokens there.

    Args:
      cell: any cell, such as a `seqjax.Stack`.
      vocabulary_size: V, kinds of token.
      embedding_size: features of the embedding.
      num_classes: features of the logits.
      deterministic: whether to start in evaluation mode.
      param_dtype: of the parameters.
      rngs: whose ``params`` stream draws them, and whose ``dropout`` stream the noise.

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
        # inside of the cell, so that lengths hold for the embedding and for the readout too
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
    """Make each array a variable, which optimizers and checkpoints see by its name."""
    return nnx.data(jax.tree.map(nnx.Param, params))


def _to_arrays(variables: Params) -> Params:
    return jax.tree.map(lambda v: v[...], variables, is_leaf=lambda v: isinstance(v, nnx.Param))
