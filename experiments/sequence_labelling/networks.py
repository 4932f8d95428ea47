"""The two networks that are compared, as one kind of thing."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import GRU, Dropout, OutputProjection, bidirectional_unroll, unroll
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Params
from seqjax.wrappers import Directions


class NetworkParams(NamedTuple):
    """Parameters of a `Network`."""

    cells: Params  # of the one cell, or `Directions` of both
    kernel: Array  # [units, 2]
    bias: Array  # [2]


@dataclasses.dataclass(frozen=True)
class Network:
    """A GRU that reads forward, or two that read one in each direction, and two logits a step::

        logits[t] = tanh(forward[t] @ U + backward[t] @ V + b) @ W + c

    The layer between is what lets past and future interact. Without it the logits are a sum of what
    the past says and of what the future says, and each can only shift the odds by a factor of its
    own: on the look-ahead task the best such sum has a loss of 0.4719, and not the 0.4545 of both.

    Args:
      units: of each GRU, and of the layer between.
      bidirectional: whether there is a GRU that reads backward too; without, V is not there.
      dropout: the rate at which outputs of the GRUs are dropped where `logits` has a key.
    """

    units: int
    bidirectional: bool
    dropout: float = 0.0

    @property
    def name(self) -> str:
        """What results call it."""
        return "bidirectional" if self.bidirectional else "forward"

    @property
    def _cell(self) -> OutputProjection:
        return OutputProjection(Dropout(GRU(self.units), output_rate=self.dropout), self.units)

    def init(self, key: Array, input_size: int) -> NetworkParams:
        """Draw the parameters, float32, for tokens in ``[0, input_size)``."""
        *keys, readout_key = jax.random.split(key, 3 if self.bidirectional else 2)
        cells = [self._cell.init(k, input_size) for k in keys]
        return NetworkParams(
            Directions(*cells) if self.bidirectional else cells[0],
            glorot_uniform(readout_key, (self.units, 2)),
            jnp.zeros(2, jnp.float32),
        )

    def logits(
        self,
        params: NetworkParams,
        tokens: Array,
        lengths: Array | None = None,
        key: Array | None = None,
    ) -> Array:
        """Return logits ``[B, T, 2]`` of tokens ``int[B, T]``; those past ``lengths`` say nothing.

        >>> network = Network(units=4, bidirectional=True)
        >>> params = network.init(jax.random.key(0), input_size=3)
        >>> network.logits(params, jnp.array([[0, 2, 1]])).shape
        (1, 3, 2)
        """
        cell = self._cell
        if self.bidirectional:
            _, (past, future) = bidirectional_unroll(
                cell, cell, params.cells, tokens, lengths=lengths, key=key
            )
            between = past + future
        else:
            _, between = unroll(cell, params.cells, tokens, lengths=lengths, key=key)
        return affine(jnp.tanh(between), params.kernel, params.bias)
