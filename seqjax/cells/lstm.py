"""The long short-term memory: one set of equations for all of its variants."""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_clip, check_rate, check_size
from seqjax.operations.affine import affine, broadcast_like, split_gates
from seqjax.operations.initializers import glorot_uniform, orthogonal
from seqjax.operations.normalization import LayerNorm, layer_norm
from seqjax.types import Activation, Array, Cell, Noise, Role, State, with_roles


class Peepholes(NamedTuple):
    """The kernels through which the gates of an LSTM see its memory; None for a gate without."""

    i: Array | None = None  # [H], a diagonal: unit by unit
    f: Array | None = None  # [H]
    o: Array | None = None  # [H]


class LSTMNormParams(NamedTuple):
    """Parameters of the layer norms of an LSTM; the bias is the shift of its gates."""

    gate_gain: Array  # [4H], in the order of the kernels
    memory_gain: Array  # [H]
    memory_shift: Array  # [H]


class LSTMParams(NamedTuple):
    """Parameters of `LSTM`; gates in the order i, f, g, o.

    Those of `CoupledInputForgetGateLSTM` have 3H columns, in the order f, g, o. R is the width of
    the output: that of the projection, or else H.
    """

    input_kernel: Array  # [D, 4H]
    recurrent_kernel: Array  # [R, 4H]
    bias: Array  # [4H], the forget bias included
    peepholes: Peepholes = Peepholes()
    projection_kernel: Array | None = None  # [H, R], only with a projection
    norm: LSTMNormParams | None = None  # only with layer norm


class LSTMState(NamedTuple):
    """The state of an LSTM."""

    c: Array  # [B, H], the memory
    h: Array  # [B, R], the output


class LSTMProjected(NamedTuple):
    """What an LSTM needs of its inputs at each step."""

    gates: tuple[Array, ...]  # [B, H] for each gate, or all in one with layer norm
    kept: Array | None  # bool[B, H], the candidates that recurrent dropout keeps


