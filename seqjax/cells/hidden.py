"""What the cells have in common that remember one array."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from seqjax.checks import check_activation, check_number, check_size
from seqjax.types import Cell, HiddenState, Params


@dataclasses.dataclass(frozen=True)
class HiddenCell(Cell):
    """A cell whose state is one `HiddenState` and whose inputs meet an ``input_kernel``.

    Args:
      units: H, the width of the state and of the output, which mostly are the same.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1, an
        activation is no function, or a bias not a finite number.
    """

    units: int

    def __post_init__(self) -> None:
        check_size(type(self).__name__, "units", self.units)
        if hasattr(self, "activation"):
            check_activation(type(self).__name__, self.activation)
        if hasattr(self, "forget_bias"):
            check_number(type(self).__name__, "forget_bias", self.forget_bias)

    @property
    def output_size(self) -> int:
        """H."""
        return self.units

    def input_size(self, params: Params) -> int:
        """D."""
        size: int = params.input_kernel.shape[0]
        return size

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> HiddenState:
        """``h = 0``."""
        return HiddenState(jnp.zeros((*batch_shape, self.units), dtype))
