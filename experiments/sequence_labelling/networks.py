"""The two networks that are compared, as one kind of thing."""

import dataclasses

import jax

from seqjax import GRU, Directions, OutputProjection, bidirectional_unroll, unroll
from seqjax.types import Array, Params


@dataclasses.dataclass(frozen=True)
class Network:
    """A GRU that reads forward, or two that read one in each direction, and two logits a step.

    The logits of the two directions are added, which is one readout of their joined outputs.

    Args:
      units: of each GRU.
      bidirectional: whether there is one that reads backward too.
    """

    units: int
    bidirectional: bool

    @property
    def name(self) -> str:
        """What results call it."""
        return "bidirectional" if self.bidirectional else "forward"

    @property
    def _cell(self) -> OutputProjection:
        return OutputProjection(GRU(self.units), size=2)

    def init(self, key: Array, input_size: int) -> Params:
        """Draw the parameters, float32, for tokens in ``[0, input_size)``."""
        if not self.bidirectional:
            return self._cell.init(key, input_size)
        return Directions(*(self._cell.init(k, input_size) for k in jax.random.split(key)))

    def logits(self, params: Params, tokens: Array, lengths: Array | None = None) -> Array:
        """Return the logits ``[B, T, 2]`` of tokens ``int[B, T]``, 0 past ``lengths``, ``int[B]``.

        >>> import jax.numpy as jnp
        >>> network = Network(units=4, bidirectional=True)
        >>> params = network.init(jax.random.key(0), input_size=3)
        >>> network.logits(params, jnp.array([[0, 2, 1]])).shape
        (1, 3, 2)
        """
        if not self.bidirectional:
            _, logits = unroll(self._cell, params, tokens, lengths=lengths)
            return logits
        cell = self._cell
        _, (forward, backward) = bidirectional_unroll(cell, cell, params, tokens, lengths=lengths)
        return forward + backward
