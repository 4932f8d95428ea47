"""Contributed cells with other gates."""

import jax.numpy as jnp

from seqjax.cells import (
    CFNParams,
    IntersectionRNNParams,
    MinimalRNNParams,
    NASParams,
    SRUParams,
    UGRNNParams,
)
from seqjax.interop.layout import permute_gates, writer
from seqjax.interop.tensorflow.core import DENSE
from seqjax.interop.tensorflow.variables import (
    Variables,
    check_arrays,
    shift_gate,
    split_dense,
    split_rows,
    take_variables,
)
from seqjax.types import Array


def from_ugrnn(variables: Variables, *, forget_bias: float = 1.0) -> UGRNNParams:
    """Convert the variables of a ``UGRNNCell`` to parameters of `seqjax.UGRNN`.

    TensorFlow's g and c are u and n in seqjax.

    Args:
      variables: ``kernel [D + H, 2H]`` and ``bias [2H]``, gates in the order g, c.
      forget_bias: the constant that the cell adds to g at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> print(from_ugrnn({"kernel": jnp.zeros((5, 4)), "bias": jnp.zeros(4)}).bias)
    [1. 1. 0. 0.]
    """
    arrays = take_variables("UGRNNCell", variables, DENSE)
    w, u, b = split_dense("UGRNNCell", arrays, gates=2)
    return UGRNNParams(w, u, shift_gate(b, 2, 0, forget_bias))


@writer("UGRNNCell", UGRNNParams, back=from_ugrnn)
def to_ugrnn(params: UGRNNParams, *, forget_bias: float = 1.0) -> dict[str, Array]:
    """Convert parameters of `seqjax.UGRNN` to the variables of a ``UGRNNCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.UGRNN`.

    >>> params = UGRNNParams(jnp.zeros((3, 4)), jnp.zeros((2, 4)), jnp.zeros(4))
    >>> print(to_ugrnn(params)["bias"])
    [-1. -1.  0.  0.]
    """
    return {
        "kernel": jnp.concatenate([params.input_kernel, params.recurrent_kernel]),
        "bias": shift_gate(params.bias, 2, 0, -forget_bias),
    }


