"""What the layouts of all frameworks have in common: gates side by side, in some order."""

import jax
import jax.numpy as jnp

from seqjax.affine import split_gates
from seqjax.cells import LSTMParams
from seqjax.types import Array


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
