"""Options and gates that the two cells of xLSTM share."""

import jax

from seqjax.checks import check_number, check_size
from seqjax.types import Array


def check_xlstm_options(owner: str, units: int, heads: int, forget_bias: float) -> None:
    """Raise ``ValueError`` unless the options of a cell of xLSTM are valid."""
    check_size(owner, "units", units)
    check_number(owner, "forget_bias", forget_bias)
    check_size(owner, "heads", heads)
    if units % heads:
        raise ValueError(
            f"{owner}: heads must divide units, got units={units} and heads={heads}; "
            f"give units={-(-units // heads) * heads}"
        )


def log_forget_gate(f: Array, exponential: bool) -> Array:
    """Compute the logarithm of the forget gate: ``log(sigmoid(f))``, or ``f`` if exponential."""
    return f if exponential else jax.nn.log_sigmoid(f)
