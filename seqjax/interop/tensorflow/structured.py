"""Contributed LSTMs with grouped kernels, with convolutions and with time gates.

TensorFlow's gates i, j, f, o are i, g, f, o in seqjax, in the order i, f, g, o.
"""

import jax.numpy as jnp

from seqjax.arrays import given_array
from seqjax.cells import ConvLSTMParams, LSTMParams, Peepholes, PhasedLSTMParams
from seqjax.interop.layout import check_params, given_names, permute_gates, refuse_options, writer
from seqjax.interop.tensorflow.core import DENSE, IJFO, PROJECTION
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    shift_gate,
    split_rows,
    take_variables,
)
from seqjax.operations.affine import split_gates
from seqjax.types import Array


def from_glstm(variables: Variables, *, forget_bias: float = 1.0) -> LSTMParams:
    """Convert the variables of a ``GLSTMCell`` of G groups to parameters of `seqjax.GLSTM`.

    Args:
      variables: for each group ``group0/kernel [(D + R) / G, 4H / G]``, gates in the order i, j,
        f, o; ``bias_i``, ``bias_j``, ``bias_f`` and ``bias_o [H]``. Optional:
        ``projection/kernel [H, R]``.
      forget_bias: the constant that the cell adds to the forget gate at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> kernels = {f"group{n}/kernel": jnp.zeros((5, 8)) for n in (0, 1)}
    >>> params = from_glstm(kernels | {f"bias_{gate}": jnp.zeros(4) for gate in "ijfo"})
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 16), (2, 16))
    """
    owner = "GLSTMCell"
    groups = max(1, sum(name.startswith("group") for name in given_names(variables)))
    kernels = [f"group{n}/kernel" for n in range(groups)]
    biases = [f"bias_{gate}" for gate in "ifjo"]
    names = dict.fromkeys(kernels, 2) | dict.fromkeys(biases, 1)
    arrays = take_variables(owner, variables, names, PROJECTION)
    rows, columns = arrays[kernels[0]].shape
    units, projection = columns // 4 * groups, arrays.get("projection/kernel")
    width = units if projection is None else projection.shape[1]
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kernels, (rows, 4 * units // groups))
    shapes |= dict.fromkeys(biases, (units,)) | {"projection/kernel": (units, width)}
    check_arrays(owner, arrays, shapes)
    blocks = [permute_gates(arrays[name], IJFO).reshape(rows, 4, -1) for name in kernels]
    kernel = jnp.stack(blocks, axis=-2).reshape(rows, -1)  # gates outside of groups
    bias = jnp.concatenate([arrays[name] for name in biases])
    return LSTMParams(
        *split_rows(owner, kernel, width // groups),
        shift_gate(bias, 4, 1, forget_bias),
        projection_kernel=projection,
    )


@writer("GLSTMCell", LSTMParams, back=from_glstm)
def to_glstm(params: LSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.GLSTM` to the variables of a ``GLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.GLSTM`, or they have peepholes or layer
        normalisation.

    >>> params = LSTMParams(jnp.zeros((3, 16)), jnp.zeros((2, 16)), jnp.zeros(16))
    >>> print(*to_glstm(params))
    group0/kernel group1/kernel bias_i bias_f bias_j bias_o
    """
    refuse_options("GLSTMCell", params, "peepholes", "norm")
    rows, columns = params.recurrent_kernel.shape
    width = columns // 4
    if params.projection_kernel is not None:
        width = params.projection_kernel.shape[1]
    groups = width // rows
    check_params("GLSTMCell", params, recurrent_kernel=(width // groups, columns), bias=(columns,))
    kernel = jnp.concatenate([params.input_kernel, params.recurrent_kernel])
    blocks = kernel.reshape(kernel.shape[0], 4, groups, -1)
    bias = split_gates(shift_gate(params.bias, 4, 1, -forget_bias), 4)
    variables = {
        f"group{n}/kernel": permute_gates(blocks[:, :, n].reshape(kernel.shape[0], -1), IJFO)
        for n in range(groups)
    } | {f"bias_{gate}": bias[n] for n, gate in enumerate("ifjo")}
    if params.projection_kernel is not None:
        variables["projection/kernel"] = params.projection_kernel
    return variables


def from_conv_lstm(variables: Variables, *, forget_bias: float = 1.0) -> ConvLSTMParams:
    """Convert the variables of a convolutional LSTM to parameters of `seqjax.ConvLSTM`.

    The cell is a ``Conv1DLSTMCell``, ``Conv2DLSTMCell`` or ``Conv3DLSTMCell``.

    Args:
      variables: ``kernel [*window, C + F, 4F]``, with the channels of the input before those of the
        state, gates in the order i, j, f, o; ``biases [4F]`` unless ``use_bias=False``.
      forget_bias: the constant that the cell adds to the forget gate at run time. With
        ``use_bias=False``, `seqjax.ConvLSTM` adds its own ``forget_bias`` instead.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_conv_lstm({"kernel": jnp.zeros((3, 3, 5, 12)), "biases": jnp.zeros(12)})
    >>> params.input_kernel.shape, params.recurrent_kernel.shape
    ((3, 3, 2, 12), (3, 3, 3, 12))
    """
    owner = "ConvLSTMCell"
    axes = 4
    if "kernel" in given_names(variables):
        axes = min(max(given_array(f"{owner}: kernel", variables["kernel"]).ndim, 3), 5)
    arrays = take_variables(owner, variables, {"kernel": axes}, {"biases": 1})
    kernel = arrays["kernel"]
    filters = kernel.shape[-1] // 4
    shapes = {"kernel": (*kernel.shape[:-1], 4 * filters), "biases": (4 * filters,)}
    check_arrays(owner, arrays, shapes)
    channels = kernel.shape[-2] - filters
    if channels < 1:
        raise ValueError(
            f"{owner}: a kernel for {filters} filters must have more than {filters} channels (for "
            f"the input, then for the state), got {kernel.shape}"
        )
    kernel, bias = permute_gates(kernel, IJFO), arrays.get("biases")
    if bias is not None:
        bias = shift_gate(permute_gates(bias, IJFO), 4, 1, forget_bias)
    return ConvLSTMParams(kernel[..., :channels, :], kernel[..., channels:, :], bias)


@writer("ConvLSTMCell", ConvLSTMParams, back=from_conv_lstm)
def to_conv_lstm(params: ConvLSTMParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.ConvLSTM` to the variables of a convolutional LSTM.

    The cell is a ``Conv1DLSTMCell``, ``Conv2DLSTMCell`` or ``Conv3DLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.ConvLSTM`.

    >>> params = ConvLSTMParams(jnp.zeros((3, 3, 2, 12)), jnp.zeros((3, 3, 3, 12)), None)
    >>> to_conv_lstm(params)["kernel"].shape
    (3, 3, 5, 12)
    """
    kernel = jnp.concatenate([params.input_kernel, params.recurrent_kernel], axis=-2)
    variables = {"kernel": permute_gates(kernel, IJFO)}
    if params.bias is not None:
        bias = shift_gate(params.bias, 4, 1, -forget_bias)
        variables["biases"] = permute_gates(bias, IJFO)
    return variables


def from_phased_lstm(variables: Variables) -> PhasedLSTMParams:
    """Convert the variables of a ``PhasedLSTMCell`` to parameters of `seqjax.PhasedLSTM`.

    Args:
      variables: ``mask_gates/kernel [D + H, 2H]`` for i and f, ``new_input/kernel [D + H, H]`` and
        ``output_gate/kernel [D + H, H]``, each with its ``bias``; ``period``, ``phase`` and
        ``ratio_on [H]``. With peepholes, ``mask_gates/kernel`` and ``output_gate/kernel`` have H
        more rows.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> columns = {"mask_gates": 4, "new_input": 2, "output_gate": 2}
    >>> variables = {f"{name}/kernel": jnp.zeros((5, n)) for name, n in columns.items()}
    >>> variables |= {f"{name}/bias": jnp.zeros(n) for name, n in columns.items()}
    >>> variables |= {name: jnp.ones(2) for name in ("period", "phase", "ratio_on")}
    >>> from_phased_lstm(variables).lstm.input_kernel.shape
    (3, 8)
    """
    owner = "PhasedLSTMCell"
    layers = "mask_gates", "new_input", "output_gate"  # i and f, g, o
    names = {f"{layer}/{name}": axes for layer in layers for name, axes in DENSE.items()}
    arrays = take_variables(owner, variables, names | {"period": 1, "phase": 1, "ratio_on": 1})
    rows, units = arrays["new_input/kernel"].shape
    has_peepholes = arrays["mask_gates/kernel"].shape[0] == rows + units
    more = rows + units if has_peepholes else rows
    shapes = {
        "mask_gates/kernel": (more, 2 * units),
        "mask_gates/bias": (2 * units,),
        "new_input/bias": (units,),
        "output_gate/kernel": (more, units),
        **dict.fromkeys(("output_gate/bias", "period", "phase", "ratio_on"), (units,)),
    }
    check_arrays(owner, arrays, shapes)
    kernels = [arrays[f"{layer}/kernel"] for layer in layers]
    kernel = jnp.concatenate([k[:rows] for k in kernels], axis=1)
    lstm = LSTMParams(
        *split_rows(owner, kernel, units),
        jnp.concatenate([arrays[f"{layer}/bias"] for layer in layers]),
    )
    if has_peepholes:
        holes = (*split_gates(kernels[0][rows:], 2), kernels[2][rows:])
        lstm = lstm._replace(peepholes=Peepholes(*holes))
    return PhasedLSTMParams(lstm, arrays["period"], arrays["phase"], arrays["ratio_on"])


@writer("PhasedLSTMCell", PhasedLSTMParams, back=from_phased_lstm)
def to_phased_lstm(params: PhasedLSTMParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.PhasedLSTM` to the variables of a ``PhasedLSTMCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.PhasedLSTM`.

    >>> import jax
    >>> from seqjax import PhasedLSTM
    >>> variables = to_phased_lstm(PhasedLSTM(2, peepholes=True).init(jax.random.key(0), 3))
    >>> variables["mask_gates/kernel"].shape
    (7, 4)
    """
    lstm = params.lstm
    kernel = jnp.concatenate([lstm.input_kernel, lstm.recurrent_kernel])
    i, f, g, o = split_gates(kernel, 4)
    mask = jnp.concatenate([i, f], axis=1)
    holes = [hole for hole in lstm.peepholes if hole is not None]
    if holes:
        mask = jnp.concatenate([mask, jnp.concatenate(holes[:2], axis=1)])
        o = jnp.concatenate([o, holes[2]])
    b_i, b_f, b_g, b_o = split_gates(lstm.bias, 4)
    return {
        "mask_gates/kernel": mask,
        "mask_gates/bias": jnp.concatenate([b_i, b_f]),
        "new_input/kernel": g,
        "new_input/bias": b_g,
        "output_gate/kernel": o,
        "output_gate/bias": b_o,
        "period": params.period,
        "phase": params.phase,
        "ratio_on": params.ratio_on,
    }