def from_intersection_rnn(
    variables: Variables, *, forget_bias: float = 1.0
) -> IntersectionRNNParams:
    """Convert the variables of an ``IntersectionRNNCell`` to `seqjax.IntersectionRNN` parameters.

    Args:
      variables: ``kernel [2H, 4H]`` and ``bias [4H]``, gates in the order gh, h, gy, y. For a cell
        with ``num_in_proj``, convert ``in_projection/kernel`` and ``in_projection/bias`` with
        `split_scope` and `from_projection`, for a `seqjax.InputProjection` around the cell.
      forget_bias: the constant that the cell adds to gh and gy at run time.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> print(from_intersection_rnn({"kernel": jnp.zeros((2, 4)), "bias": jnp.zeros(4)}).bias)
    [1. 0. 1. 0.]
    """
    owner = "IntersectionRNNCell"
    arrays = take_variables(owner, variables, DENSE)
    columns = arrays["bias"].shape[0]
    check_arrays(owner, arrays, {"kernel": (columns // 2, columns)})
    w, u, b = split_dense(owner, arrays, gates=4)
    return IntersectionRNNParams(w, u, _open_both(b, forget_bias))


@writer("IntersectionRNNCell", IntersectionRNNParams, back=from_intersection_rnn)
def to_intersection_rnn(
    params: IntersectionRNNParams, *, forget_bias: float = 1.0
) -> dict[str, Array]:
    """Convert `seqjax.IntersectionRNN` parameters to the variables of an ``IntersectionRNNCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.IntersectionRNN`.

    >>> params = IntersectionRNNParams(jnp.zeros((1, 4)), jnp.zeros((1, 4)), jnp.zeros(4))
    >>> print(to_intersection_rnn(params)["bias"])
    [-1.  0. -1.  0.]
    """
    return {
        "kernel": jnp.concatenate([params.input_kernel, params.recurrent_kernel]),
        "bias": _open_both(params.bias, -forget_bias),
    }


def _open_both(bias: Array, shift: float) -> Array:
    return shift_gate(shift_gate(bias, 4, 0, shift), 4, 2, shift)


def from_nas(variables: Variables) -> NASParams:
    """Convert the variables of a ``NASCell`` to parameters of `seqjax.NAS`.

    Args:
      variables: ``kernel [D, 8H]`` and ``recurrent_kernel [R, 8H]``. Optional: ``bias [8H]`` and
        ``projection_weights [H, R]``.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> kernels = {"kernel": jnp.zeros((3, 16)), "recurrent_kernel": jnp.zeros((2, 16))}
    >>> from_nas(kernels).input_kernel.shape
    (3, 16)
    """
    names = {"kernel": 2, "recurrent_kernel": 2}
    arrays = take_variables("NASCell", variables, names, {"bias": 1}, {"projection_weights": 2})
    rows, columns = arrays["kernel"].shape
    units, projection = columns // 8, arrays.get("projection_weights")
    width = units if projection is None else projection.shape[1]
    shapes = {
        "kernel": (rows, 8 * units),
        "recurrent_kernel": (width, 8 * units),
        "bias": (8 * units,),
        "projection_weights": (units, width),
    }
    check_arrays("NASCell", arrays, shapes)
    return NASParams(arrays["kernel"], arrays["recurrent_kernel"], arrays.get("bias"), projection)


@writer("NASCell", NASParams, back=from_nas)
def to_nas(params: NASParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.NAS` to the variables of a ``NASCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.NAS`.

    >>> print(*to_nas(NASParams(jnp.zeros((3, 16)), jnp.zeros((2, 16)), jnp.zeros(16), None)))
    kernel recurrent_kernel bias
    """
    variables = {
        "kernel": params.input_kernel,
        "recurrent_kernel": params.recurrent_kernel,
        "bias": params.bias,
        "projection_weights": params.projection_kernel,
    }
    return {name: array for name, array in variables.items() if array is not None}


def from_sru(variables: Variables) -> SRUParams:
    """Convert the variables of an ``SRUCell`` to parameters of `seqjax.SRU`.

    Args:
      variables: ``kernel [D, 4H]``, columns in the order n, f, r, s (candidate, forget, reset,
        skip), and ``bias [2H]`` for f and r.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> kernel = jnp.array([[1.0, 2.0, 3.0, 4.0]])
    >>> print(from_sru({"kernel": kernel, "bias": jnp.zeros(2)}).input_kernel)
    [[2. 3. 1. 4.]]
    """
    arrays = take_variables("SRUCell", variables, DENSE)
    rows, columns = arrays["kernel"].shape
    units = columns // 4
    check_arrays("SRUCell", arrays, {"kernel": (rows, 4 * units), "bias": (2 * units,)})
    return SRUParams(permute_gates(arrays["kernel"], (1, 2, 0, 3)), arrays["bias"])


@writer("SRUCell", SRUParams, back=from_sru)
def to_sru(params: SRUParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.SRU` to the variables of an ``SRUCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.SRU`.

    >>> print(to_sru(SRUParams(jnp.array([[2.0, 3.0, 1.0, 4.0]]), jnp.zeros(2)))["kernel"])
    [[1. 2. 3. 4.]]
    """
    return {"kernel": permute_gates(params.input_kernel, (2, 0, 1, 3)), "bias": params.bias}


def from_minimal_rnn(variables: Variables) -> MinimalRNNParams:
    """Convert the variables of a ``MinimalRNNCell`` to parameters of `seqjax.MinimalRNN`.

    Args:
      variables: ``kernel [D + 2H, H]``, with the rows for the input, the embedded input and the
        state in this order, and ``bias [H]``.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> params = from_minimal_rnn({"kernel": jnp.zeros((7, 2)), "bias": jnp.zeros(2)})
    >>> params.input_kernel.shape, params.gate_kernel.shape, params.recurrent_kernel.shape
    ((3, 2), (2, 2), (2, 2))
    """
    owner = "MinimalRNNCell"
    arrays = take_variables(owner, variables, DENSE)
    units = arrays["kernel"].shape[1]
    check_arrays(owner, arrays, {"bias": (units,)})
    w, rest = split_rows(owner, arrays["kernel"], 2 * units)
    return MinimalRNNParams(w, rest[:units], rest[units:], arrays["bias"])


@writer("MinimalRNNCell", MinimalRNNParams, back=from_minimal_rnn)
def to_minimal_rnn(params: MinimalRNNParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.MinimalRNN` to the variables of a ``MinimalRNNCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.MinimalRNN`.

    >>> square = jnp.zeros((2, 2))
    >>> to_minimal_rnn(MinimalRNNParams(square, square, square, jnp.zeros(2)))["kernel"].shape
    (6, 2)
    """
    kernels = params.input_kernel, params.gate_kernel, params.recurrent_kernel
    return {"kernel": jnp.concatenate(kernels), "bias": params.bias}


def from_cfn(variables: Variables) -> CFNParams:
    """Convert the variables of a ``CFNCell`` to parameters of `seqjax.CFN`.

    Args:
      variables: ``kernel [D, 3H]``, columns in the order theta, eta, n; ``recurrent_kernel [H,
        2H]`` and ``bias [2H]`` for theta and eta.

    Raises:
      ValueError: a variable is missing or unknown, or has an unexpected shape.

    >>> kernels = {"kernel": jnp.zeros((3, 6)), "recurrent_kernel": jnp.zeros((2, 4))}
    >>> from_cfn(kernels | {"bias": jnp.zeros(4)}).input_kernel.shape
    (3, 6)
    """
    names = {"kernel": 2, "recurrent_kernel": 2, "bias": 1}
    arrays = take_variables("CFNCell", variables, names)
    units = arrays["recurrent_kernel"].shape[0]
    shapes = {
        "kernel": (arrays["kernel"].shape[0], 3 * units),
        "recurrent_kernel": (units, 2 * units),
        "bias": (2 * units,),
    }
    check_arrays("CFNCell", arrays, shapes)
    return CFNParams(*(arrays[name] for name in names))


@writer("CFNCell", CFNParams, back=from_cfn)
def to_cfn(params: CFNParams) -> dict[str, Array]:
    """Convert parameters of `seqjax.CFN` to the variables of a ``CFNCell``.

    Raises:
      ValueError: ``params`` are not those of a `seqjax.CFN`.

    >>> print(*to_cfn(CFNParams(jnp.zeros((3, 6)), jnp.zeros((2, 4)), jnp.zeros(4))))
    kernel recurrent_kernel bias
    """
    return {
        "kernel": params.input_kernel,
        "recurrent_kernel": params.recurrent_kernel,
        "bias": params.bias,
    }
