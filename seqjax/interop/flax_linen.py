"""Parameter trees of the cells of `flax.linen`: layer -> ``kernel`` or ``bias`` -> array.

The tree of a cell is ``cell.init(...)["params"]``. The tree of a cell in a `flax.linen.RNN` is
``rnn.init(...)["params"]["cell"]``.
"""

from collections.abc import Mapping

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.interop.layout import (
    check_basic_rnn,
    check_gru,
    check_lstm,
    refuse_options,
    take_layers,
)
from seqjax.operations.affine import split_gates
from seqjax.types import Array

Tree = Mapping[str, Mapping[str, Array]]  # layer -> "kernel" or "bias" -> array
_ADVICE = (
    'Give the tree of the cell itself: variables["params"] of a cell, or '
    'variables["params"]["cell"] of a flax.linen.RNN.'
)


def from_simple(tree: Tree) -> BasicRNNParams:
    """Convert the parameters of a ``SimpleCell`` to parameters of `seqjax.BasicRNN`.

    Args:
      tree: ``i`` with ``kernel [D, H]`` and ``bias [H]``, ``h`` with ``kernel [H, H]``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape.

    >>> import jax.numpy as jnp
    >>> layers = {"i": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}}
    >>> params = from_simple(layers | {"h": {"kernel": jnp.zeros((2, 2))}})
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 2), (2, 2))
    """
    return BasicRNNParams(*take_layers("SimpleCell", tree, "i", "h", "i", advice=_ADVICE))


def to_simple(params: BasicRNNParams) -> dict[str, dict[str, Array]]:
    """Convert parameters of `seqjax.BasicRNN` to those of a ``SimpleCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.BasicRNN`.

    >>> from seqjax import BasicRNN
    >>> import jax
    >>> sorted(to_simple(BasicRNN(2).init(jax.random.key(0), 3)))
    ['h', 'i']
    """
    params = check_basic_rnn("SimpleCell", params)
    return {
        "i": {"kernel": params.input_kernel, "bias": params.bias},
        "h": {"kernel": params.recurrent_kernel},
    }


def from_lstm(tree: Tree) -> LSTMParams:
    """Convert the parameters of an ``LSTMCell`` or ``OptimizedLSTMCell`` to those of `seqjax.LSTM`.

    The cell has two layers for each gate i, f, g, o.

    Args:
      tree: ``ii``, ``if``, ``ig``, ``io`` with ``kernel [D, H]``, and ``hi``, ``hf``, ``hg``,
        ``ho`` with ``kernel [H, H]`` and ``bias [H]``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape.

    >>> import flax.linen, jax
    >>> import jax.numpy as jnp
    >>> cell, x = flax.linen.OptimizedLSTMCell(2), jnp.zeros(3, jnp.float32)
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> params = from_lstm(cell.init(jax.random.key(0), carry, x)["params"])
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 8), (2, 8))
    """
    inputs, states = ("ii", "if", "ig", "io"), ("hi", "hf", "hg", "ho")
    return LSTMParams(*take_layers("LSTMCell", tree, inputs, states, states, advice=_ADVICE))


def to_lstm(params: LSTMParams) -> dict[str, dict[str, Array]]:
    """Convert parameters of `seqjax.LSTM` to those of an ``LSTMCell`` or ``OptimizedLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.LSTM`, or they have peepholes, a projection
        or layer normalisation.

    >>> from seqjax import LSTM
    >>> import jax
    >>> print(*to_lstm(LSTM(2).init(jax.random.key(0), 3)))
    ii if ig io hi hf hg ho
    """
    params = check_lstm("LSTMCell", params)
    refuse_options("LSTMCell", params, "peepholes", "projection_kernel", "norm")
    w, u, b = (
        split_gates(a, 4) for a in (params.input_kernel, params.recurrent_kernel, params.bias)
    )
    return {f"i{gate}": {"kernel": w[n]} for n, gate in enumerate("ifgo")} | {
        f"h{gate}": {"kernel": u[n], "bias": b[n]} for n, gate in enumerate("ifgo")
    }


def from_gru(tree: Tree) -> GRUParams:
    """Convert the parameters of a ``GRUCell`` to parameters of ``GRU(H, reset_after=True)``.

    The gate order is the same in both: Flax's r, z, n are r, u, n in `seqjax.GRU`.

    Args:
      tree: ``ir``, ``iz``, ``in`` with ``kernel [D, H]`` and ``bias [H]``, ``hr``, ``hz`` with
        ``kernel [H, H]``, and ``hn`` with ``kernel [H, H]`` and ``bias [H]``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape.

    >>> import flax.linen, jax
    >>> import jax.numpy as jnp
    >>> cell, x = flax.linen.GRUCell(2), jnp.zeros(3, jnp.float32)
    >>> params = from_gru(cell.init(jax.random.key(0), jnp.zeros(2, jnp.float32), x)["params"])
    >>> params.input_kernel.shape, params.candidate_bias.shape
    ((3, 6), (2,))
    """
    inputs, states = ("ir", "iz", "in"), ("hr", "hz", "hn")
    w, u, b = take_layers("GRUCell", tree, inputs, states, (*inputs, "hn"), advice=_ADVICE)
    units = u.shape[0]
    split = 2 * units
    return GRUParams(w, u[:, :split], u[:, split:], b[:-units], b[-units:])


def to_gru(params: GRUParams) -> dict[str, dict[str, Array]]:
    """Convert parameters of ``GRU(H, reset_after=True)`` to those of a ``GRUCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.GRU` with ``reset_after=True``.

    >>> from seqjax import GRU
    >>> import jax
    >>> print(*to_gru(GRU(2, reset_after=True).init(jax.random.key(0), 3)))
    ir iz in hr hz hn
    """
    params = check_gru("GRUCell", params)
    if params.candidate_bias is None:
        raise ValueError(
            "Flax's GRUCell resets after the product, got parameters of a GRU that resets before "
            "it; use GRU(reset_after=True)"
        )
    w, b = split_gates(params.input_kernel, 3), split_gates(params.bias, 3)
    u = split_gates(params.gate_kernel, 2)
    return {
        **{f"i{gate}": {"kernel": w[n], "bias": b[n]} for n, gate in enumerate("rzn")},
        **{f"h{gate}": {"kernel": u[n]} for n, gate in enumerate("rz")},
        "hn": {"kernel": params.candidate_kernel, "bias": params.candidate_bias},
    }
