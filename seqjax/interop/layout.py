"""Helpers for the layouts of all frameworks: named arrays with gates side by side."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_params, given_array
from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.checks import describe, describe_type
from seqjax.operations.affine import split_gates
from seqjax.types import Array, Params


def permute_gates(a: Array, order: tuple[int, ...]) -> Array:
    """Reorder the gates of ``[..., G * H]``.

    >>> print(permute_gates(jnp.array([1, 2, 3, 4, 5, 6]), (1, 0, 2)))
    [3 4 1 2 5 6]
    """
    gates = split_gates(a, len(order))
    return jnp.concatenate([gates[n] for n in order], axis=-1)


def take(
    owner: str, arrays: Any, names: Mapping[str, int], *options: Mapping[str, int], advice: str
) -> dict[str, Array]:
    """Check a mapping of the arrays of a cell and return it as JAX arrays.

    Args:
      owner: the name of the cell, for error messages.
      arrays: the arrays by name, as given by a user.
      names: the number of axes of each required array.
      options: the number of axes of each array in groups of optional arrays. A group must be
        complete or absent.
      advice: how to give the right arrays, for error messages.

    Returns:
      The arrays by name.

    Raises:
      ValueError: an array is missing, unknown or not an array, or has the wrong number of axes.

    >>> take("SRUCell", {"kernel": jnp.zeros((3, 8))}, {"kernel": 2, "bias": 1}, advice="Add it.")
    Traceback (most recent call last):
    ...
    ValueError: SRUCell: expected the arrays kernel, bias, got kernel. Add it.
    """
    if not isinstance(arrays, Mapping):
        raise ValueError(
            f"{owner}: expected a mapping with the arrays {', '.join(names)}, "
            f"got {describe_type(arrays)}. {advice}"
        )
    wanted = dict(names)
    for option in options:
        if not option.keys().isdisjoint(arrays):
            wanted |= option
    if {*arrays} != {*wanted}:
        absent = [name for option in options for name in option if name not in wanted]
        raise ValueError(
            f"{owner}: expected the arrays {', '.join(wanted) or 'none'}"
            f"{' (optionally ' + ', '.join(absent) + ')' if absent else ''}, "
            f"got {', '.join(map(str, arrays)) or 'none'}. {advice}"
        )
    taken = {}
    for name, axes in wanted.items():
        given = given_array(f"{owner}: {name}", arrays[name])
        taken[name] = as_params(given, f"{owner}: {name}")
        if taken[name].ndim != axes:
            raise ValueError(
                f"{owner}: {name} must have {axes} {'axis' if axes == 1 else 'axes'}, "
                f"got shape {taken[name].shape}"
            )
    return taken


def given_names(arrays: Any) -> list[str]:
    """The names of a mapping of arrays; empty for any other value, which `take` then rejects.

    >>> given_names({"kernel": 1}), given_names(None)
    (['kernel'], [])
    """
    return [*map(str, arrays)] if isinstance(arrays, Mapping) else []


def take_layers(
    owner: str,
    tree: Any,
    inputs: Sequence[str],
    states: Sequence[str],
    biased: Sequence[str],
    *,
    gates: int = 1,
    advice: str,
) -> tuple[Array, Array, Array]:
    """Check a nested mapping of the dense layers of a cell, and join its kernels and biases.

    Args:
      owner: the name of the cell, for error messages.
      tree: a mapping layer -> name -> array, as given by a user.
      inputs: the layers of the input, in the order of the gates, each with ``kernel [D, gates *
        H]``.
      states: the layers of the state, each with ``kernel [H, gates * H]``.
      biased: the layers that have a ``bias [gates * H]``.
      gates: the number of gates in one layer.
      advice: as in `take`.

    Returns:
      The joined kernels of ``inputs``, kernels of ``states``, and biases of ``biased``.

    Raises:
      ValueError: a layer is missing or unknown, or has an unexpected shape.

    >>> tree = {"i": {"kernel": jnp.zeros((3, 2)), "bias": jnp.zeros(2)}}
    >>> tree |= {"h": {"kernel": jnp.zeros((2, 2))}}
    >>> [a.shape for a in take_layers("RNN", tree, ["i"], ["h"], ["i"], advice="")]
    [(3, 2), (2, 2), (2,)]
    """
    kernels = [f"{layer}/kernel" for layer in inputs]
    recurrent = [f"{layer}/kernel" for layer in states]
    biases = [f"{layer}/bias" for layer in biased]
    axes = dict.fromkeys([*kernels, *recurrent], 2) | dict.fromkeys(biases, 1)
    arrays = take(owner, _flatten(tree), axes, advice=advice)
    rows, columns = arrays[kernels[0]].shape
    units = columns // gates
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(kernels, (rows, gates * units))
    shapes |= dict.fromkeys(recurrent, (units, gates * units))
    shapes |= dict.fromkeys(biases, (gates * units,))
    check_shapes(owner, {name: (arrays[name], shape) for name, shape in shapes.items()})

    def join(names: Sequence[str]) -> Array:
        return jnp.concatenate([arrays[name] for name in names], axis=-1)

    return join(kernels), join(recurrent), join(biases)


def _flatten(tree: Any) -> Any:
    """Join the keys of nested mappings with ``/``; anything else is returned as it is."""
    if not isinstance(tree, Mapping):
        return tree
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}/{name}": leaf for name, leaf in _flatten(value).items()}
        else:
            flat[str(key)] = value
    return flat


def check_layers(owner: str, layers: Any) -> None:
    """Raise ``ValueError`` unless ``layers`` is a list or a tuple of one or more parameters.

    >>> check_layers("nn.LSTM", LSTMParams(0, 0, 0))
    Traceback (most recent call last):
    ...
    ValueError: nn.LSTM: expected a list of the parameters of each layer, got a LSTMParams; put it \
