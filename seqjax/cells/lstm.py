"""The long short-term memory: one set of equations for all of its variants."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.cells.peepholes import Peepholes, peep
from seqjax.checks import check_clip, check_rate, check_size
from seqjax.operations.affine import affine, broadcast_like, split_gates
from seqjax.operations.clipping import clip
from seqjax.operations.initializers import gate_biases, glorot_uniform, orthogonal
from seqjax.operations.normalization import LayerNorm, layer_norm
from seqjax.types import Activation, Array, Cell, Noise, Role, State, with_roles


class LSTMNormParams(NamedTuple):
    """Parameters of layer normalisation in an LSTM; ``bias`` of `LSTMParams` holds the gate shifts.

    Attributes:
      gate_gain: ``[4H]``, with gates in the order of the kernels.
      memory_gain: ``[H]``.
      memory_shift: ``[H]``.
    """

    gate_gain: Array
    memory_gain: Array
    memory_shift: Array


class LSTMParams(NamedTuple):
    """Parameters of `LSTM`, with gates in the order i, f, g, o.

    R is the width of the output: ``projection_size``, or H. A `CoupledInputForgetGateLSTM` has 3H
    columns in the order f, g, o. The recurrent kernel of an `IndyLSTM` is ``[4H]``, and the kernels
    of a `GLSTM` hold the blocks of their groups side by side.

    Attributes:
      input_kernel: ``[D, 4H]``.
      recurrent_kernel: ``[R, 4H]``.
      bias: ``[4H]``, including the forget bias.
      peepholes: `Peepholes`, whose kernels are None if there are no peepholes.
      projection_kernel: ``[H, R]``; None if there is no projection.
      norm: `LSTMNormParams`; None if there is no layer normalisation.
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array
    peepholes: Peepholes = Peepholes()
    projection_kernel: Array | None = None
    norm: LSTMNormParams | None = None


class LSTMState(NamedTuple):
    """The state of an LSTM.

    Attributes:
      c: ``[B, H]``, the memory.
      h: ``[B, R]``, the output of the last step.
    """

    c: Array
    h: Array


class LSTMProjected(NamedTuple):
    """The projected inputs of an LSTM.

    Attributes:
      gates: ``[B, H]`` for each gate.
      kept: ``bool[B, H]``, the candidates that recurrent dropout keeps; None if there is no
        dropout.
    """

    gates: tuple[Array, ...]
    kept: Array | None


