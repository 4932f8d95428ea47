"""Parameter trees of the cells of `flax.linen`."""

from collections.abc import Mapping

import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.interop.layout import (
    check_basic_rnn,
    check_gru,
    check_lstm,
    refuse_options,
)
from seqjax.operations.affine import split_gates
from seqjax.types import Array

Tree = Mapping[str, Mapping[str, Array]]  # layer -> "kernel" or "bias" -> array


def from_simple(tree: Tree) -> BasicRNNParams:
    """Take the parameters of a ``SimpleCell``: ``i``, ``h``."""
    return BasicRNNParams(tree["i"]["kernel"], tree["h"]["kernel"], tree["i"]["bias"])


def to_simple(params: BasicRNNParams) -> dict[str, dict[str, Array]]:
    """Give the parameters of a ``SimpleCell``."""
    check_basic_rnn("SimpleCell", params)
    return {
        "i": {"kernel": params.input_kernel, "bias": params.bias},
        "h": {"kernel": params.recurrent_kernel},
    }


def from_lstm(tree: Tree) -> LSTMParams:
    """Take the parameters of an ``LSTMCell`` or ``OptimizedLSTMCell``: ``ii``, ``hi``, ``if``, ...

    >>> import flax.linen, jax
    >>> cell, x = flax.linen.OptimizedLSTMCell(2), jnp.zeros(3, jnp.float32)
    >>> carry = cell.initialize_carry(jax.random.key(0), x.shape)
    >>> params = from_lstm(cell.init(jax.random.key(0), carry, x)["params"])
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 8), (2, 8))
    """
    return LSTMParams(
        _join(tree, "i", "ifgo", "kernel"),
        _join(tree, "h", "ifgo", "kernel"),
        _join(tree, "h", "ifgo", "bias"),
    )


def to_lstm(params: LSTMParams) -> dict[str, dict[str, Array]]:
    """Give the parameters of an ``LSTMCell`` or ``OptimizedLSTMCell``.

    Raises:
      ValueError: the parameters hold peepholes, a projection or layer norm.
    """
    check_lstm("LSTMCell", params)
    refuse_options("LSTMCell", params, "peepholes", "projection_kernel", "norm")
    w, u, b = (
        split_gates(a, 4) for a in (params.input_kernel, params.recurrent_kernel, params.bias)
    )
    return {f"i{gate}": {"kernel": w[n]} for n, gate in enumerate("ifgo")} | {
        f"h{gate}": {"kernel": u[n], "bias": b[n]} for n, gate in enumerate("ifgo")
    }


def from_gru(tree: Tree) -> GRUParams:
    """Take the parameters of a ``GRUCell``, for a `seqjax.GRU` with ``reset_after=True``.

    Flax's gate order is r, z, n; its z is our u.
    """
    return GRUParams(
        _join(tree, "i", "rzn", "kernel"),
        _join(tree, "h", "rz", "kernel"),
        tree["hn"]["kernel"],
        _join(tree, "i", "rzn", "bias"),
        tree["hn"]["bias"],
    )


def to_gru(params: GRUParams) -> dict[str, dict[str, Array]]:
    """Give the parameters of a ``GRUCell``.

    Raises:
      ValueError: the parameters are not of a GRU with ``reset_after``.
    """
    check_gru("GRUCell", params)
    if params.candidate_bias is None:
        raise ValueError("Flax's GRUCell resets after the product: use GRU(reset_after=True)")
    w, b = split_gates(params.input_kernel, 3), split_gates(params.bias, 3)
    u = split_gates(params.gate_kernel, 2)
    return {
        **{f"i{gate}": {"kernel": w[n], "bias": b[n]} for n, gate in enumerate("rzn")},
        **{f"h{gate}": {"kernel": u[n]} for n, gate in enumerate("rz")},
        "hn": {"kernel": params.candidate_kernel, "bias": params.candidate_bias},
    }


def _join(tree: Tree, side: str, gates: str, name: str) -> Array:
    return jnp.concatenate([tree[side + gate][name] for gate in gates], axis=-1)
