"""Weights of the recurrent cells of `flax.nnx`: layer -> ``kernel`` or ``bias`` -> array.

Each ``from_...`` function takes a cell, its `flax.nnx.State`, or a nested mapping of arrays. Each
``to_...`` function returns a nested dict, which `flax.nnx.update` writes into a cell. Activations
are not converted: pass the ``activation_fn`` and ``gate_fn`` of the Flax cell to the seqjax cell as
``activation`` and ``gate_activation``.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.interop import flax_linen
from seqjax.interop.layout import (
    check_basic_rnn,
    check_gru,
    check_lstm,
    refuse_options,
    take_layers,
)
from seqjax.types import Array

Tree = dict[str, dict[str, Array]]  # layer -> "kernel" or "bias" -> array
_ADVICE = (
    "Give the recurrent cell itself (the attribute cell of an nnx.RNN) or "
    "nnx.state(cell, nnx.Param)."
)


def from_simple(cell: Any) -> BasicRNNParams:
    """Convert the weights of a ``SimpleCell`` to parameters of `seqjax.BasicRNN`.

    Args:
      cell: the cell, its state, or a mapping: ``dense_i`` with ``kernel [D, H]`` and ``bias [H]``,
        ``dense_h`` with ``kernel [H, H]``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape, or the cell has
        ``residual=True``.

    >>> from flax import nnx
    >>> params = from_simple(nnx.SimpleCell(3, 2, rngs=nnx.Rngs(0)))
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 2), (2, 2))
    """
    if getattr(cell, "residual", False):
        raise ValueError(
            "SimpleCell: residual must be False, since BasicRNN has no residual connection, got "
            "True; add the identity to the kernel of dense_h instead"
        )
    return BasicRNNParams(*_take_fused("SimpleCell", cell, gates=1, biased="dense_i"))


def to_simple(params: BasicRNNParams) -> Tree:
    """Convert parameters of `seqjax.BasicRNN` to the weights of a ``SimpleCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.BasicRNN`.

    >>> from flax import nnx
    >>> cell = nnx.SimpleCell(3, 2, rngs=nnx.Rngs(0))
    >>> nnx.update(cell, to_simple(from_simple(cell)))
    """
    params = check_basic_rnn("SimpleCell", params)
    return {
        "dense_i": {"kernel": params.input_kernel, "bias": params.bias},
        "dense_h": {"kernel": params.recurrent_kernel},
    }


def from_lstm(cell: Any) -> LSTMParams:
    """Convert the weights of an ``LSTMCell`` to parameters of `seqjax.LSTM`.

    The cell has two layers for each gate i, f, g, o.

    Args:
      cell: the cell, its state, or a mapping: ``ii``, ``if_``, ``ig``, ``io`` with ``kernel [D,
        H]``, and ``hi``, ``hf``, ``hg``, ``ho`` with ``kernel [H, H]`` and ``bias [H]``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape.

    >>> from flax import nnx
    >>> params = from_lstm(nnx.LSTMCell(3, 2, rngs=nnx.Rngs(0)))
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 8), (2, 8))
    """
    inputs, states = ("ii", "if_", "ig", "io"), ("hi", "hf", "hg", "ho")
    arrays = take_layers("LSTMCell", _weights(cell), inputs, states, states, advice=_ADVICE)
    return LSTMParams(*arrays)


def to_lstm(params: LSTMParams) -> Tree:
    """Convert parameters of `seqjax.LSTM` to the weights of an ``LSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.LSTM`, or they have peepholes, a projection
        or layer normalisation.

    >>> from flax import nnx
    >>> cell = nnx.LSTMCell(3, 2, rngs=nnx.Rngs(0))
    >>> nnx.update(cell, to_lstm(from_lstm(cell)))
    """
    layers = flax_linen.to_lstm(params)
    layers["if_"] = layers.pop("if")
    return layers


def from_optimized_lstm(cell: Any) -> LSTMParams:
    """Convert the weights of an ``OptimizedLSTMCell`` to parameters of `seqjax.LSTM`.

    The gate order i, f, g, o is the same in both.

    Args:
      cell: the cell, its state, or a mapping: ``dense_i`` with ``kernel [D, 4H]``, ``dense_h``
        with ``kernel [H, 4H]`` and ``bias [4H]``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape.

    >>> from flax import nnx
    >>> params = from_optimized_lstm(nnx.OptimizedLSTMCell(3, 2, rngs=nnx.Rngs(0)))
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 8), (2, 8))
    """
    return LSTMParams(*_take_fused("OptimizedLSTMCell", cell, gates=4, biased="dense_h"))


def to_optimized_lstm(params: LSTMParams) -> Tree:
    """Convert parameters of `seqjax.LSTM` to the weights of an ``OptimizedLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.LSTM`, or they have peepholes, a projection
        or layer normalisation.

    >>> from flax import nnx
    >>> cell = nnx.OptimizedLSTMCell(3, 2, rngs=nnx.Rngs(0))
    >>> nnx.update(cell, to_optimized_lstm(from_optimized_lstm(cell)))
    """
    params = check_lstm("OptimizedLSTMCell", params)
    refuse_options("OptimizedLSTMCell", params, "peepholes", "projection_kernel", "norm")
    return {
        "dense_i": {"kernel": params.input_kernel},
        "dense_h": {"kernel": params.recurrent_kernel, "bias": params.bias},
    }


def from_gru(cell: Any) -> GRUParams:
    """Convert the weights of a ``GRUCell`` to parameters of ``GRU(H, reset_after=True)``.

    The gate order is the same in both: Flax's r, z, n are r, u, n in `seqjax.GRU`. The Flax cell
    has no bias inside of the reset, so ``candidate_bias`` is 0.

    Args:
      cell: the cell, its state, or a mapping: ``dense_i`` with ``kernel [D, 3H]`` and ``bias
        [3H]``, ``dense_h`` with ``kernel [H, 3H]``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape.

    >>> from flax import nnx
    >>> params = from_gru(nnx.GRUCell(3, 2, rngs=nnx.Rngs(0)))
    >>> params.gate_kernel.shape, params.candidate_kernel.shape
    ((2, 4), (2, 2))
    >>> print(params.candidate_bias)
    [0. 0.]
    """
    w, u, b = _take_fused("GRUCell", cell, gates=3, biased="dense_i")
    units = u.shape[0]
    split = 2 * units
    return GRUParams(w, u[:, :split], u[:, split:], b, jnp.zeros(units, b.dtype))


def to_gru(params: GRUParams) -> Tree:
    """Convert parameters of ``GRU(H, reset_after=True)`` to the weights of a ``GRUCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.GRU` with ``reset_after=True``, or their
        ``candidate_bias`` is not 0. Its value is checked outside of `jax.jit` only.

    >>> from flax import nnx
    >>> cell = nnx.GRUCell(3, 2, rngs=nnx.Rngs(0))
    >>> nnx.update(cell, to_gru(from_gru(cell)))
    """
    params = check_gru("GRUCell", params)
    bias = params.candidate_bias
    if bias is None:
        raise ValueError(
            "Flax's GRUCell resets after the product, got parameters of a GRU that resets before "
            "it; use GRU(reset_after=True)"
        )
    if not isinstance(bias, jax.core.Tracer) and jnp.any(bias != 0):
        raise ValueError(
            "GRUCell: candidate_bias must be 0, since the cell of flax.nnx has no bias c inside of "
            "the reset, r * (h @ U + c), got another value; keep it at 0 in training, or use the "
            "GRUCell of flax.linen, which has this bias"
        )
    recurrent = jnp.concatenate([params.gate_kernel, params.candidate_kernel], axis=1)
    return {
        "dense_i": {"kernel": params.input_kernel, "bias": params.bias},
        "dense_h": {"kernel": recurrent},
    }


def _take_fused(owner: str, cell: Any, *, gates: int, biased: str) -> tuple[Array, Array, Array]:
    return take_layers(
        owner, _weights(cell), ["dense_i"], ["dense_h"], [biased], gates=gates, advice=_ADVICE
    )


def _weights(cell: Any) -> Any:
    """The state of a module; anything else is returned as it is."""
    if isinstance(cell, Mapping):
        return cell
    from flax import nnx  # takes a second to import, and is not needed for mappings

    return nnx.state(cell, nnx.Param) if isinstance(cell, nnx.Module) else cell
