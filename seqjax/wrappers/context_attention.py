"""A cell that attends to a context, such as the outputs of an encoder."""

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from seqjax.attention.heads import Heads
from seqjax.attention.mechanism import Alignment, Mechanism
from seqjax.checks import check_choice, check_size
from seqjax.operations.affine import affine
from seqjax.operations.features import check_features
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import (
    Activation,
    Array,
    Context,
    Loop,
    Noise,
    Params,
    Projected,
    PyTree,
    Role,
    State,
    with_roles,
)
from seqjax.wrappers.wrapper import ParametrisedWrapper, Wrapper, check_one_axis

Outputs = Literal["attention", "cell", "both"]


class ContextAttentionParams(NamedTuple):
    """Parameters of `ContextAttention`.

    Attributes:
      cell: the parameters of the wrapped cell.
      mechanism: those of the mechanism, arrays ``[N, ...]``, one for each head.
      value_kernel: ``[M, N * size]``; None if the values are the memory.
      attention_kernel: ``[H + C, A]``; None if there is no attention layer.
      context: the `seqjax.types.Context` that `seqjax.with_context` binds; None in `Cell.init`.
    """

    cell: Params
    mechanism: Params
    value_kernel: Array | None = None
    attention_kernel: Array | None = None
    context: Context | None = None


class ContextAttentionState(NamedTuple):
    """The state of `ContextAttention`.

    Attributes:
      cell: the state of the wrapped cell.
      attention: ``[B, A]``, the last attention vector.
      alignment: the last `seqjax.attention.Alignment`, with weights ``[B, N, S]``.
    """

    cell: State
    attention: Array
    alignment: Alignment


class ContextAttentionNoise(NamedTuple):
    """The noise of `ContextAttention`.

    Attributes:
      cell: the noise of the wrapped cell.
      mechanism: the noise of the mechanism.
    """

    cell: Noise
    mechanism: Noise


