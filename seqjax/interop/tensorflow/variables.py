"""Helpers for the layouts of TensorFlow's cells."""

from collections.abc import Mapping
from typing import Any

from seqjax.checks import describe
from seqjax.interop.layout import check_shapes, given_names, take
from seqjax.types import Array

Variables = Mapping[str, Array]  # by the names below the scope of the cell, such as "gates/kernel"
_ADVICE = (
    "Give all variables of the cell by their names in its scope; split_scope extracts them from a "
    "checkpoint."
)


def split_scope(variables: Variables, scope: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Split variables into those in a scope, by their names in the scope, and all others.

    Args:
      variables: variables by name, such as those of a checkpoint.
      scope: the name of the scope, such as ``"rnn/gru_cell"``.

    Raises:
      ValueError: no variable is in the scope.

    >>> variables = {"rnn/gru_cell/gates/bias": 1, "rnn/carry_b": 2}
    >>> split_scope(variables, "rnn/gru_cell")
    ({'gates/bias': 1}, {'rnn/carry_b': 2})
    """
    _check_scope("split_scope", scope)
    prefix = f"{scope}/"
    names = given_names(variables)
    below = {name[len(prefix) :]: variables[name] for name in names if name.startswith(prefix)}
    if not below:
        raise ValueError(
            f"split_scope: no variable is in the scope {prefix}, got {', '.join(names) or 'none'}"
        )
    return below, {name: variables[name] for name in names if not name.startswith(prefix)}


def join_scope(scope: str, variables: Variables) -> dict[str, Array]:
    """Prefix the names of variables with a scope.

    >>> join_scope("fwd", {"B_f_0": 1})
    {'fwd/B_f_0': 1}
    """
    _check_scope("join_scope", scope)
    if not isinstance(variables, Mapping):
        raise ValueError(f"join_scope: variables must be a mapping, got {describe(variables)}")
    return {f"{scope}/{name}": array for name, array in variables.items()}


def _check_scope(owner: str, scope: Any) -> None:
    if not isinstance(scope, str):
        raise ValueError(f'{owner}: scope must be a name such as "rnn/gru_cell", got {scope!r}')


def take_variables(
    owner: str, variables: Variables, names: Mapping[str, int], *options: Mapping[str, int]
) -> dict[str, Array]:
    """Check the variables of a cell and return them as JAX arrays, as `take` does.

    >>> import jax.numpy as jnp
    >>> take_variables("SRUCell", {"kernel": jnp.zeros((3, 8))}, {"kernel": 2})["kernel"].shape
    (3, 8)
    """
    return take(owner, variables, names, *options, advice=_ADVICE)


def check_arrays(
    owner: str, arrays: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]
) -> None:
    """Raise ``ValueError`` unless the arrays have these shapes; absent arrays are ignored.

    >>> import jax.numpy as jnp
    >>> check_arrays("SRUCell", {"bias": jnp.zeros(2)}, {"bias": (2,), "kernel": (3, 4)})
    """
    check_shapes(
        owner,
        {name: (arrays[name], shape) for name, shape in shapes.items() if name in arrays},
    )


def split_rows(owner: str, kernel: Array, recurrent: int) -> tuple[Array, Array]:
    """Split a kernel into the rows for the input and, after them, those for the state.

    Raises:
      ValueError: the kernel has no rows for the input.

    >>> import jax.numpy as jnp
    >>> [part.shape for part in split_rows("GRUCell", jnp.zeros((5, 4)), 2)]
    [(3, 4), (2, 4)]
    """
    if kernel.shape[0] <= recurrent:
        raise ValueError(
            f"{owner}: a kernel for {recurrent} units must have more than {recurrent} rows (for "
            f"the input, then for the state), got {kernel.shape}"
        )
    return kernel[:-recurrent], kernel[-recurrent:]


def split_dense(
    owner: str, arrays: Mapping[str, Array], gates: int = 1
) -> tuple[Array, Array, Array]:
    """Split ``kernel [D + H, gates * H]``; return its two parts and ``bias [gates * H]``.

    >>> import jax.numpy as jnp
    >>> arrays = {"kernel": jnp.zeros((5, 4)), "bias": jnp.zeros(4)}
    >>> [part.shape for part in split_dense("UGRNNCell", arrays, gates=2)]
    [(3, 4), (2, 4), (4,)]
    """
    rows, columns = arrays["kernel"].shape
    units = columns // gates
    check_arrays(owner, arrays, {"kernel": (rows, gates * units), "bias": (gates * units,)})
    return *split_rows(owner, arrays["kernel"], units), arrays["bias"]


def shift_gate(bias: Array, gates: int, gate: int, shift: float) -> Array:
    """Add a constant to the bias of one gate, as TensorFlow does at run time.

    >>> import jax.numpy as jnp
    >>> print(shift_gate(jnp.zeros(6), gates=3, gate=1, shift=0.5))
    [0.  0.  0.5 0.5 0.  0. ]
    """
    units = bias.shape[0] // gates
    return bias.at[gate * units : (gate + 1) * units].add(shift)