into a list
    """
    if isinstance(layers, list | tuple) and not hasattr(layers, "_fields") and layers:
        return
    empty = isinstance(layers, list | tuple) and not layers
    given = "none" if empty else f"{describe_type(layers)}; put it into a list"
    raise ValueError(f"{owner}: expected a list of the parameters of each layer, got {given}")


def check_type(owner: str, params: Params, expected: type) -> Any:
    """Return ``params`` as JAX arrays, or raise ``ValueError`` unless they are ``expected``.

    >>> check_type("GRUCell", (), GRUParams)
    Traceback (most recent call last):
    ...
    ValueError: GRUCell: params must be GRUParams, got a tuple
    """
    if not isinstance(params, expected):
        raise ValueError(
            f"{owner}: params must be {expected.__name__}, got {describe_type(params)}"
        )
    return as_params(params, f"{owner}: params")


Convert = TypeVar("Convert", bound=Callable[..., Any])


def writer(owner: str, kind: type, back: Callable[..., Params]) -> Callable[[Convert], Convert]:
    """Make a ``to_...`` function check its parameters by converting its result back.

    Args:
      owner: the name of the cell, for error messages.
      kind: the type of the parameters.
      back: the ``from_...`` function. It must convert the result to parameters of the same shapes.

    Raises:
      ValueError: when the function is called, if the parameters are of another type, are not
        floating arrays, or do not fit together.

    >>> @writer("RNN", LSTMParams, back=lambda bias: LSTMParams(bias, bias, bias))
    ... def to_rnn(params):
    ...     return params.bias
    >>> to_rnn(LSTMParams(*[jnp.zeros(2)] * 3)).shape
    (2,)
    >>> to_rnn(LSTMParams(jnp.zeros(4), jnp.zeros(2), jnp.zeros(2)))
    Traceback (most recent call last):
    ...
    ValueError: RNN: the arrays of params do not fit together, got input_kernel (4,), \