@dataclasses.dataclass(frozen=True)
class ContextAttention(ParametrisedWrapper):
    """A cell that attends to a context, such as the outputs of an encoder.

    Maps ``[B, T, D]`` to ``[B, T, A]``; the state is a `ContextAttentionState`::

        s', h = cell(s, concat(x, a))               with input feeding, otherwise cell(s, x)
        w     = mechanism(h, keys)                  for each of N heads, [S]
        c     = concat over heads of sum over s of w_s * value_s
        a'    = activation(concat(h, c) @ W_a)      or c without an attention layer
        y     = a'

    The context is bound to the parameters once, which projects it to keys and values::

        memory = unroll(encoder, params.encoder, source, lengths=lengths)[1]
        bound  = seqjax.with_context(cell, params.decoder, memory, lengths=lengths)
        state, ys = seqjax.unroll(cell, bound, xs)

    Positions past the lengths have a weight of 0. A row without valid positions has weights of 0
    and so a context vector of 0. The weights are part of the state, and
    `seqjax.WithState` outputs them at every step. `Cell.initial_state` knows no context, so its
    weights are ``[B, N, 0]``; use `Cell.first_state` with bound parameters.

    Without input feeding, and if the mechanism does not use its history, all steps attend at once
    after the wrapped cell has run over the whole sequence.

    With input feeding and an attention layer, this is TensorFlow's ``AttentionWrapper``, in which
    several heads are several mechanisms. ``activation=jnp.tanh`` gives the attention of Luong et
    al. Around a `Stack`, the top layer attends. As the lowest layer of a stack, with
    ``outputs="both"`` and with `KeepFeatures` around the layers above, it gives the decoder of
    Google's translation system.

    Args:
      cell: the wrapped cell, whose outputs have one feature axis.
      mechanism: how a query weighs positions, such as `seqjax.attention.Additive`.
      memory_size: M, the width of the memory.
      size: A, the width of the attention layer, or None for no layer.
      heads: N, the number of heads, each with its own parameters.
      value_size: the width of the values of each head, which are then projected from the memory;
        None if the memory is the values of all heads.
      input_feeding: whether the wrapped cell also reads the last attention vector.
      activation: the activation of the attention layer.
      outputs: the output ``y``: the ``"attention"`` vector, the output of the ``"cell"``, or
        ``"both"``, as ``concat(h, a')``.

    Raises:
      ValueError: an argument has the wrong type or value.

    Reference: Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align
    and translate", 2015; Luong, Pham and Manning, "Effective approaches to attention-based neural
    machine translation", 2015 (input feeding, attention layer).

    >>> import seqjax
    >>> from seqjax.attention import Additive
    >>> cell = ContextAttention(seqjax.LSTM(4), Additive(8), memory_size=6, size=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> memory = jnp.ones((2, 5, 6), jnp.float32)
    >>> bound = seqjax.with_context(cell, params, memory, lengths=jnp.array([5, 2]))
    >>> state, ys = seqjax.unroll(cell, bound, jnp.ones((2, 7, 3), jnp.float32))
    >>> ys.shape, state.alignment.weights.shape
    ((2, 7, 4), (2, 1, 5))
    >>> print(state.alignment.weights[1, 0])
    [0.5 0.5 0.  0.  0. ]
    """

    mechanism: Mechanism
    memory_size: int
    size: int | None = None
    heads: int = 1
    value_size: int | None = None
    input_feeding: bool = True
    activation: Activation = jax.nn.identity
    outputs: Outputs = "attention"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_one_axis("ContextAttention", self.cell)
        if not isinstance(self.mechanism, Mechanism):
            raise ValueError(
                "ContextAttention: mechanism must be an attention mechanism, such as "
                f"seqjax.attention.Additive(64), got {self.mechanism!r}"
            )
        check_size("ContextAttention", "memory_size", self.memory_size)
        check_size("ContextAttention", "heads", self.heads)
        for name in ("size", "value_size"):
            if getattr(self, name) is not None:
                check_size("ContextAttention", name, getattr(self, name))
        check_choice("outputs", self.outputs, get_args(Outputs))

    @property
    def attention_size(self) -> int:
        """A, the width of the attention vector."""
        return self._heads.output_size if self.size is None else self.size

    @property
    def _heads(self) -> Heads:
        return Heads(self.mechanism, self.heads, self.memory_size, self.value_size)

    @property
    def output_size(self) -> int:
        """The number of output features."""
        sizes = {"attention": self.attention_size, "cell": self.cell.output_size}
        return sizes.get(self.outputs, sum(sizes.values()))

    @property
    def is_noisy(self) -> bool:
        """Whether the wrapped cell or the mechanism is noisy."""
        return self.cell.is_noisy or self.mechanism.is_noisy

    @property
    def outputs_hidden(self) -> bool:
        """Whether the output is that of a cell that outputs its hidden vector."""
        return self.outputs == "cell" and self.cell.outputs_hidden

    @property
    def prefers_scan(self) -> bool:
        """True: the coefficients of the context are as large as the context."""
        return True

    @property
    def roles(self) -> State:
        """The roles of the wrapped cell; the weights are ``Role.ALIGNMENT``."""
        history = jax.eval_shape(lambda: self.mechanism.first((), 0)).history
        joint = jax.tree.map(lambda _: Role.JOINT, history)
        alignment = with_roles(Alignment, Role.ALIGNMENT, joint)
        return with_roles(ContextAttentionState, self.cell.roles, Role.OTHER, alignment)

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> ContextAttentionParams:
        """Initialise the wrapped cell, a mechanism for each head, and Glorot kernels."""
        check_size("ContextAttention", "input_size", input_size)
        of_cell, of_mechanism, of_values, of_layer = jax.random.split(key, 4)
        query_size = self.cell.output_size
        layer = None
        if self.size is not None:
            shape = query_size + self._heads.output_size, self.size
            layer = glorot_uniform(of_layer, shape, dtype=dtype)
        return ContextAttentionParams(
            self.cell.init(of_cell, input_size + self._fed_size, dtype),
            self._heads.init_mechanisms(of_mechanism, query_size, dtype),
            self._heads.init_values(of_values, dtype),
            layer,
        )

    @property
    def _fed_size(self) -> int:
        return self.attention_size if self.input_feeding else 0

    def input_size(self, params: ContextAttentionParams) -> int:
        """Return the number of input features, D."""
        return self.cell.input_size(params.cell) - self._fed_size

    def leading_shape(self, params: ContextAttentionParams, xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes of ``xs``, after a check of its features."""
        return super(Wrapper, self).leading_shape(params, xs)

    def with_context(
        self, params: ContextAttentionParams, memory: Array, mask: Array
    ) -> ContextAttentionParams:
        """Project the memory to keys and values, and bind them to the parameters."""
        inner = self.cell.with_context(params.cell, memory, mask)
        cell = params.cell if inner is None else inner
        context = self._heads.project(params.mechanism, params.value_kernel, memory, mask)
        return params._replace(cell=cell, context=context)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> ContextAttentionState:
        """Return the zero state of the wrapped cell, for a context without positions."""
        return self._start(self.cell.initial_state(batch_shape, dtype), batch_shape, 0, dtype)

    def first_state(
        self,
        params: ContextAttentionParams,
        batch_shape: tuple[int, ...] = (),
        dtype: Any = jnp.float32,
    ) -> ContextAttentionState:
        """Return the first state of the wrapped cell, for the context of ``params``."""
        positions = self._context(params).mask.shape[-1]
        first = self.cell.first_state(params.cell, batch_shape, dtype)
        return self._start(first, batch_shape, positions, dtype)

    def _start(
        self, cell: State, batch_shape: tuple[int, ...], positions: int, dtype: Any
    ) -> ContextAttentionState:
        return ContextAttentionState(
            cell,
            jnp.zeros((*batch_shape, self.attention_size), dtype),
            self.mechanism.first((*batch_shape, self.heads), positions, dtype),
        )

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: int
    ) -> ContextAttentionNoise:
        """Draw the noise of the wrapped cell and of the mechanism."""
        of_cell, of_mechanism = jax.random.split(key)
        return ContextAttentionNoise(
            self.cell.draw_noise(of_cell, leading_shape, input_size + self._fed_size),
            self.mechanism.draw_noise(of_mechanism, (*leading_shape, self.heads)),
        )

    def project(
        self, params: ContextAttentionParams, xs: Array, noise: Noise = None
    ) -> tuple[Projected, ContextAttentionNoise]:
        """Pass on the inputs with input feeding; otherwise project them for the wrapped cell."""
        noise = noise or ContextAttentionNoise(None, None)
        if self.input_feeding:
            check_features("ContextAttention", xs)
            return xs, noise
        return self.cell.project(params.cell, xs, noise.cell), noise

    def step(
        self,
        params: ContextAttentionParams,
        state: ContextAttentionState,
        z: tuple[Projected, ContextAttentionNoise],
    ) -> tuple[ContextAttentionState, Array]:
        """Step the wrapped cell, then attend."""
        of_input, noise = z
        if self.input_feeding:
            x = jnp.concatenate([of_input.astype(state.attention.dtype), state.attention], -1)
            of_input = self.cell.project(params.cell, x, noise.cell)
        inner, h = self.cell.step(params.cell, state.cell, of_input)
        attention, alignment = self._attend(params, h, state.alignment, noise.mechanism)
        return ContextAttentionState(inner, attention, alignment), self._output(h, attention)

    def sequence(
        self,
        loop: Loop,
        params: ContextAttentionParams,
        state: ContextAttentionState,
        xs: Array,
        noise: Noise = None,
    ) -> tuple[ContextAttentionState, Array]:
        """Run step by step, or attend at all steps at once if no step depends on the last one."""
        if self.input_feeding or self.mechanism.uses_history or loop.resets:
            return loop.run(self, params, state, xs, noise)
        noise = noise or ContextAttentionNoise(None, None)
        inner, hs = self.cell.sequence(loop, params.cell, state.cell, xs, noise.cell)

        def one_step(h: Array, noise: Noise) -> tuple[Array, Alignment]:
            return self._attend(params, h, state.alignment, noise)

        attention, alignment = jax.vmap(one_step)(hs, noise.mechanism)
        ys = self._output(hs, attention)
        last = loop.last((attention, alignment), (state.attention, state.alignment))
        return ContextAttentionState(inner, *last), ys

    def _attend(
        self, params: ContextAttentionParams, query: Array, before: Alignment, noise: Noise
    ) -> tuple[Array, Alignment]:
        """The attention vector and alignment for ``query [B, H]``."""
        context = self._context(params)
        found, alignment = self._heads.attend(params.mechanism, context, query, before, noise)
        if params.attention_kernel is None:
            return found, alignment
        joined = jnp.concatenate([query, found.astype(query.dtype)], -1)
        return self.activation(affine(joined, params.attention_kernel)), alignment

    def _output(self, h: Array, attention: Array) -> Array:
        if self.outputs == "both":
            return jnp.concatenate([h, attention], -1)
        return h if self.outputs == "cell" else attention

    def _context(self, params: ContextAttentionParams) -> Context:
        if params.context is None:
            raise ValueError(
                "ContextAttention: the parameters hold no context; bind one with "
                "seqjax.with_context(cell, params, memory, lengths=lengths)"
            )
        self._heads.check(params.mechanism, params.value_kernel, params.context)
        return params.context
