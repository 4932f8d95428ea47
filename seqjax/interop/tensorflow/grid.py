"""Contributed LSTMs over frequencies.

TensorFlow's gates i, j, f, o are i, g, f, o in seqjax, in the order i, f, g, o.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp

from seqjax.cells import GridLSTMParams, LSTMParams, Peepholes
from seqjax.interop.layout import (
    check_layers,
    check_lstm,
    check_params,
    check_shapes,
    check_type,
    first_axis,
    given_names,
    permute_gates,
    refuse_options,
    writer,
)
from seqjax.interop.tensorflow.core import IJFO
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    join_scope,
    shift_gate,
    split_rows,
    split_scope,
    take_variables,
)
from seqjax.types import Array
from seqjax.wrappers import BidirectionalGridLSTMParams

_TIME_FREQ_PEEPHOLES = ("W_I_diag", "W_F_diag", "W_O_diag")


def from_time_freq_lstm(variables: Variables, *, forget_bias: float = 1.0) -> LSTMParams:
    """Convert the variables of a ``TimeFreqLSTMCell`` to parameters of `seqjax.TimeFreqLSTM`.

    Args:
      variables: ``W_0 [window + 2H, 4H]``, with the rows for the window, the state and the output
        at the previous window in this order, and ``B [4H]``, gates in the order i, j, f, o; with
        peepholes also ``W_I_diag``, ``W_F_diag`` and ``W_O_diag [H]``. If a kernel
        is split into shards ``W_0``, ``W_1`` and so on, concatenate them first.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_time_freq_lstm({"W_0": jnp.zeros((7, 8)), "B": jnp.zeros(8)})
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((5, 8), (2, 8))
    """
    owner, peepholes = "TimeFreqLSTMCell", dict.fromkeys(_TIME_FREQ_PEEPHOLES, 1)
    arrays = take_variables(owner, variables, {"W_0": 2, "B": 1}, peepholes)
    rows, columns = arrays["W_0"].shape
    units = columns // 4
    shapes = {"W_0": (rows, 4 * units), "B": (4 * units,), **dict.fromkeys(peepholes, (units,))}
    check_arrays(owner, arrays, shapes)
    window, rest = split_rows(owner, permute_gates(arrays["W_0"], IJFO), 2 * units)
    return LSTMParams(
        jnp.concatenate([window, rest[units:]]),
        rest[:units],
        shift_gate(permute_gates(arrays["B"], IJFO), 4, 1, forget_bias),
        Peepholes(*map(arrays.get, peepholes)),
    )


@writer("TimeFreqLSTMCell", LSTMParams, back=from_time_freq_lstm)
def to_time_freq_lstm(params: LSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.TimeFreqLSTM` to the variables of a ``TimeFreqLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.TimeFreqLSTM`, or they have a projection or
        layer normalisation.

    >>> params = LSTMParams(jnp.zeros((5, 8)), jnp.zeros((2, 8)), jnp.zeros(8))
    >>> to_time_freq_lstm(params)["W_0"].shape
    (7, 8)
    """
    owner = "TimeFreqLSTMCell"
    params = check_lstm(owner, params)
    refuse_options(owner, params, "projection_kernel", "norm")
    window, below = split_rows(owner, params.input_kernel, params.recurrent_kernel.shape[0])
    kernel = jnp.concatenate([window, params.recurrent_kernel, below])
    bias = shift_gate(params.bias, 4, 1, -forget_bias)
    variables = {
        "W_0": permute_gates(kernel, IJFO),
        "B": permute_gates(bias, IJFO),
        **dict(zip(_TIME_FREQ_PEEPHOLES, params.peepholes, strict=True)),
    }
    return {name: array for name, array in variables.items() if array is not None}


