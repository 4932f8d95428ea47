"""What the layouts of all frameworks have in common: gates side by side, in some order."""

import jax
import jax.numpy as jnp

from seqjax.cells import BasicRNNParams, GRUParams, LSTMParams
from seqjax.operations.affine import split_gates
from seqjax.types import Array, Params


def permute_gates(a: Array, order: tuple[int, ...]) -> Array:
    """Put the gates of ``[..., G * H]`` in another order.

    >>> print(permute_gates(jnp.array([1, 2, 3, 4, 5, 6]), (1, 0, 2)))
    [3 4 1 2 5 6]
    """
    gates = split_gates(a, len(order))
    return jnp.concatenate([gates[n] for n in order], axis=-1)


def check_shapes(owner: str, shapes: dict[str, tuple[Array, tuple[int, ...]]]) -> None:
    """Raise ``ValueError`` unless each array has the shape beside it, by the name of each.

    >>> check_shapes("LSTM", {"bias": (jnp.zeros(3), (4,))})
    Traceback (most recent call last):
    ...
    ValueError: LSTM: bias must have shape (4,) beside the other weights, got (3,)
    """
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise ValueError(
                f"{owner}: {name} must have shape {shape} beside the other weights, "
                f"got {array.shape}"
            )


def check_basic_rnn(owner: str, params: BasicRNNParams) -> None:
    """Raise ``ValueError`` unless ``params`` are of a `BasicRNN`, and of no variant of it."""
    units = params.recurrent_kernel.shape[0]
    _check(owner, params, recurrent_kernel=(units, units), bias=(units,))


def check_lstm(owner: str, params: LSTMParams) -> None:
    """Raise ``ValueError`` unless ``params`` are of an `LSTM`, and of no variant of it.

    >>> check_lstm("LSTM", LSTMParams(jnp.zeros((3, 6)), jnp.zeros((2, 6)), jnp.zeros(6)))
    Traceback (most recent call last):
    ...
    ValueError: LSTM: recurrent_kernel must have shape (2, 8) beside the other weights, got (2, 6)
    """
    width = params.recurrent_kernel.shape[0]
    units = width if params.projection_kernel is None else params.projection_kernel.shape[0]
    _check(owner, params, recurrent_kernel=(width, 4 * units), bias=(4 * units,))


def check_gru(owner: str, params: GRUParams) -> None:
    """Raise ``ValueError`` unless ``params`` are of a `GRU`, and of no variant of it."""
    units = params.candidate_kernel.shape[0]
    shapes = {"candidate_kernel": (units, units), "gate_kernel": (units, 2 * units)}
    _check(owner, params, **shapes, bias=(3 * units,))


def _check(owner: str, params: Params, **shapes: tuple[int, ...]) -> None:
    shapes["input_kernel"] = (params.input_kernel.shape[0], *shapes["bias"])
    check_shapes(owner, {name: (getattr(params, name), shape) for name, shape in shapes.items()})


def refuse_options(owner: str, params: LSTMParams, *options: str) -> None:
    """Raise ``ValueError`` if ``params`` have what the LSTM of another framework lacks.

    >>> params = LSTMParams(0, 0, 0, projection_kernel=jnp.zeros((3, 2)))
    >>> refuse_options("LSTM", params, "norm", "projection_kernel")
    Traceback (most recent call last):
    ...
    ValueError: LSTM: has no projection_kernel, which these parameters hold
    """
    held = [name for name in options if jax.tree.leaves(getattr(params, name))]
    if held:
        raise ValueError(f"{owner}: has no {' and no '.join(held)}, which these parameters hold")
