"""Linear recurrent units: diagonal linear recurrences that are stable by parameterisation."""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.hidden import HiddenCell
from seqjax.checks import check_input_size, check_number, check_size
from seqjax.operations.affine import affine, broadcast_like, split_gates
from seqjax.operations.features import check_features
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, HiddenState, LinearCell, Noise, Params, Role, State, with_roles


class LRUParams(NamedTuple):
    """Parameters of `LRU`, with complex kernels as their real and imaginary parts.

    Attributes:
      log_decay: ``[H]``, the paper's nu^log.
      log_phase: ``[H]``, the paper's theta^log.
      log_gain: ``[H]``, the paper's gamma^log.
      input_kernel: ``[D, 2H]``, Re B beside Im B.
      output_kernel: ``[2H, N]``, Re C above Im C.
      skip_kernel: ``[D, N]``.
    """

    log_decay: Array
    log_phase: Array
    log_gain: Array
    input_kernel: Array
    output_kernel: Array
    skip_kernel: Array


@dataclasses.dataclass(frozen=True)
class LRU(LinearCell):
    """The linear recurrent unit (LRU), with a complex diagonal recurrence.

    Maps ``[B, T, D]`` to ``[B, T, N]``; the state is ``h``, complex ``[B, H]``::

        a  = exp(-exp(log_decay) + i * exp(log_phase))
        h' = a * h + exp(log_gain) * (x @ B)
        y  = Re(h' @ C) + x @ S

    The output is ``y``, which is real. Up to rounding, ``|a| < 1`` for all parameters. The
    recurrence is linear, so all steps can run at once.

    Initially ``a`` is uniform on the ring between the two radii, with a phase in
    ``[0, max_phase]``. The initial gain ``sqrt(1 - |a|^2)`` normalises the variance of the state.

    Args:
      units: H, the width of the state.
      size: N, the width of the output.
      r_min: the smallest initial radius.
      r_max: the largest initial radius.
      max_phase: the largest initial phase; small phases suit long memories.

    Raises:
      ValueError: ``units`` or ``size`` is not a whole number of at least 1, the radii violate
        ``0 <= r_min < r_max <= 1``, or ``max_phase`` is not in ``(0, 2 pi]``.

    Reference: Orvieto et al., "Resurrecting recurrent neural networks for long sequences", 2023,
    sections 3.3 and 3.4 and appendix A (its D is our S).

    >>> from seqjax import LRU, unroll
    >>> cell = LRU(units=4, size=2)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.h.shape, state.h.dtype.name, ys.shape
    ((2, 4), 'complex64', (2, 7, 2))
    """

    units: int
    size: int
    r_min: float = 0.0
    r_max: float = 1.0
    max_phase: float = 2 * math.pi

    def __post_init__(self) -> None:
        super().__post_init__()
        check_size("LRU", "units", self.units)
        check_size("LRU", "size", self.size)
        for name in ("r_min", "r_max", "max_phase"):
            check_number("LRU", name, getattr(self, name))
        if not 0 <= self.r_min < self.r_max <= 1:
            raise ValueError(
                f"LRU: the radii must satisfy 0 <= r_min < r_max <= 1, got r_min={self.r_min} and "
                f"r_max={self.r_max}"
            )
        if not 0 < self.max_phase <= 2 * math.pi:
            raise ValueError(f"LRU: max_phase must lie in (0, 2 pi], got {self.max_phase}")

    @property
    def output_size(self) -> int:
        """The number of output features, N."""
        return self.size

    @property
    def roles(self) -> State:
        """``h`` is the hidden vector."""
        return with_roles(HiddenState, Role.HIDDEN)

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LRUParams:
        """Initialise ``a`` on its ring, and normal kernels that preserve the variance."""
        check_size("LRU", "input_size", input_size)
        keys = jax.random.split(key, 5)

        def uniform(key: Array) -> Array:  # above 0, to have a finite logarithm
            return jax.random.uniform(key, (self.units,), jnp.float32, 1e-12)

        def normal(key: Array, shape: tuple[int, int], variance: float) -> Array:
            return (math.sqrt(variance) * jax.random.normal(key, shape, jnp.float32)).astype(dtype)

        square = self.r_min**2 + (self.r_max**2 - self.r_min**2) * uniform(keys[0])  # |a|^2
        square = jnp.minimum(square, 1 - 2.0**-24)  # may round to 1
        return LRUParams(
            jnp.log(-0.5 * jnp.log(square)).astype(dtype),
            jnp.log(self.max_phase * uniform(keys[1])).astype(dtype),
            (0.5 * jnp.log1p(-square)).astype(dtype),
            normal(keys[2], (input_size, 2 * self.units), 0.5 / input_size),
            normal(keys[3], (2 * self.units, self.size), 1 / self.units),
            normal(keys[4], (input_size, self.size), 1 / input_size),
        )

    def input_size(self, params: LRUParams) -> int:
        """Return the number of input features, D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> HiddenState:
        """Return ``h = 0``: complex64 for float32 and complex128 for float64."""
        zeros = jnp.zeros((*batch_shape, self.units), dtype)
        return HiddenState(jax.lax.complex(zeros, zeros))

    def project(self, params: LRUParams, xs: Array, noise: Noise = None) -> tuple[Array, Array]:
        """Compute ``exp(log_gain) * (x @ B)``, ``[..., H]``, and ``x @ S``, ``[..., N]``."""
        real, imag = split_gates(affine(xs, params.input_kernel), 2)
        gain = jnp.exp(broadcast_like(params.log_gain, real))
        return jax.lax.complex(gain * real, gain * imag), affine(xs, params.skip_kernel)

    def coefficients(
        self, params: LRUParams, z: tuple[Array, Array]
    ) -> tuple[HiddenState, HiddenState]:
        """Return the coefficients of ``h' = a * h + exp(log_gain) * (x @ B)``."""
        b, _ = z
        log_decay, log_phase = (
            broadcast_like(param, b.real) for param in (params.log_decay, params.log_phase)
        )
        a = jnp.exp(jax.lax.complex(-jnp.exp(log_decay), jnp.exp(log_phase)))
        return HiddenState(a), HiddenState(b)

    def readout(self, params: LRUParams, state: HiddenState, z: tuple[Array, Array]) -> Array:
        """Compute ``y = Re(h' @ C) + x @ S``."""
        parts = jnp.concatenate([state.h.real, -state.h.imag], axis=-1)
        return affine(parts, params.output_kernel) + z[1]


