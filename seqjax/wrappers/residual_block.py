"""Normalised residual blocks, from which deep networks of linear recurrences are built."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.operations.affine import accumulation_dtype, affine, split_gates
from seqjax.operations.features import check_features
from seqjax.operations.initializers import glorot_uniform
from seqjax.operations.normalization import NormParams, layer_norm
from seqjax.types import Activation, Array, Loop, Noise, Params, Projected, State
from seqjax.wrappers.wrapper import ParametrisedWrapper, check_one_axis, check_same_size


class ResidualBlockParams(NamedTuple):
    """Parameters of `ResidualBlock`, with gates in the order g, u.

    Attributes:
      cell: the parameters of the wrapped cell.
      norm: `NormParams` ``[D]``, of the input of the cell.
      feed_forward_norm: `NormParams` ``[D]``, of the input of the feed-forward part.
      input_kernel: ``[D, 2F]``.
      input_bias: ``[2F]``.
      output_kernel: ``[F, D]``.
      output_bias: ``[D]``.
    """

    cell: Params
    norm: NormParams
    feed_forward_norm: NormParams
    input_kernel: Array
    input_bias: Array
    output_kernel: Array
    output_bias: Array


@dataclasses.dataclass(frozen=True)
class ResidualBlock(ParametrisedWrapper):
    """A cell and a gated feed-forward part, each with a normalised input and a skip connection.

    Maps ``[B, T, D]`` to ``[B, T, D]``; the state is that of the wrapped cell. F is the width of
    the feed-forward part, whose gate order is g, u (gate, value)::

        s', o = cell(s, norm(x))
        a     = x + o
        g     = activation(feed_forward_norm(a) @ W_g + b_g)
        u     = feed_forward_norm(a) @ W_u + b_u
        y     = a + (g * u) @ W_y + b_y

    Both norms are layer normalisation over the features. The feed-forward part does not read the
    state, so it is computed for all steps at once. The default activation makes it a GeGLU, and
    `jax.nn.silu` a SwiGLU (Shazeer, "GLU variants improve transformer", 2020).

    A `Stack` of blocks is the network in which the linear recurrences were introduced: linear
    cells mix the steps, and feed-forward parts mix the features nonlinearly. The skip connections
    are never normalised, so the readout needs a norm: ``LanguageModel(..., layer_norm=True)``.
    The block leaves out the temporal convolution and the gated branch around the RG-LRU of Griffin,
    and the convolutions and the norms of heads of xLSTM.

    Args:
      cell: the wrapped cell, whose output has the size of its input.
      feed_forward_size: F; None for 3 D, as in Griffin.
      activation: applied to the gate.

    Raises:
      ValueError: ``cell`` is not a cell with one output feature axis, its input and output sizes
        differ, ``feed_forward_size`` is not a whole number of at least 1, or the inputs are tokens.

    References: De et al., "Griffin: mixing gated linear recurrences with local attention for
    efficient language models", 2024, section 2; Orvieto et al., "Resurrecting recurrent neural
    networks for long sequences", 2023; Beck et al., "xLSTM: extended long short-term memory", 2024,
    section 2.4.

    >>> from seqjax import MinGRU, ResidualBlock, Stack, unroll
    >>> cell = Stack([ResidualBlock(MinGRU(3)), ResidualBlock(MinGRU(3))])
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state[0].h.shape, params[0].input_kernel.shape, ys.shape
    ((2, 3), (3, 18), (2, 7, 3))
    """

    feed_forward_size: int | None = None
    activation: Activation = jax.nn.gelu

    _steps_cell: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("ResidualBlock", self.cell)
        if self.feed_forward_size is not None:
            check_size("ResidualBlock", "feed_forward_size", self.feed_forward_size)

    @property
    def outputs_hidden(self) -> bool:
        """False: the output is a sum."""
        return False

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> ResidualBlockParams:
        """Initialise the wrapped cell, gains of 1, Glorot kernels, and shifts and biases of 0."""
        check_same_size("ResidualBlock", input_size, self.cell.output_size)
        D, F = input_size, self.feed_forward_size or 3 * input_size
        cell_key, input_key, output_key = jax.random.split(key, 3)
        return ResidualBlockParams(
            self.cell.init(cell_key, D, dtype),
            NormParams.initial(D, dtype),
            NormParams.initial(D, dtype),
            glorot_uniform(input_key, (D, F), gates=2, dtype=dtype),
            jnp.zeros(2 * F, dtype),
            glorot_uniform(output_key, (F, D), dtype=dtype),
            jnp.zeros(D, dtype),
        )

    def project(
        self, params: ResidualBlockParams, xs: Array, noise: Noise = None
    ) -> tuple[Projected, Array]:
        """Normalise the inputs and project them for the wrapped cell; pass on the inputs."""
        return self.cell.project(params.cell, _normalise(params.norm, xs), noise), xs

    def step(
        self, params: ResidualBlockParams, state: State, z: tuple[Projected, Array]
    ) -> tuple[State, Array]:
        """Step the wrapped cell, and apply the feed-forward part."""
        inner, x = z
        state, o = self.cell.step(params.cell, state, inner)
        return state, self._feed_forward(params, x.astype(o.dtype) + o)

    def sequence(
        self,
        loop: Loop,
        params: ResidualBlockParams,
        state: State,
        xs: Array,
        noise: Noise = None,
    ) -> tuple[State, Array]:
        """Run the wrapped cell, then apply the feed-forward part to all steps at once."""
        normalised = _normalise(params.norm, xs)
        state, os = self.cell.sequence(loop, params.cell, state, normalised, noise)
        return state, self._feed_forward(params, xs.astype(os.dtype) + os)

    def _feed_forward(self, params: ResidualBlockParams, a: Array) -> Array:
        hidden = affine(
            _normalise(params.feed_forward_norm, a), params.input_kernel, params.input_bias
        )
        g, u = split_gates(hidden, 2)
        return a + affine(self.activation(g) * u, params.output_kernel, params.output_bias)


def _normalise(params: NormParams, xs: Array) -> Array:
    check_features("ResidualBlock", xs)
    return layer_norm(xs.astype(accumulation_dtype(xs.dtype)), *params, epsilon=1e-6)
