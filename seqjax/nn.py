"""Layers for `flax.nnx`: a cell together with its parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from seqjax.engine.unroll import unroll
from seqjax.types import Array, Cell, Params, PyTree, State
from seqjax.wrappers import InputProjection, OutputProjection
from seqjax.wrappers.bidirectional import Directions, bidirectional_unroll


class Recurrent(nnx.Module):
    """A cell that runs over sequences, as `seqjax.unroll` does; its options are options here.

    ``layer.params`` has the structure of `Cell.init`, with an `nnx.Param` for each array.

    Args:
      cell: any cell.
      in_features: features of the inputs, or kinds of token.
      param_dtype: of the parameters.
      rngs: whose ``params`` stream draws them.

    >>> import seqjax
    >>> layer = Recurrent(seqjax.LSTM(4), 3, rngs=nnx.Rngs(0))
    >>> state, ys = layer(jnp.ones((2, 5, 3), jnp.float32), lengths=jnp.array([5, 2]))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 5, 4))
    """

    def __init__(
        self, cell: Cell, in_features: int, *, param_dtype: Any = jnp.float32, rngs: nnx.Rngs
    ):
        self.cell = cell
        self.params = _to_variables(cell.init(rngs.params(), in_features, param_dtype))

    def __call__(self, xs: PyTree, **options: Any) -> tuple[State, PyTree]:
        """Return ``(final_state, outputs)``; ``options`` are those of `seqjax.unroll`."""
        return unroll(self.cell, _to_arrays(self.params), xs, **options)


class Bidirectional(nnx.Module):
    """A cell for each direction, as in `seqjax.bidirectional_unroll`, and their outputs joined.

    Args:
      forward: the cell that sees the past.
      backward: the cell that sees the future.
      in_features: features of the inputs, or kinds of token.
      param_dtype: of the parameters.
      rngs: whose ``params`` stream draws them.

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
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        self.cells = Directions(forward, backward)
        self.params = _to_variables(
            Directions(*(cell.init(rngs.params(), in_features, param_dtype) for cell in self.cells))
        )

    def __call__(self, xs: PyTree, **options: Any) -> tuple[Directions, Array]:
        """Return the final states and the joined outputs, the forward ones first."""
        state, ys = bidirectional_unroll(*self.cells, _to_arrays(self.params), xs, **options)
        return state, jnp.concatenate(ys, axis=-1)


class SequenceModel(Recurrent):
    """From tokens to logits: an embedding, a cell, a linear readout.

    Past a row's length logits are 0, whatever the tokens there.

    Args:
      cell: any cell, such as a `seqjax.Stack`.
      vocabulary_size: V, kinds of token.
      embedding_size: features of the embedding.
      num_classes: features of the logits.
      param_dtype: of the parameters.
      rngs: whose ``params`` stream draws them.

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
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ):
        # inside of the cell, so that lengths hold for the embedding and for the readout too
        cell = OutputProjection(InputProjection(cell, embedding_size), num_classes)
        super().__init__(cell, vocabulary_size, param_dtype=param_dtype, rngs=rngs)


def _to_variables(params: Params) -> Params:
    """Make each array a variable, which optimizers and checkpoints see by its name."""
    return nnx.data(jax.tree.map(nnx.Param, params))


def _to_arrays(variables: Params) -> Params:
    return jax.tree.map(lambda v: v[...], variables, is_leaf=lambda v: isinstance(v, nnx.Param))
