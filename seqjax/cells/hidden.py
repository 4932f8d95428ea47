"""The base class of cells whose state is one hidden vector."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.affine import affine
from seqjax.types import Array, Cell, HiddenState, Params, Role, State, with_roles


@dataclasses.dataclass(frozen=True)
class HiddenCell(Cell):
    """A cell whose state is a `HiddenState`, which is also its output.

    The parameters have an ``input_kernel`` that multiplies the inputs first. A cell for which this
    does not hold overrides `Cell.outputs_hidden` or `Cell.merge_embedding`.

    Args:
      units: H, the width of the state and of the output.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.
    """

    units: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(type(self).__name__, "units", self.units)

    @property
    def output_size(self) -> int:
        """The number of output features, H."""
        return self.units

    @property
    def roles(self) -> State:
        """``h`` is the hidden vector."""
        return with_roles(HiddenState, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """True: the output is ``h``."""
        return True

    def merge_embedding(self, params: Params, table: Array) -> Params | None:
        """Replace the input kernel by ``table @ input_kernel``."""
        return params._replace(input_kernel=affine(table, params.input_kernel))

    def input_size(self, params: Params) -> int:
        """Return the number of input features, D."""
        size: int = params.input_kernel.shape[0]
        return size

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> HiddenState:
        """Return ``h = 0``."""
        return HiddenState(jnp.zeros((*batch_shape, self.units), dtype))
