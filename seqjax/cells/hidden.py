"""What the cells have in common that remember one array."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.affine import affine
from seqjax.types import Array, Cell, HiddenState, Params, Role, State, with_roles


@dataclasses.dataclass(frozen=True)
class HiddenCell(Cell):
    """A cell whose state is one `HiddenState`, which it also puts out.

    Its inputs meet an ``input_kernel`` before anything else; a cell for which one of this does not
    hold overrides `outputs_hidden` or `merge_embedding`.

    Args:
      units: H, the width of the state and of the output, which mostly are the same.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.
    """

    units: int

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size(type(self).__name__, "units", self.units)

    @property
    def output_size(self) -> int:
        """H."""
        return self.units

    @property
    def roles(self) -> State:
        """``h`` is the hidden vector."""
        return with_roles(HiddenState, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """The output is ``h``."""
        return True

    def merge_embedding(self, params: Params, table: Array) -> Params | None:
        """Parameters whose input kernel is ``table @ input_kernel``."""
        return params._replace(input_kernel=affine(table, params.input_kernel))

    def input_size(self, params: Params) -> int:
        """D."""
        size: int = params.input_kernel.shape[0]
        return size

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> HiddenState:
        """``h = 0``."""
        return HiddenState(jnp.zeros((*batch_shape, self.units), dtype))