def from_grid_lstm(
    variables: Variables, *, coupled: bool = False, forget_bias: float = 1.0
) -> tuple[GridLSTMParams, ...]:
    """Convert the variables of a ``GridLSTMCell`` to parameters of `seqjax.GridLSTM`.

    Args:
      variables: for each block, here 0, ``W_f_0_0 [window + 2H, 4H]`` and ``B_f_0 [4H]`` of the
        frequency LSTM, and ``W_t_0_0`` and ``B_t_0`` of the time LSTM unless they share weights.
        The gates are in the order i, j, f, o, or i, j, o if ``coupled``. With peepholes also
        ``W_I_diag_freqf_0 [H]`` and so on, for each gate (I, F, O), LSTM (freq, time) and memory
        (f, t). If a kernel is split into shards ``W_f_0_0``, ``W_f_0_1`` and so on,
        concatenate them first.
      coupled: the option ``couple_input_forget_gates`` of the cell.
      forget_bias: the constant that the cell adds to the forget gates at run time; not used if
        ``coupled``.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> kernels = {"W_f_0_0": jnp.zeros((7, 8)), "W_t_0_0": jnp.zeros((7, 8))}
    >>> (block,) = from_grid_lstm(kernels | {"B_f_0": jnp.zeros(8), "B_t_0": jnp.zeros(8)})
    >>> block.input_kernel.shape, block.recurrent_kernel.shape
    ((3, 16), (4, 16))
    """
    given = given_names(variables)
    blocks = range(max(1, sum(name.startswith("B_f_") for name in given)))
    lstms = ("time", "freq") if any(name.startswith("B_t_") for name in given) else ("freq",)
    peepholes = ("IO" if coupled else "IFO") if any("_diag_" in name for name in given) else ""
    names: dict[str, int] = {}
    for block in blocks:
        names |= dict.fromkeys(_kernels(lstms, block), 2) | dict.fromkeys(_biases(lstms, block), 1)
        names |= dict.fromkeys(_peepholes(peepholes, lstms, block), 1)
    arrays = take_variables("GridLSTMCell", variables, names)
    return tuple(
        _read_block(arrays, block, lstms, peepholes, 3 if coupled else 4, forget_bias)
        for block in blocks
    )