@dataclasses.dataclass(frozen=True)
class LSTM(Cell):
    """The LSTM with a forget gate; gate order i, f, g, o (input, forget, candidate, output)::

        i  = sigmoid(x @ W_i + h @ U_i + b_i)
        f  = sigmoid(x @ W_f + h @ U_f + b_f)
        g  = activation(x @ W_g + h @ U_g + b_g)
        o  = sigmoid(x @ W_o + h @ U_o + b_o)
        c' = f * c + i * g
        h' = o * activation(c')

    The output is ``h'``. The options change that, where they act on the same in this order::

        layer_norm         gain * norm(x @ W + h @ U) + b in every gate and the candidate,
                           c' = gain * norm(f * c + i * g) + shift
        peepholes          + p_i * c in i, + p_f * c in f, + p_o * c' in o
        recurrent_dropout  g / (1 - rate), or 0 with the probability of the rate
        cell_clip          c' within +-cell_clip
        projection_size    h' = (o * activation(c')) @ P
        projection_clip    h' within +-projection_clip

    TensorFlow's ``LSTMCell``, ``BasicLSTMCell``, ``LayerNormLSTMCell``, ``LayerNormBasicLSTMCell``
    and, with ``straight_through``, ``LSTMBlockCell``; but for the forget bias, which is here a part
    of the initial ``b_f`` and not added at run time, and the gate order.

    Args:
      units: H, the width of the memory, and of the output without a projection.
      forget_bias: the initial ``b_f``; a memory that starts out open learns longer dependencies.
      activation: of the candidate and of the memory.
      peepholes: let the gates see the memory.
      cell_clip: the largest absolute value of the memory, or None.
      straight_through: let the gradient pass the clip of the memory as if there were none.
      projection_size: R, the width of the output, or None.
      projection_clip: the largest absolute value of the output of a projection, or None.
      layer_norm: what the gains and shifts of layer normalisation start at, or None for none.
      recurrent_dropout: the rate at which units of the candidate are dropped, anew at every step;
        what the memory holds already is never dropped.
      gate_activation: of the gates; Keras's ``recurrent_activation``.

    Raises:
      ValueError: a size is not a whole number of at least 1, a clip is not above 0, a rate is not
        in [0, 1), or an option stands without the one that it is about.

    References: Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers, Schmidhuber and
    Cummins, "Learning to forget", 2000; Gers and Schmidhuber, "Recurrent nets that time and count",
    2000, for peepholes; Sak, Senior and Beaufays, "Long short-term memory recurrent neural network
    architectures for large scale acoustic modeling", 2014, for the projection; Ba, Kiros and
    Hinton, "Layer normalization", 2016; Semeniuta, Severyn and Barth, "Recurrent dropout without
    memory loss", 2016.

    >>> from seqjax import LSTM, LayerNorm, unroll
    >>> cell = LSTM(units=6, peepholes=True, projection_size=4, layer_norm=LayerNorm())
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.c.shape, state.h.shape, ys.shape
    ((2, 6), (2, 4), (2, 7, 4))
    """

    units: int
    forget_bias: float = 1.0
    activation: Activation = jnp.tanh
    peepholes: bool = False
    cell_clip: float | None = None
    straight_through: bool = False
    projection_size: int | None = None
    projection_clip: float | None = None
    layer_norm: LayerNorm | None = None
    recurrent_dropout: float = 0.0
    gate_activation: Activation = jax.nn.sigmoid

    _gates: ClassVar[str] = "ifgo"

    def __post_init__(self) -> None:
        super().__post_init__()
        name = type(self).__name__
        check_size(name, "units", self.units)
        check_clip(name, "cell_clip", self.cell_clip)
        check_clip(name, "projection_clip", self.projection_clip)
        check_rate(name, "recurrent_dropout", self.recurrent_dropout)
        if self.projection_size is not None:
            check_size(name, "projection_size", self.projection_size)
        for option, about in (
            ("straight_through", "cell_clip"),
            ("projection_clip", "projection_size"),
        ):
            if getattr(self, option) and getattr(self, about) is None:
                raise ValueError(
                    f"{name}: {option}={getattr(self, option)} does nothing without {about}; "
                    "give both or neither"
                )
        if not isinstance(self.layer_norm, LayerNorm | None):
            raise ValueError(
                f"{name}: layer_norm must be a LayerNorm, such as LayerNorm(), or None, "
                f"got {self.layer_norm!r}"
            )

    @property
    def output_size(self) -> int:
        """R."""
        return self.units if self.projection_size is None else self.projection_size

    @property
    def is_noisy(self) -> bool:
        """With recurrent dropout."""
        return self.recurrent_dropout > 0

    @property
    def roles(self) -> State:
        """The memory and the hidden vector."""
        return with_roles(LSTMState, Role.MEMORY, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """The output is ``h``."""
        return True

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LSTMParams:
        """Draw Glorot and orthogonal kernels; peepholes and all biases but the forget's are 0."""
        check_size(type(self).__name__, "input_size", input_size)
        input_key, recurrent_key, projection_key = jax.random.split(key, 3)
        H, G = self.units, len(self._gates)
        params = LSTMParams(
            self._input_kernel(input_key, input_size, dtype),
            self._recurrent_kernel(recurrent_key, dtype),
            self.initial_bias(dtype),
        )
        if self.peepholes:
            zeros = {gate: jnp.zeros(H, dtype) for gate in self._gates if gate != "g"}
            params = params._replace(peepholes=Peepholes(**zeros))
        if self.projection_size is not None:
            kernel = glorot_uniform(projection_key, (H, self.projection_size), dtype=dtype)
            params = params._replace(projection_kernel=kernel)
        if self.layer_norm is not None:
            gain, shift = self.layer_norm.gain, self.layer_norm.shift
            norm = LSTMNormParams(
                jnp.full(G * H, gain, dtype), jnp.full(H, gain, dtype), jnp.full(H, shift, dtype)
            )
            params = params._replace(bias=params.bias + shift, norm=norm)
        return params

    def initial_bias(self, dtype: Any = jnp.float32) -> Array:
        """``[4H]``, ``forget_bias`` for f and 0 for the other gates."""
        f, H = self._gates.index("f"), self.units
        return jnp.zeros(len(self._gates) * H, dtype).at[f * H : (f + 1) * H].set(self.forget_bias)

    def input_size(self, params: LSTMParams) -> int:
        """D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """``c = h = 0``."""
        return LSTMState(
            jnp.zeros((*batch_shape, self.units), dtype),
            jnp.zeros((*batch_shape, self.output_size), dtype),
        )

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Draw which candidates recurrent dropout keeps, ``bool[T, B, H]``."""
        if not self.recurrent_dropout:
            return None
        return jax.random.bernoulli(key, 1 - self.recurrent_dropout, (*leading_shape, self.units))

    def project(self, params: LSTMParams, xs: Array, noise: Noise = None) -> LSTMProjected:
        """``x @ W`` of each gate, each ``[..., H]``, and ``+ b`` unless a norm comes before it."""
        z = self._of_input(params, xs)
        if params.norm is not None:
            return LSTMProjected((z,), noise)
        return LSTMProjected(
            split_gates(z + broadcast_like(params.bias, z), len(self._gates)), noise
        )

    def step(
        self, params: LSTMParams, state: LSTMState, z: LSTMProjected
    ) -> tuple[LSTMState, Array]:
        """The equations above, given the part of the input."""
        gates = self._gates_of(params, state.h, z)
        c = self._memory(params, state.c, gates[:-1], z.kept)
        o = self.gate_activation(_peep(gates[-1], params.peepholes.o, c))
        h = o * self.activation(c)
        if params.projection_kernel is not None:
            h = affine(h, params.projection_kernel)
        if self.projection_clip is not None:
            h = _clip(h, self.projection_clip)
        return LSTMState(c, h), h

    def merge_embedding(self, params: LSTMParams, table: Array) -> LSTMParams | None:
        """Parameters whose input kernel is ``table @ input_kernel``."""
        return params._replace(input_kernel=affine(table, params.input_kernel))

    def cudnn_weights(self, params: LSTMParams) -> Array | None:
        """All kernels, in the gate order of cuDNN, which is this one's, and its two biases."""
        if self != LSTM(self.units, self.forget_bias):
            return None
        kernels = [k.T.reshape(-1) for k in (params.input_kernel, params.recurrent_kernel)]
        return jnp.concatenate([*kernels, params.bias, jnp.zeros_like(params.bias)])

    # What a variant of the LSTM may differ in:

    def _input_kernel(self, key: Array, input_size: int, dtype: Any) -> Array:
        return glorot_uniform(key, (input_size, self.units), len(self._gates), dtype)

    def _recurrent_kernel(self, key: Array, dtype: Any) -> Array:
        return orthogonal(key, self.units, len(self._gates), dtype, rows=self.output_size)

    def _of_input(self, params: LSTMParams, xs: Array) -> Array:
        return affine(xs, params.input_kernel)

    def _of_state(self, params: LSTMParams, h: Array) -> Array:
        return affine(h, params.recurrent_kernel)

    def _candidate(self, g: Array) -> Array:
        return self.activation(g)

    # The equations, a part at a time:

    def _gates_of(self, params: LSTMParams, h: Array, z: LSTMProjected) -> tuple[Array, ...]:
        """The gates without their peepholes, ``[..., H]`` each."""
        recurrent = split_gates(self._of_state(params, h), len(z.gates))
        gates = tuple(z_x + z_h for z_x, z_h in zip(z.gates, recurrent, strict=True))
        if params.norm is None:
            return gates
        side_by_side, gain, shift = (
            a.reshape(*a.shape[:-1], len(self._gates), self.units)
            for a in (*gates, params.norm.gate_gain, params.bias)
        )
        normalised = layer_norm(side_by_side, gain, shift)
        return tuple(normalised[..., n, :] for n in range(len(self._gates)))

    def _memory(
        self, params: LSTMParams, c: Array, gates: tuple[Array, ...], kept: Array | None
    ) -> Array:
        *z_i, z_f, z_g = gates
        f = self.gate_activation(_peep(z_f, params.peepholes.f, c))
        # no input gate of its own where it is coupled to the forget gate
        i = self.gate_activation(_peep(z_i[0], params.peepholes.i, c)) if z_i else 1 - f
        g = self._candidate(z_g)
        if kept is not None:
            g = jnp.where(kept, g / (1 - self.recurrent_dropout), 0)
        c = f * c + i * g
        if params.norm is not None:
            c = layer_norm(c, params.norm.memory_gain, params.norm.memory_shift)
        if self.cell_clip is not None:
            c = _clip(c, self.cell_clip, self.straight_through)
        return c


@dataclasses.dataclass(frozen=True)
class CoupledInputForgetGateLSTM(LSTM):
    """The LSTM that takes in as much as it forgets; gate order f, g, o (no input gate)::

        f  = sigmoid(x @ W_f + h @ U_f + b_f)
        g  = activation(x @ W_g + h @ U_g + b_g)
        o  = sigmoid(x @ W_o + h @ U_o + b_o)
        c' = f * c + (1 - f) * g
        h' = o * activation(c')

    TensorFlow's ``CoupledInputForgetGateLSTMCell``. Kernels and bias are ``[..., 3H]``, and there
    are peepholes into f and o only. All else is as in `LSTM`.

    Args:
      units: H. This and all other options are those of `LSTM`.

    Raises:
      ValueError: as in `LSTM`.

    Reference: Greff, Srivastava, Koutnik, Steunebrink and Schmidhuber, "LSTM: a search space
    odyssey", 2017.

    >>> from seqjax import CoupledInputForgetGateLSTM, unroll
    >>> cell = CoupledInputForgetGateLSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> params.input_kernel.shape, ys.shape
    ((3, 12), (2, 7, 4))
    """

    _gates: ClassVar[str] = "fgo"


def _peep(gate: Array, peephole: Array | None, c: Array) -> Array:
    return gate if peephole is None else gate + affine(c, peephole)


def _clip(a: Array, bound: float, straight_through: bool = False) -> Array:
    return _clip_straight_through(a, bound) if straight_through else jnp.clip(a, -bound, bound)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _clip_straight_through(a: Array, bound: float) -> Array:
    return jnp.clip(a, -bound, bound)


@_clip_straight_through.defjvp
def _pass(bound: float, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _clip_straight_through(*primals, bound), *tangents