@dataclasses.dataclass(frozen=True)
class LSTM(Cell):
    """The long short-term memory (LSTM) with a forget gate.

    Maps ``[B, T, D]`` to ``[B, T, R]``; the state is ``c``, ``[B, H]``, and ``h``, ``[B, R]``. R is
    ``projection_size``, or H. The gate order is i, f, g, o (input, forget, candidate,
    output)::

        i  = sigmoid(x @ W_i + h @ U_i + b_i)
        f  = sigmoid(x @ W_f + h @ U_f + b_f)
        g  = activation(x @ W_g + h @ U_g + b_g)
        o  = sigmoid(x @ W_o + h @ U_o + b_o)
        c' = f * c + i * g
        h' = o * activation(c')

    The output is ``h'``. The options change these equations; options for the same quantity apply in
    this order::

        layer_norm         gain * norm(x @ W + h @ U) + b in every gate and the candidate,
                           c' = gain * norm(f * c + i * g) + shift
        peepholes          + p_i * c in i, + p_f * c in f, + p_o * c' in o
        recurrent_dropout  g / (1 - rate), or 0 with probability rate
        cell_clip          clip c' to [-cell_clip, cell_clip]
        projection_size    h' = (o * activation(c')) @ P
        projection_clip    clip h' to [-projection_clip, projection_clip]

    The cell corresponds to TensorFlow's ``LSTMCell``, ``BasicLSTMCell``, ``LayerNormLSTMCell``,
    ``LayerNormBasicLSTMCell`` and, with ``straight_through``, ``LSTMBlockCell``. Their gate order
    differs, and they add the forget bias at run time, whereas here it is part of the initial
    ``b_f``.

    Args:
      units: H, the width of the memory.
      forget_bias: the initial ``b_f``. A forget gate that starts open helps to learn long
        dependencies.
      activation: applied to the candidate and to the memory.
      peepholes: whether the gates read the memory.
      cell_clip: the largest absolute value of the memory, or None for no limit.
      straight_through: whether the gradient ignores ``cell_clip``.
      projection_size: R, the width of the output, or None for no projection.
      projection_clip: the largest absolute value of the projected output, or None for no limit.
      layer_norm: the initial gain and shift of layer normalisation, or None to omit it.
      recurrent_dropout: the rate at which each step drops units of the candidate. The memory itself
        is never dropped.
      gate_activation: applied to the gates; Keras's ``recurrent_activation``.

    Raises:
      ValueError: a size is not a whole number of at least 1, a clip is not above 0, a rate is not
        in [0, 1), or an option is given without the option that it depends on.

    References: Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers, Schmidhuber and
    Cummins, "Learning to forget", 2000; Gers and Schmidhuber, "Recurrent nets that time and count",
    2000, for peepholes; Sak, Senior and Beaufays, "Long short-term memory recurrent neural network
    architectures for large scale acoustic modeling", 2014, for the projection; Ba, Kiros and
    Hinton, "Layer normalization", 2016; Semeniuta, Severyn and Barth, "Recurrent dropout without
    memory loss", 2016.

    >>> from seqjax import LSTM, unroll
    >>> from seqjax.cells import LayerNorm
    >>> cell = LSTM(units=6, peepholes=True, projection_size=4, layer_norm=LayerNorm())
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = unroll(cell, params, jnp.ones((2, 7, 3), jnp.float32))
    >>> state.c.shape, state.h.shape, ys.shape
    ((2, 6), (2, 4), (2, 7, 4))
    """

    units: int
    _: dataclasses.KW_ONLY
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
        """The number of output features, R."""
        return self.units if self.projection_size is None else self.projection_size

    @property
    def is_noisy(self) -> bool:
        """Whether there is recurrent dropout."""
        return self.recurrent_dropout > 0

    @property
    def roles(self) -> State:
        """``c`` is the memory and ``h`` the hidden vector."""
        return with_roles(LSTMState, Role.MEMORY, Role.HIDDEN)

    @property
    def outputs_hidden(self) -> bool:
        """True: the output is ``h``."""
        return True

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> LSTMParams:
        """Initialise Glorot input kernels, orthogonal recurrent kernels and the forget bias.

        The projection kernel is Glorot. Peepholes and the other biases are 0, and `LayerNorm` gives
        the gains and shifts of layer normalisation.
        """
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
        """Return the initial bias ``[4H]``: ``forget_bias`` for f and 0 for the other gates."""
        values = [self.forget_bias if gate == "f" else 0 for gate in self._gates]
        return gate_biases(values, self.units, dtype)

    def input_size(self, params: LSTMParams) -> int:
        """Return the number of input features, D."""
        return params.input_kernel.shape[0]

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> LSTMState:
        """Return ``c = h = 0``."""
        return LSTMState(
            jnp.zeros((*batch_shape, self.units), dtype),
            jnp.zeros((*batch_shape, self.output_size), dtype),
        )

    def draw_noise(self, key: Array, leading_shape: tuple[int, ...], input_size: int) -> Noise:
        """Draw the candidates that recurrent dropout keeps, ``bool[T, B, H]``."""
        if not self.recurrent_dropout:
            return None
        return jax.random.bernoulli(key, 1 - self.recurrent_dropout, (*leading_shape, self.units))

    def project(self, params: LSTMParams, xs: Array, noise: Noise = None) -> LSTMProjected:
        """Compute ``x @ W + b`` of each gate, ``[..., H]``; with layer normalisation ``x @ W``."""
        z = self._of_input(params, xs)
        if params.norm is None:
            z = z + broadcast_like(params.bias, z)
        return LSTMProjected(split_gates(z, len(self._gates)), noise)

    def step(
        self, params: LSTMParams, state: LSTMState, z: LSTMProjected
    ) -> tuple[LSTMState, Array]:
        """Compute ``c'`` and ``h'`` from the state and the projected inputs."""
        gates = self._gates_of(params, state.h, z)
        c = self._memory(params, state.c, gates[:-1], z.kept)
        o = self.gate_activation(peep(gates[-1], params.peepholes.o, c))
        h = o * self.activation(c)
        if params.projection_kernel is not None:
            h = affine(h, params.projection_kernel)
        if self.projection_clip is not None:
            h = clip(h, self.projection_clip)
        return LSTMState(c, h), h

    def merge_embedding(self, params: LSTMParams, table: Array) -> LSTMParams | None:
        """Replace the input kernel by ``table @ input_kernel``."""
        return params._replace(input_kernel=affine(table, params.input_kernel))

    def cudnn_weights(self, params: LSTMParams) -> Array | None:
        """Return the kernels and the two biases of cuDNN, which has the same gate order."""
        if self != LSTM(self.units, forget_bias=self.forget_bias):
            return None
        kernels = [k.T.reshape(-1) for k in (params.input_kernel, params.recurrent_kernel)]
        return jnp.concatenate([*kernels, params.bias, jnp.zeros_like(params.bias)])

    # Variants override:

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

    def _gates_of(self, params: LSTMParams, h: Array, z: LSTMProjected) -> tuple[Array, ...]:
        """Compute the gates before their peepholes and activations, each ``[..., H]``."""
        recurrent = split_gates(self._of_state(params, h), len(self._gates))
        gates = tuple(z_x + z_h for z_x, z_h in zip(z.gates, recurrent, strict=True))
        if params.norm is None:
            return gates
        # one gate at a time, since gates sliced from one normalised array take longer
        gains, shifts = (split_gates(a, len(gates)) for a in (params.norm.gate_gain, params.bias))
        return tuple(map(layer_norm, gates, gains, shifts))

    def _memory(
        self, params: LSTMParams, c: Array, gates: tuple[Array, ...], kept: Array | None
    ) -> Array:
        *z_i, z_f, z_g = gates
        f = self.gate_activation(peep(z_f, params.peepholes.f, c))
        # a coupled input gate has no columns in z
        i = self.gate_activation(peep(z_i[0], params.peepholes.i, c)) if z_i else 1 - f
        g = self._candidate(z_g)
        if kept is not None:
            g = jnp.where(kept, g / (1 - self.recurrent_dropout), 0)
        c = f * c + i * g
        if params.norm is not None:
            c = layer_norm(c, params.norm.memory_gain, params.norm.memory_shift)
        if self.cell_clip is not None:
            c = clip(c, self.cell_clip, self.straight_through)
        return c