recurrent_kernel (2,), bias (2,)
    """

    def decorate(to: Convert) -> Convert:
        @functools.wraps(to)
        def checked(params: Params, **options: Any) -> Any:
            params = check_type(owner, params, kind)
            for path, leaf in jax.tree.leaves_with_path(params):
                first_axis(owner, jax.tree_util.keystr(path, simple=True, separator="."), leaf)
            try:
                result = to(params, **options)
                again = back(*result) if isinstance(result, tuple) else back(result)
                fit = _shapes(again) == _shapes(params)
            except (
                AttributeError,
                IndexError,
                TypeError,
                ZeroDivisionError,
            ):  # an array is missing or has another rank
                fit = False
            if not fit:
                given = ", ".join(f"{name} {shape}" for name, shape in _shapes(params).items())
                raise ValueError(
                    f"{owner}: the arrays of params do not fit together, got {given or 'none'}"
                )
            return result

        return cast(Convert, checked)

    return decorate


def _shapes(params: Params) -> dict[str, tuple[int, ...]]:
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf.shape
        for path, leaf in jax.tree.leaves_with_path(params)
    }


def check_shapes(owner: str, shapes: dict[str, tuple[Array, tuple[int, ...]]]) -> None:
    """Raise ``ValueError`` unless each named array has the expected shape.

    >>> check_shapes("LSTM", {"bias": (jnp.zeros(3), (4,))})
    Traceback (most recent call last):
    ...
    ValueError: LSTM: bias must have shape (4,) to match the other weights, got (3,)
    """
    for name, (array, shape) in shapes.items():
        if np.shape(array) != shape:
            raise ValueError(
                f"{owner}: {name} must have shape {shape} to match the other weights, "
                f"got {np.shape(array)}"
            )


def check_basic_rnn(owner: str, params: BasicRNNParams) -> BasicRNNParams:
    """Return arrays, or raise ``ValueError`` unless they are of a `seqjax.BasicRNN`."""
    params = check_type(owner, params, BasicRNNParams)
    units = first_axis(owner, "bias", params.bias)
    check_params(owner, params, recurrent_kernel=(units, units), bias=(units,))
    return params


def check_lstm(owner: str, params: LSTMParams) -> LSTMParams:
    """Return arrays, or raise ``ValueError`` unless they are of a `seqjax.LSTM`.

    >>> check_lstm("LSTM", LSTMParams(jnp.zeros((3, 6)), jnp.zeros((2, 6)), jnp.zeros(6)))
    Traceback (most recent call last):
    ...
    ValueError: LSTM: recurrent_kernel must have shape (2, 8) to match the other weights, got (2, 6)
    """
    params = check_type(owner, params, LSTMParams)
    width = first_axis(owner, "recurrent_kernel", params.recurrent_kernel)
    units = width
    if params.projection_kernel is not None:
        units = first_axis(owner, "projection_kernel", params.projection_kernel)
        check_params(owner, params, projection_kernel=(units, width), bias=(4 * units,))
    check_params(owner, params, recurrent_kernel=(width, 4 * units), bias=(4 * units,))
    return params


def check_gru(owner: str, params: GRUParams) -> GRUParams:
    """Return arrays, or raise ``ValueError`` unless they are of a `seqjax.GRU`."""
    params = check_type(owner, params, GRUParams)
    units = first_axis(owner, "candidate_kernel", params.candidate_kernel)
    shapes: dict[str, tuple[int, ...]] = {
        "candidate_kernel": (units, units),
        "gate_kernel": (units, 2 * units),
    }
    if params.candidate_bias is not None:
        shapes["candidate_bias"] = (units,)
    check_params(owner, params, **shapes, bias=(3 * units,))
    return params


def first_axis(owner: str, name: str, array: Array | None) -> int:
    """The size of the first axis of a required array, or raise ``ValueError``.

    >>> first_axis("LSTM", "bias", None)
    Traceback (most recent call last):
    ...
    ValueError: LSTM: bias of the params must be an array with an axis, got None
    """
    if not isinstance(array, Array) or not array.ndim:
        raise ValueError(
            f"{owner}: {name} of the params must be an array with an axis, got {describe(array)}"
        )
    return array.shape[0]


def check_params(owner: str, params: Params, **shapes: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless the fields have these shapes and ``input_kernel [D, *bias]``.

    >>> params = BasicRNNParams(jnp.zeros((3, 2)), jnp.zeros(2), jnp.zeros(2))
    >>> check_params("RNN", params, recurrent_kernel=(2, 2), bias=(2,))
    Traceback (most recent call last):
    ...
    ValueError: RNN: recurrent_kernel must have shape (2, 2) to match the other weights, got (2,)
    """
    rows = first_axis(owner, "input_kernel", params.input_kernel)
    shapes.setdefault("input_kernel", (rows, *shapes["bias"]))
    check_shapes(owner, {name: (getattr(params, name), shape) for name, shape in shapes.items()})


def refuse_options(owner: str, params: LSTMParams, *options: str) -> None:
    """Raise ``ValueError`` if ``params`` have options that another framework lacks.

    >>> params = LSTMParams(0, 0, 0, projection_kernel=jnp.zeros((3, 2)))
    >>> refuse_options("LSTM", params, "norm", "projection_kernel")
    Traceback (most recent call last):
    ...
    ValueError: LSTM has no projection_kernel, got params with it; convert a cell without it
    """
    held = [name for name in options if jax.tree.leaves(getattr(params, name))]
    if held:
        raise ValueError(
            f"{owner} has no {' and no '.join(held)}, got params with it; convert a cell without it"
        )
