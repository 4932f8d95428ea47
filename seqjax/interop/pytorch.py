"""Weights of PyTorch's ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``, by the names of a ``state_dict``.

Parameters are a tuple with one entry for each layer, for a `seqjax.Stack`. With
``bidirectional=True`` an entry is a `seqjax.wrappers.Directions`, for a `seqjax.Bidirectional`.
Two biases that PyTorch only adds become one bias. The conversion back sets the second one to 0.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.interop.layout import (
    check_basic_rnn,
    check_gru,
    check_layers,
    check_lstm,
    check_shapes,
    given_names,
    refuse_options,
    take,
)
from seqjax.types import Array, Params
from seqjax.wrappers.bidirectional import Directions

_NAME = re.compile(r"(weight_(ih|hh|hr)|bias_(ih|hh))_l\d+(_reverse)?")
_ADVICE = (
    "Give the state_dict of the module itself, whose names are weight_ih_l0, weight_hh_l0, "
    "and so on for each layer."
)


class _Weights(NamedTuple):
    """The weights of one layer and direction."""

    weight_ih: Array  # [G * H, D]
    weight_hh: Array  # [G * H, R]
    bias_ih: Array  # [G * H]
    bias_hh: Array  # [G * H]
    weight_hr: Array | None = None  # [R, H], only with proj_size; else R is H


def from_rnn(state_dict: Mapping[str, Array]) -> tuple[Params, ...]:
    """Convert the ``state_dict`` of an ``nn.RNN`` to parameters of `seqjax.BasicRNN` layers.

    Raises:
      ValueError: a weight is missing or unknown, or has an unexpected shape.

    >>> weights = {"weight_ih_l0": jnp.zeros((2, 3)), "weight_hh_l0": jnp.zeros((2, 2))}
    >>> (params,) = from_rnn(weights)
    >>> params.input_kernel.shape
    (3, 2)
    """
    return _read_layers("nn.RNN", 1, state_dict, lambda w: BasicRNNParams(*_fold(w)))


def to_rnn(layers: Sequence[Params]) -> dict[str, Array]:
    """Convert parameters to the ``state_dict`` of an ``nn.RNN``.

    Args:
      layers: the parameters of each layer, the lowest first.

    Raises:
      ValueError: a layer does not hold the parameters of a `seqjax.BasicRNN`.

    >>> params = BasicRNNParams(jnp.zeros((3, 2)), jnp.zeros((2, 2)), jnp.zeros(2))
    >>> print(*to_rnn([params]))
    weight_ih_l0 weight_hh_l0 bias_ih_l0 bias_hh_l0
    """

    def convert(params: BasicRNNParams) -> _Weights:
        params = check_basic_rnn("nn.RNN", params)
        return _unfold(*params)

    return _write_layers("nn.RNN", layers, convert)


def from_lstm(state_dict: Mapping[str, Array]) -> tuple[Params, ...]:
    """Convert the ``state_dict`` of an ``nn.LSTM`` to parameters of `seqjax.LSTM` layers.

    The gate order i, f, g, o is the same in both. An ``nn.LSTM`` with ``proj_size=R`` becomes
    ``LSTM(H, projection_size=R)``.

    Raises:
      ValueError: a weight is missing or unknown, or has an unexpected shape.

    >>> weights = {"weight_ih_l0": jnp.zeros((8, 3)), "weight_hh_l0": jnp.zeros((8, 2))}
    >>> (params,) = from_lstm(weights)
    >>> params.input_kernel.shape, params.recurrent_kernel.shape, params.bias.shape
    ((3, 8), (2, 8), (8,))
    """

    def convert(weights: _Weights) -> LSTMParams:
        projection = None if weights.weight_hr is None else weights.weight_hr.T
        return LSTMParams(*_fold(weights), projection_kernel=projection)

    return _read_layers("nn.LSTM", 4, state_dict, convert)


def to_lstm(layers: Sequence[Params]) -> dict[str, Array]:
    """Convert parameters to the ``state_dict`` of an ``nn.LSTM``.

    Args:
      layers: the parameters of each layer, the lowest first.

    Raises:
      ValueError: a layer does not hold the parameters of a `seqjax.LSTM`, or it has peepholes or
        layer normalisation.

    >>> params = LSTMParams(jnp.zeros((3, 8)), jnp.zeros((2, 8)), jnp.zeros(8))
    >>> to_lstm([params])["weight_ih_l0"].shape
    (8, 3)
    """

    def convert(params: LSTMParams) -> _Weights:
        params = check_lstm("nn.LSTM", params)
        refuse_options("nn.LSTM", params, "peepholes", "norm")
        projection = params.projection_kernel
        weights = _unfold(params.input_kernel, params.recurrent_kernel, params.bias)
        return weights._replace(weight_hr=None if projection is None else projection.T)

    return _write_layers("nn.LSTM", layers, convert)


def from_gru(state_dict: Mapping[str, Array]) -> tuple[Params, ...]:
    """Convert the ``state_dict`` of an ``nn.GRU`` to parameters of `seqjax.GRU` layers.

    The layers are ``GRU(H, reset_after=True)``. The gate order is the same in both: PyTorch's r, z,
    n are r, u, n in seqjax.

    Raises:
      ValueError: a weight is missing or unknown, or has an unexpected shape.

    >>> weights = {"weight_ih_l0": jnp.zeros((6, 3)), "weight_hh_l0": jnp.zeros((6, 2))}
    >>> (params,) = from_gru(weights)
    >>> params.gate_kernel.shape, params.candidate_bias.shape
    ((2, 4), (2,))
    """

    def convert(weights: _Weights) -> GRUParams:
        u = weights.weight_hh.T
        split = 2 * u.shape[0]
        return GRUParams(
            weights.weight_ih.T,
            u[:, :split],
            u[:, split:],
            weights.bias_ih.at[:split].add(weights.bias_hh[:split]),
            weights.bias_hh[split:],
        )

    return _read_layers("nn.GRU", 3, state_dict, convert)


def to_gru(layers: Sequence[Params]) -> dict[str, Array]:
    """Convert parameters to the ``state_dict`` of an ``nn.GRU``.

    Args:
      layers: the parameters of each layer, the lowest first.

    Raises:
      ValueError: a layer does not hold the parameters of a `seqjax.GRU` with ``reset_after=True``.

    >>> shapes = (3, 6), (2, 4), (2, 2), (6,), (2,)
    >>> params = GRUParams(*(jnp.zeros(shape) for shape in shapes))
    >>> to_gru([params])["weight_hh_l0"].shape
    (6, 2)
    """

    def convert(params: GRUParams) -> _Weights:
        params = check_gru("nn.GRU", params)
        if params.candidate_bias is None:
            raise ValueError(
                "PyTorch's GRU resets after the product, got parameters of a GRU that resets "
                "before it; use GRU(reset_after=True)"
            )
        u = jnp.concatenate([params.gate_kernel, params.candidate_kernel], axis=1)
        weights = _unfold(params.input_kernel, u, params.bias)
        split = params.gate_kernel.shape[1]
        return weights._replace(bias_hh=weights.bias_hh.at[split:].set(params.candidate_bias))

    return _write_layers("nn.GRU", layers, convert)


def _fold(weights: _Weights) -> tuple[Array, Array, Array]:
    return weights.weight_ih.T, weights.weight_hh.T, weights.bias_ih + weights.bias_hh


def _unfold(input_kernel: Array, recurrent_kernel: Array, bias: Array) -> _Weights:
    return _Weights(input_kernel.T, recurrent_kernel.T, bias, jnp.zeros_like(bias))


def _read_layers(
    owner: str, gates: int, state_dict: Mapping[str, Array], convert: Callable[[_Weights], Params]
) -> tuple[Params, ...]:
    names = [name for name in given_names(state_dict) if _NAME.fullmatch(name)]
    names = names if "weight_ih_l0" in names else ["weight_ih_l0", "weight_hh_l0", *names]
    axes = {name: 2 if name.startswith("weight") else 1 for name in names}
    left = take(owner, state_dict, axes, advice=_ADVICE)
    given = dict(left)

    def read(suffix: str) -> Params:
        rows, inputs = left[f"weight_ih{suffix}"].shape
        units = rows // gates
        missing = jnp.zeros(rows, left[f"weight_ih{suffix}"].dtype)  # bias=False
        given = {n: left.pop(n + suffix, missing) for n in _Weights._fields[:4]}
        weights = _Weights(**given, weight_hr=left.pop(f"weight_hr{suffix}", None))
        rows = gates * units
        width = units if weights.weight_hr is None else weights.weight_hr.shape[0]
        shapes = (rows, inputs), (rows, width), (rows,), (rows,), (width, units)
        named = zip(_Weights._fields, weights, shapes, strict=True)
        check_shapes(
            owner, {name + suffix: (a, shape) for name, a, shape in named if a is not None}
        )
        return convert(weights)

    layers: list[Params] = []
    while f"weight_ih_l{len(layers)}" in left:
        suffix = f"_l{len(layers)}"
        bidirectional = f"weight_ih{suffix}_reverse" in left
        params = read(suffix)
        layers.append(Directions(params, read(f"{suffix}_reverse")) if bidirectional else params)
    if left:
        raise ValueError(f"{owner}: these names belong to no layer: {', '.join(left)}. {_ADVICE}")
    _check_widths(owner, given)
    return tuple(layers)


def _write_layers(
    owner: str, layers: Sequence[Params], convert: Callable[[Any], _Weights]
) -> dict[str, Array]:
    check_layers(owner, layers)
    state_dict: dict[str, Array] = {}
    for n, layer in enumerate(layers):
        directions = layer if isinstance(layer, Directions) else (layer,)
        for params, suffix in zip(directions, ("", "_reverse"), strict=False):
            weights = convert(params)._asdict().items()
            state_dict |= {f"{name}_l{n}{suffix}": a for name, a in weights if a is not None}
    _check_widths(owner, state_dict)
    return state_dict


def _check_widths(owner: str, state_dict: Mapping[str, Array]) -> None:
    """Raise ``ValueError`` unless each layer reads the outputs of the layer below."""
    for n in itertools.count(1):
        if f"weight_ih_l{n}" not in state_dict:
            return
        below = [state_dict.get(f"weight_hh_l{n - 1}{way}") for way in ("", "_reverse")]
        outputs = sum(a.shape[1] for a in below if a is not None)
        for way in ("", "_reverse"):
            weights = state_dict.get(f"weight_ih_l{n}{way}")
            if weights is not None and weights.shape[1] != outputs:
                raise ValueError(
                    f"{owner}: layer {n} must read the {outputs} outputs of the layer below, got "
                    f"weight_ih_l{n}{way} for {weights.shape[1]} inputs"
                )
