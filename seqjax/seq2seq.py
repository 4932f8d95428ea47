"""Encoder-decoder models, from one sequence to another.

An encoder reads the source. A decoder, which is a model of the next token, writes the target. It
gets to know the source by attention (`seqjax.ContextAttention`), by an initial state computed from
the encoder's final state, or by both::

    import seqjax
    from seqjax.attention import Additive

    encoder = seqjax.InputProjection(seqjax.Bidirectional(seqjax.LSTM(64), seqjax.LSTM(64)), 32)
    attending = seqjax.ContextAttention(seqjax.LSTM(128), Additive(64), memory_size=128, size=128)
    decoder = seqjax.LanguageModel(attending, vocabulary_size=42, embedding_size=32)
    model = seqjax.seq2seq.EncoderDecoder(encoder, decoder)

    params = model.init(key, source_size=28)
    inputs = seqjax.seq2seq.shift_right(targets, start=0)
    logits = model.logits(params, source, inputs, source_lengths=n, target_lengths=m)
    loss = seqjax.sequence_loss(logits, targets, lengths=m)

`EncoderDecoder.encode` returns what `seqjax.decoding` needs to write a target.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.arrays import as_arrays, as_params, describe_tree
from seqjax.checks import check_count, check_dtype, check_flag, check_key, describe_type
from seqjax.engine.context import with_context
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import check_can_step, check_cell, check_params
from seqjax.operations.affine import accumulation_dtype, affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import Array, Cell, Params, PyTree, Role, Size, State
from seqjax.values import PlainValue


class BridgeParams(NamedTuple):
    """Parameters that compute one array of the decoder's initial state.

    Attributes:
      kernel: ``[E, H]``; E is the total width of the encoder's final hidden vectors and memories.
      bias: ``[H]``.
    """

    kernel: Array
    bias: Array


class EncoderDecoderParams(NamedTuple):
    """Parameters of `EncoderDecoder`.

    Attributes:
      encoder: the parameters of the encoder.
      decoder: the parameters of the decoder.
      bridge: one `BridgeParams` for each hidden vector and memory of the decoder; None if the
        decoder starts from its own first state.
    """

    encoder: Params
    decoder: Params
    bridge: tuple[BridgeParams, ...] | None


class Encoded(NamedTuple):
    """A source, ready for the decoder.

    Attributes:
      params: the parameters of the decoder, with the source as their context.
      state: the state of the decoder before its first step.
    """

    params: Params
    state: State


@dataclasses.dataclass(frozen=True)
class EncoderDecoder(PlainValue):
    """A model of a target sequence given a source sequence.

    The encoder maps the source ``[B, S]`` or ``[B, S, D]`` to the memory ``[B, S, M]``. The decoder
    maps the target tokens ``[B, T]`` to logits ``[B, T, V]``. Each `seqjax.ContextAttention` inside
    of the decoder attends to the memory. With a bridge, the initial state of the decoder follows
    from the encoder's final state::

        e = concat(hidden vectors and memories of the encoder's final state)
        h = tanh(e @ W + b)    for each hidden vector of the decoder (Role.HIDDEN)
        c = e @ W + b          for each memory of the decoder (Role.MEMORY)

    Args:
      encoder: maps the source to the memory.
      decoder: maps tokens to the logits of the next token, such as a `seqjax.LanguageModel`.
      bridge: whether the encoder's final state sets the decoder's initial state. Without it, the
        decoder must attend.

    Raises:
      ValueError: an argument is not a cell, the decoder cannot run step by step or would not see
        the source, or a bridge is requested and one of the states has neither hidden vectors nor
        memories of one axis.

    Reference: Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks",
    2014; Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical
    machine translation", 2014 (the tanh of the bridge).

    >>> import seqjax
    >>> encoder, decoder = seqjax.GRU(4), seqjax.LanguageModel(seqjax.LSTM(8), vocabulary_size=5)
    >>> model = EncoderDecoder(encoder, decoder)
    >>> params = model.init(jax.random.key(0), source_size=6)
    >>> source, inputs = jnp.array([[0, 5, 1], [2, 0, 0]]), jnp.array([[0, 3, 1, 2], [0, 4, 0, 0]])
    >>> model.logits(params, source, inputs, source_lengths=jnp.array([3, 1])).shape
    (2, 4, 5)
    """

    encoder: Cell
    decoder: Cell
    bridge: bool = True

    def __post_init__(self) -> None:
        check_cell(self.encoder)
        check_cell(self.decoder)
        check_can_step(self.decoder)
        check_flag("EncoderDecoder", "bridge", self.bridge)
        if not (self.bridge or self.attends):
            raise ValueError(
                f"EncoderDecoder: without a bridge, {self.decoder} would not see the source; use "
                "bridge=True, or wrap a cell of the decoder in seqjax.ContextAttention"
            )
        if self.bridge:
            for cell, name in ((self.encoder, "encoder"), (self.decoder, "decoder")):
                if not _bridged(cell, jax.eval_shape(cell.initial_state)):
                    raise ValueError(
                        f"EncoderDecoder: the state of the {name} has neither hidden vectors nor "
                        f"memories, as a bridge needs, got {cell}; use bridge=False"
                    )

    @property
    def attends(self) -> bool:
        """Whether the decoder attends to the memory."""
        return self.decoder.attends

    def init(self, key: Array, source_size: Size, dtype: Any = jnp.float32) -> EncoderDecoderParams:
        """Initialise encoder and decoder, and a Glorot kernel for each array of the bridge.

        Args:
          key: a key from `jax.random.key`.
          source_size: the number of source features, or the size of the source vocabulary.
          dtype: the dtype of the parameters.
        """
        check_key(key)
        check_dtype(dtype)
        of_encoder, of_decoder, of_bridge = jax.random.split(key, 3)
        vocabulary = self.decoder.output_size
        bridge = None
        if self.bridge:
            width = sum(_widths(self.encoder))
            sizes = _widths(self.decoder)
            bridge = tuple(
                BridgeParams(glorot_uniform(key, (width, n), dtype=dtype), jnp.zeros(n, dtype))
                for key, n in zip(jax.random.split(of_bridge, len(sizes)), sizes, strict=True)
            )
        return EncoderDecoderParams(
            self.encoder.init(of_encoder, source_size, dtype),
            self.decoder.init(of_decoder, vocabulary, dtype),
            bridge,
        )

    def encode(
        self,
        params: EncoderDecoderParams,
        source: PyTree,
        *,
        lengths: Array | None = None,
        key: Array | None = None,
        deterministic: bool = False,
    ) -> Encoded:
        """Read the source.

        Args:
          params: from `EncoderDecoder.init`.
          source: tokens ``int[B, S]`` or features ``[B, S, D]``.
          lengths: ``int[B]``, the number of valid steps of each row; defaults to S.
          key: a key for the noise of the encoder, in training.
          deterministic: whether noisy layers run in evaluation mode.

        Returns:
          The parameters and the initial state of the decoder, for `seqjax.unroll`,
          `seqjax.decoding.decode` and `seqjax.decoding.beam_search`.

        Raises:
          ValueError: the arguments do not fit together.
        """
        params = self._check_params(params)
        final, memory = unroll(
            self.encoder, params.encoder, source, lengths=lengths, key=key,
            deterministic=deterministic,
        )  # fmt: skip
        bound = params.decoder
        if self.attends:
            bound = with_context(self.decoder, bound, memory, lengths=lengths)
        else:
            check_params(self.decoder, bound)
        batch_shape = memory.shape[:-2]
        dtype = accumulation_dtype(memory.dtype)
        state = self.decoder.first_state(bound, batch_shape, dtype)
        if params.bridge is not None:
            arrays = _bridged(self.encoder, final)
            ends = jnp.concatenate([array for _, array in arrays.values()], axis=-1)
            leaves, structure = jax.tree.flatten(state)
            places = _bridged(self.decoder, state)
            for (place, (role, _)), (kernel, bias) in zip(
                places.items(), params.bridge, strict=True
            ):
                value = affine(ends, kernel, bias).astype(leaves[place].dtype)
                leaves[place] = jnp.tanh(value) if role is Role.HIDDEN else value
            state = jax.tree.unflatten(structure, leaves)
        return Encoded(bound, state)

    def logits(
        self,
        params: EncoderDecoderParams,
        source: PyTree,
        inputs: Array,
        *,
        source_lengths: Array | None = None,
        target_lengths: Array | None = None,
        key: Array | None = None,
        deterministic: bool = False,
    ) -> Array:
        """Compute the logits of all target tokens, given those before them (teacher forcing).

        Args:
          params: from `EncoderDecoder.init`.
          source: as in `EncoderDecoder.encode`.
          inputs: ``int[B, T]``, the start symbol and all target tokens but the last, see
            `shift_right`.
          source_lengths: ``int[B]``; defaults to S.
          target_lengths: ``int[B]``; defaults to T.
          key: a key for the noise of encoder and decoder, in training.
          deterministic: whether noisy layers run in evaluation mode.

        Returns:
          ``[B, T, V]``, 0 past the target lengths.

        Raises:
          ValueError: the arguments do not fit together.
        """
        keys: tuple[Array | None, Array | None] = (None, None)
        if key is not None:
            check_key(key)
            of_encoder, of_decoder = jax.random.split(key)
            keys = of_encoder, of_decoder
        encoded = self.encode(
            params, source, lengths=source_lengths, key=keys[0], deterministic=deterministic
        )
        logits: Array
        _, logits = unroll(
            self.decoder, encoded.params, inputs, lengths=target_lengths,
            initial_state=encoded.state, key=keys[1], deterministic=deterministic,
        )  # fmt: skip
        return logits

    def _check_params(self, params: Any) -> EncoderDecoderParams:
        if not isinstance(params, EncoderDecoderParams):
            raise ValueError(
                "params must be EncoderDecoderParams from EncoderDecoder.init, got "
                f"{describe_type(params)}"
            )
        params = as_params(params)
        width = sum(_widths(self.encoder))
        expected = [((width, n), (n,)) for n in _widths(self.decoder)] if self.bridge else None
        given = None
        if isinstance(params.bridge, tuple) and all(len(part) == 2 for part in params.bridge):
            given = [tuple(map(jnp.shape, part)) for part in params.bridge]
        if given != expected:
            raise ValueError(
                f"params.bridge must hold kernels and biases of shapes {expected} for {self}, got "
                f"{describe_tree(params.bridge)}"
            )
        return params


def shift_right(targets: Array, start: int) -> Array:
    """Return the inputs of a decoder: ``start``, then all targets but the last.

    Args:
      targets: ``int[B, T]``.
      start: the start symbol.

    Raises:
      ValueError: ``targets`` are not integers with a time axis, or ``start`` is not an integer.

    >>> print(shift_right(jnp.array([[7, 8, 9]]), start=0))
    [[0 7 8]]
    """
    targets = as_arrays("targets", targets)
    if not isinstance(targets, jax.Array):
        raise ValueError(f"targets must be one array, got {describe_type(targets)}")
    if targets.ndim == 0 or not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(
            f"targets must be integers [B, T], got {targets.dtype} of shape {targets.shape}"
        )
    check_count("shift_right", "start", start, low=-(2**31))
    first = jnp.full_like(targets[..., :1], start)
    return jnp.concatenate([first, targets[..., :-1]], axis=-1)


def _bridged(cell: Cell, state: State) -> dict[int, tuple[Role, Any]]:
    """The hidden vectors and memories of a state, with their roles, by their place."""
    pairs = zip(jax.tree.leaves(cell.roles), jax.tree.leaves(state), strict=True)
    shapes = jax.tree.leaves(jax.eval_shape(cell.initial_state))
    return {
        n: (role, array)
        for n, (role, array) in enumerate(pairs)
        if role in (Role.HIDDEN, Role.MEMORY)
        and len(shapes[n].shape) == 1
        and jnp.issubdtype(shapes[n].dtype, jnp.floating)
    }


def _widths(cell: Cell) -> list[int]:
    shapes = jax.eval_shape(cell.initial_state)
    return [array.shape[0] for _, array in _bridged(cell, shapes).values()]
