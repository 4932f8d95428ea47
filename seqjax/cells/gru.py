"""The gated recurrent unit, with its reset before the recurrent product or after it."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_size
from seqjax.operations.affine import affine, broadcast_like, split_gates
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.types import UNITWISE, Activation, Array, FactoredCell, HiddenState, Noise, has_own


class GRUParams(NamedTuple):
    """Parameters of `GRU`; gates in the order r, u, n."""

    input_kernel: Array  # [D, 3H]
    gate_kernel: Array  # [H, 2H], recurrent, of r and u
    candidate_kernel: Array  # [H, H], recurrent, of n
    bias: Array  # [3H]
    candidate_bias: Array | None = None  # [H], inside the reset; only with reset_after


class GRUSaved(NamedTuple):
    """What the backward pass of a GRU needs of a step: all before the activations."""

    r: Array  # [B, H]
    u: Array  # [B, H]
    n: Array  # [B, H]
    h_n: Array | None  # [B, H], what the reset acted on; only with reset_after


@dataclasses.dataclass(frozen=True)
class GRU(HiddenCell, FactoredCell):
    """The gated recurrent unit; gate order r, u, n (reset, update, candidate)::

        r  = sigmoid(x @ W_r + h @ U_r + b_r)
        u  = sigmoid(x @ W_u + h @ U_u + b_u)
        n  = activation(x @ W_n + (r * h) @ U_n + b_n)          reset_after=False
        n  = activation(x @ W_n + r * (h @ U_n + c_n) + b_n)    reset_after=True
        h' = u * h + (1 - u) * n

    so ``u`` keeps the old state. The output is ``h'``. The reset before the product is the paper's
    and TensorFlow's ``GRUCell``; the reset after it is cuDNN's, PyTorch's and Keras's default.

    Args:
      units: H, the width of the state and of the output.
      reset_after: where the reset gate acts.
      activation: of the candidate.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: Cho et al., "Learning phrase representations using RNN encoder-decoder for
    statistical machine translation", 2014, equations 5 to 8 (its z is our u).

    >>> from seqjax import GRU, unroll
    >>> cell = GRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    reset_after: bool = False
    activation: Activation = jnp.tanh

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> GRUParams:
        """Draw Glorot input kernels and orthogonal recurrent ones; the biases of r and u are 1.

        So a unit starts out keeping its state, as TensorFlow's does; the other biases are 0.
        """
        check_size(type(self).__name__, "input_size", input_size)
        input_key, gate_key, candidate_key = jax.random.split(key, 3)
        return GRUParams(
            glorot_uniform(input_key, (input_size, self.units), gates=3, dtype=dtype),
            self._recurrent_kernel(gate_key, 2, dtype),
            self._recurrent_kernel(candidate_key, 1, dtype),
            jnp.zeros(3 * self.units, dtype).at[: 2 * self.units].set(1),
            jnp.zeros(self.units, dtype) if self.reset_after else None,
        )

    def project(self, params: GRUParams, xs: Array, noise: Noise = None) -> tuple[Array, ...]:
        """``x @ W + b`` of r, u and n, each ``[..., H]``."""
        return split_gates(affine(xs, params.input_kernel, params.bias), 3)

    def step(
        self, params: GRUParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, Array]:
        """The equations above, given the three projections."""
        state, _ = self.advance(params, state, z)
        return state, state.h

    def is_factored(self, params: GRUParams) -> bool:
        """With a known activation and recurrent kernels that are no diagonals."""
        known = self.activation in UNITWISE and params.gate_kernel.ndim == 2
        return known and has_own(self, GRU, "step")

    def advance(
        self, params: GRUParams, state: HiddenState, z: tuple[Array, ...]
    ) -> tuple[HiddenState, GRUSaved]:
        """The equations above, and r, u and n before their activations."""
        z_r, z_u, z_n = z
        h_n = None
        if self.reset_after:
            h_r, h_u, h_n = self._of_state(params, state.h)
            r = z_r + h_r
            n = z_n + _reset(r, h_n)
        else:
            h_r, h_u = split_gates(affine(state.h, params.gate_kernel), 2)
            r = z_r + h_r
            n = z_n + affine(_reset(r, state.h), params.candidate_kernel)
        u = z_u + h_u
        return HiddenState(self._mix(state.h, u, n)), GRUSaved(r, u, n, h_n)

    def factors(
        self,
        params: GRUParams,
        before: HiddenState,
        after: HiddenState,
        saved: GRUSaved,
        zs: tuple[Array, ...],
    ) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        """The derivatives of what the reset lets through, and those of ``h'``."""
        ones = jnp.ones_like(after.h)
        _, of_reset = jax.vjp(_reset, saved.r, saved.h_n if self.reset_after else before.h)
        _, of_mix = jax.vjp(self._mix, before.h, saved.u, saved.n)
        return of_reset(ones), of_mix(ones)

    def transposed_kernels(self, params: GRUParams) -> tuple[Array, ...]:
        """One of all gates, ``[3 * H, H]``, or those of the gates and of the candidate."""
        if self.reset_after:
            return (self._joined_kernel(params).T,)
        return params.gate_kernel.T, params.candidate_kernel.T

    def retreat(
        self,
        kernels: tuple[Array, ...],
        d_after: HiddenState,
        factors: tuple[tuple[Array, Array], tuple[Array, ...]],
    ) -> tuple[HiddenState, tuple[Array, Array]]:
        """The chain rule; the gradients that meet one kernel in one array, for one product."""
        (by_r, r), (by_h, by_u, by_n) = factors
        d_h, d_u, d_n = d_after.h * by_h, d_after.h * by_u, d_after.h * by_n
        if self.reset_after:
            d_gates = jnp.concatenate([d_n * by_r, d_u, d_n * r], -1)
        else:
            d_reset = affine(d_n, kernels[1])
            d_gates = jnp.concatenate([d_reset * by_r, d_u], -1)
            d_h = d_h + d_reset * r
        return HiddenState(d_h + affine(d_gates, kernels[0])), (d_gates, d_n)

    def preactivations(
        self,
        params: GRUParams,
        before: HiddenState,
        after: HiddenState,
        saved: GRUSaved,
        zs: tuple[Array, ...],
    ) -> tuple[Array, Array]:
        """The gates r and u, with what the reset acts on if that is a product; and n."""
        z_r, z_u, z_n = zs
        if self.reset_after:
            h_r, h_u, h_n = self._of_state(params, before.h)
            return jnp.concatenate([z_r + h_r, z_u + h_u, h_n], -1), z_n
        z = jnp.concatenate([z_r, z_u], -1)
        n = z_n + affine(_reset(saved.r, before.h), params.candidate_kernel)
        return z + affine(before.h, params.gate_kernel), n

    # What a variant may differ in:

    def _recurrent_kernel(self, key: Array, gates: int, dtype: Any) -> Array:
        return orthogonal(key, self.units, gates, dtype)

    # The equations, a part at a time:

    def _joined_kernel(self, params: GRUParams) -> Array:
        return jnp.concatenate([params.gate_kernel, params.candidate_kernel], -1)

    def _of_state(self, params: GRUParams, h: Array) -> tuple[Array, ...]:
        """All products of a reset that acts after them."""
        r, u, n = split_gates(affine(h, self._joined_kernel(params)), 3)
        return (
            r,
            u,
            n if params.candidate_bias is None else n + broadcast_like(params.candidate_bias, n),
        )

    def _mix(self, h: Array, u: Array, n: Array) -> Array:
        u = jax.nn.sigmoid(u)
        return u * h + (1 - u) * self.activation(n)


def _reset(r: Array, h: Array) -> Array:
    return jax.nn.sigmoid(r) * h