def to_grid_lstm(params: Sequence[GridLSTMParams], *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.GridLSTM` to the variables of a ``GridLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.GridLSTM`.

    >>> import jax
    >>> from seqjax import GridLSTM
    >>> cell = GridLSTM(units=2, frequencies=8, window=3, stride=2)
    >>> print(*to_grid_lstm(cell.init(jax.random.key(0), 8)))
    W_t_0_0 W_f_0_0 B_t_0 B_f_0
    """
    check_layers("GridLSTMCell", params)
    variables: dict[str, Array] = {}
    for block, of_block in enumerate(params):
        arrays = check_type("GridLSTMCell", of_block, GridLSTMParams)
        variables |= _write_block(arrays, block, forget_bias)
    return variables


def from_bidirectional_grid_lstm(
    variables: Variables, *, coupled: bool = False, forget_bias: float = 1.0
) -> BidirectionalGridLSTMParams:
    """Convert the variables of a ``BidirectionalGridLSTMCell`` to parameters.

    The parameters are those of a `seqjax.BidirectionalGridLSTM`.

    Args:
      variables: those of `from_grid_lstm`, in the scopes ``fwd`` and ``bwd``.
      coupled: as in `from_grid_lstm`.
      forget_bias: as in `from_grid_lstm`.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> one = {"W_f_0_0": jnp.zeros((7, 8)), "B_f_0": jnp.zeros(8)}
    >>> params = from_bidirectional_grid_lstm(join_scope("fwd", one) | join_scope("bwd", one))
    >>> params.backward[0].input_kernel.shape
    (3, 8)
    """
    forward, rest = split_scope(variables, "fwd")
    backward, rest = split_scope(rest, "bwd")
    take_variables("BidirectionalGridLSTMCell outside of fwd and bwd", rest, {})
    ways = (forward, backward)
    return BidirectionalGridLSTMParams(
        *(from_grid_lstm(way, coupled=coupled, forget_bias=forget_bias) for way in ways)
    )


def to_bidirectional_grid_lstm(
    params: BidirectionalGridLSTMParams, *, forget_bias: float = 1.0
) -> dict[str, Array]:
    """Convert parameters to the variables of a ``BidirectionalGridLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.BidirectionalGridLSTM`.

    >>> block = GridLSTMParams(jnp.zeros((3, 8)), jnp.zeros((4, 8)), jnp.zeros(8))
    >>> print(*to_bidirectional_grid_lstm(BidirectionalGridLSTMParams((block,), (block,))))
    fwd/W_f_0_0 fwd/B_f_0 bwd/W_f_0_0 bwd/B_f_0
    """
    params = check_type("BidirectionalGridLSTMCell", params, BidirectionalGridLSTMParams)
    forward, backward = (to_grid_lstm(way, forget_bias=forget_bias) for way in params)
    return join_scope("fwd", forward) | join_scope("bwd", backward)


def _kernels(lstms: Sequence[str], block: int) -> list[str]:
    return [f"W_{lstm[0]}_{block}_0" for lstm in lstms]


def _biases(lstms: Sequence[str], block: int) -> list[str]:
    return [f"B_{lstm[0]}_{block}" for lstm in lstms]


def _peepholes(gates: str, lstms: Sequence[str], block: int) -> list[str]:
    return [
        f"W_{gate}_diag_{lstm}{memory}_{block}"
        for gate in gates
        for lstm in lstms
        for memory in "tf"
    ]


def _read_block(
    arrays: Mapping[str, Array],
    block: int,
    lstms: Sequence[str],
    peepholes: str,
    gates: int,
    forget_bias: float,
) -> GridLSTMParams:
    owner, order = "GridLSTMCell", IJFO if gates == 4 else (0, 1, 2)
    kernels, biases = _kernels(lstms, block), _biases(lstms, block)
    holes = _peepholes(peepholes, lstms, block)
    rows, columns = arrays[kernels[0]].shape
    units = columns // gates
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kernels, (rows, gates * units))
    shapes |= dict.fromkeys(biases, (gates * units,)) | dict.fromkeys(holes, (units,))
    check_arrays(owner, arrays, shapes)

    def join(names: Sequence[str]) -> Array:  # side by side within each gate
        parts = [permute_gates(arrays[name], order) for name in names]
        parts = [a.reshape(*a.shape[:-1], gates, units) for a in parts]
        return jnp.stack(parts, axis=-2).reshape(*parts[0].shape[:-2], -1)

    bias = join(biases)
    return GridLSTMParams(
        *split_rows(owner, join(kernels), 2 * units),
        bias if gates == 3 else shift_gate(bias, 4, 1, forget_bias),
        jnp.stack([arrays[name] for name in holes]).reshape(-1, len(lstms), 2, units)
        if holes
        else None,
    )


def _write_block(params: GridLSTMParams, block: int, forget_bias: float) -> dict[str, Array]:
    owner = "GridLSTMCell"
    units = first_axis(owner, "recurrent_kernel", params.recurrent_kernel) // 2
    columns = first_axis(owner, "bias", params.bias) // max(units, 1)
    gates, lstms = (4 if columns % 4 == 0 else 3), ("time", "freq") if columns > 4 else ("freq",)
    width = gates * len(lstms) * units
    check_params(owner, params, recurrent_kernel=(2 * units, width), bias=(width,))
    if params.peepholes is not None:
        shape = (gates - 1, len(lstms), 2, units)
        check_shapes(owner, {"peepholes": (params.peepholes, shape)})
    order = IJFO if gates == 4 else (0, 1, 2)

    def split(a: Array) -> list[Array]:
        parts = a.reshape(*a.shape[:-1], gates, len(lstms), units)
        return [
            permute_gates(parts[..., n, :].reshape(*a.shape[:-1], -1), order)
            for n in range(len(lstms))
        ]

    kernel = jnp.concatenate([params.input_kernel, params.recurrent_kernel])
    bias = params.bias if gates == 3 else shift_gate(params.bias, 4, 1, -forget_bias)
    variables = dict(zip(_kernels(lstms, block), split(kernel), strict=True))
    variables |= zip(_biases(lstms, block), split(bias), strict=True)
    if params.peepholes is not None:
        holes = _peepholes("IFO" if gates == 4 else "IO", lstms, block)
        variables |= zip(holes, params.peepholes.reshape(-1, units), strict=True)
    return variables
