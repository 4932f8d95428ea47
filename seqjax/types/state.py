"""What a state holds, and the roles of its arrays."""

import enum
from collections.abc import Callable
from typing import NamedTuple

from seqjax.types.arrays import Array, State


class HiddenState(NamedTuple):
    """The state of a cell that carries one array.

    Attributes:
      h: ``[B, H]``, the hidden vector.
    """

    h: Array


class Context(NamedTuple):
    """What a cell attends to, as `seqjax.with_context` binds it to parameters.

    Attributes:
      keys: ``[B, N, S, K]``, compared with the queries of N heads.
      values: ``[B, S, M]``, shared by all heads, or ``[B, N, S, M]``; 0 outside of the mask.
      mask: floating ``[B, S]``, 1 at valid positions and 0 at others, so that all parameters are
        floating.
    """

    keys: Array
    values: Array
    mask: Array


class Role(enum.Enum):
    """The role of one array in the state of a cell.

    Attributes:
      HIDDEN: the vector that the next step multiplies by a kernel, such as the ``h`` of an LSTM.
      MEMORY: a memory beside a hidden vector, such as the ``c`` of an LSTM.
      JOINT: one of several arrays that represent one quantity and must change together.
      ALIGNMENT: the weights ``[B, N, S]`` with which N heads last attended to a context.
      OTHER: any other array.
    """

    HIDDEN = "hidden"
    MEMORY = "memory"
    JOINT = "joint"
    ALIGNMENT = "alignment"
    OTHER = "other"


def with_roles(kind: Callable[..., State], *roles: State) -> State:
    """Return a state of type ``kind`` that holds a role for each of its arrays.

    >>> with_roles(HiddenState, Role.HIDDEN).h.name
    'HIDDEN'
    """
    return kind(*roles)