class RGLRUParams(NamedTuple):
    """Parameters of `RGLRU`, with gates in the order r, i.

    Attributes:
      input_kernel: ``[H, 2H]``.
      bias: ``[2H]``.
      decay: ``[H]``, the paper's Lambda.
    """

    input_kernel: Array
    bias: Array
    decay: Array


@dataclasses.dataclass(frozen=True)
class RGLRU(HiddenCell, LinearCell):
    """The real-gated linear recurrent unit (RG-LRU).

    Maps ``[B, T, H]`` to ``[B, T, H]``; the state is ``h``, ``[B, H]``. The gate order is r, i
    (recurrence, input)::

        r  = sigmoid(x @ W_r + b_r)                        (1)
        i  = sigmoid(x @ W_i + b_i)                        (2)
        a  = sigmoid(decay) ** (8 * r)                     (3)
        h' = a * h + sqrt(1 - a^2) * (i * x)               (4)

    The output is ``h'``, so inputs must have H features. The power and the root are computed from
    ``log a``, which is accurate even if ``a`` is close to 1. The recurrence is linear, so all steps
    can run at once. Initially ``sigmoid(decay) ** 8`` is uniform in ``[0.9, 0.999]``.

    Args:
      units: H, the width of the input, of the state and of the output.

    Raises:
      ValueError: ``units`` is not a whole number of at least 1.

    Reference: De et al., "Griffin: mixing gated linear recurrences with local attention for
    efficient language models", 2024, section 2.4 (its W_a is our W_r, its W_x our W_i, its Lambda
    our decay).

    >>> from seqjax import RGLRU, unroll
    >>> cell = RGLRU(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=4)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 4), jnp.float32))
    >>> state.h.shape, ys.shape
    ((2, 4), (2, 7, 4))
    """

    def merge_embedding(self, params: Params, table: Array) -> None:
        """Return None, because the state includes the input itself."""

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> RGLRUParams:
        """Initialise Glorot kernels, biases of 0 and slow decays."""
        check_input_size("RGLRU", input_size, self.units)
        input_key, decay_key = jax.random.split(key)
        power = jax.random.uniform(decay_key, (self.units,), jnp.float32, 0.9, 0.999)
        base = power ** (1 / _POWER)
        return RGLRUParams(
            glorot_uniform(input_key, (self.units, self.units), gates=2, dtype=dtype),
            jnp.zeros(2 * self.units, dtype),
            (jnp.log(base) - jnp.log1p(-base)).astype(dtype),
        )

    def input_size(self, params: RGLRUParams) -> int:
        """Return the number of input features, H."""
        return self.units

    def project(self, params: RGLRUParams, xs: Array, noise: Noise = None) -> tuple[Array, Array]:
        """Compute ``a`` and ``sqrt(1 - a^2) * (i * x)``, each ``[..., H]``."""
        check_features("RGLRU", xs)
        r, i = split_gates(affine(xs, params.input_kernel, params.bias), 2)
        decay = broadcast_like(params.decay, r)
        log_a = _POWER * jax.nn.sigmoid(r) * jax.nn.log_sigmoid(decay)
        # if a rounds to 1, the root of 0 has no finite derivative
        gain = jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), 1e-37))
        return jnp.exp(log_a), gain * jax.nn.sigmoid(i) * xs.astype(r.dtype)

    def coefficients(
        self, params: RGLRUParams, z: tuple[Array, Array]
    ) -> tuple[HiddenState, HiddenState]:
        """Return the coefficients of ``h' = a * h + sqrt(1 - a^2) * (i * x)``."""
        return HiddenState(z[0]), HiddenState(z[1])

    def readout(self, params: RGLRUParams, state: HiddenState, z: tuple[Array, Array]) -> Array:
        """Return ``h'``."""
        return state.h


_POWER = 8  # the paper's c
