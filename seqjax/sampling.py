"""Generation of tokens from a model of the next token, with the whole loop in one program."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_arrays, given_array, is_known
from seqjax.checks import check_count, check_key, check_number, check_size, describe_type
from seqjax.engine.step import step
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import check_generator, check_state, state_dtype
from seqjax.types import Array, Cell, Params, State


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How to draw a token from logits: temperature, top-k and top-p (nucleus) sampling.

    Args:
      temperature: the divisor of the logits. Values below 1 favour likely tokens; 0 picks the most
        likely token.
      top_k: draw from the k most likely tokens only; None for all tokens.
      top_p: draw from the smallest set of most likely tokens whose probability is at least
        ``top_p``, after ``top_k``; 1 for all tokens.

    Raises:
      ValueError: ``temperature`` is not a number of at least 0, ``top_k`` is not a whole number of
        at least 1, or ``top_p`` is not in (0, 1].

    Reference: Holtzman et al., "The curious case of neural text degeneration", 2020 (top-p).

    >>> Sampling(temperature=0.8, top_k=10).top_p
    1.0
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        check_number("Sampling", "temperature", self.temperature)
        if self.temperature < 0:
            raise ValueError(f"Sampling: temperature must be at least 0, got {self.temperature}")
        if self.top_k is not None:
            check_size("Sampling", "top_k", self.top_k)
        check_number("Sampling", "top_p", self.top_p)
        if not 0 < self.top_p <= 1:
            raise ValueError(f"Sampling: top_p must lie in (0, 1], got {self.top_p}")


class Generation(NamedTuple):
    """The state of a generation, from which the next token is drawn.

    Attributes:
      state: the state of the model, arrays ``[B, ...]``.
      logits: the logits of the next token, ``[B, V]``.
      position: the number of tokens drawn so far, ``int32[]``.
    """

    state: State
    logits: Array
    position: Array


def prime(model: Cell, params: Params, tokens: Array) -> Generation:
    """Run a model over a prompt, to start a generation.

    Noisy layers run in evaluation mode, here and in `generate`.

    Args:
      model: a cell that maps tokens to the logits of the next token, such as a `LanguageModel`.
      params: the parameters of the model.
      tokens: the prompt, ``int[B, P]`` with P of at least 1.

    Returns:
      The `Generation` after the last token of the prompt.

    Raises:
      ValueError: ``model`` cannot run step by step or does not map tokens to logits, or ``tokens``
        is empty, not an integer array, or does not fit ``params``.

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> prime(model, params, jnp.array([[0, 1, 4]])).logits.shape
    (1, 5)
    """
    params = check_generator(model, params)
    tokens = given_array("tokens", tokens)
    if tokens.ndim == 0 or tokens.shape[-1] == 0:
        raise ValueError(f"tokens must hold at least one token per row, got shape {tokens.shape}")
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(f"tokens must be integers [B, P], got {tokens.dtype}{list(tokens.shape)}")
    state, logits = unroll(model, params, tokens, deterministic=True)
    if not isinstance(logits, jax.Array):
        raise ValueError(
            f"the outputs of {model} must be one array of logits, got {describe_type(logits)}"
        )
    return Generation(state, logits[..., -1, :], jnp.zeros((), jnp.int32))


def generate(
    model: Cell,
    params: Params,
    generation: Generation,
    key: Array,
    length: int,
    sampling: Sampling = Sampling(),
) -> tuple[Generation, Array]:
    """Draw the next ``length`` tokens of a generation.

    The randomness of a token depends only on the key, its row and its position. So 10 tokens
    followed by 20 more, with the same key, equal 30 tokens drawn in one call.

    Args:
      model: a cell that maps tokens to the logits of the next token, such as a `LanguageModel`.
      params: the parameters of the model.
      generation: from `prime` or from the previous call.
      key: a key from `jax.random.key`.
      length: the number of tokens, 0 or more. Each length compiles a separate program.
      sampling: how to draw each token.

    Returns:
      ``(generation, tokens)``: the generation after the last token, and the tokens
      ``int32[B, length]``.

    Raises:
      ValueError: the arguments do not fit together, or a row of logits has no finite maximum (see
        `draw`). Logits are checked outside of `jax.jit` only.

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> start = prime(model, params, jnp.array([[0, 1], [2, 3]]))
    >>> _, tokens = generate(model, params, start, jax.random.key(1), length=7)
    >>> tokens.shape
    (2, 7)
    """
    params = check_generator(model, params)
    generation = _check_generation(model, params, generation)
    check_key(key)
    _check_sampling(sampling)
    check_count("generate", "length", length)
    return _generate(model, params, generation, key, int(length), sampling)


@functools.partial(jax.jit, static_argnames=("model", "length", "sampling"))
def _generate(
    model: Cell,
    params: Params,
    generation: Generation,
    key: Array,
    length: int,
    sampling: Sampling,
) -> tuple[Generation, Array]:
    def draw_one(generation: Generation, _: None) -> tuple[Generation, Array]:
        state, logits, position = generation
        token = draw(jax.random.fold_in(key, position), logits, sampling)
        state, logits = step(model, params, state, token, deterministic=True)
        return Generation(state, logits, position + 1), token

    generation, tokens = jax.lax.scan(draw_one, generation, length=length)
    return generation, jnp.moveaxis(tokens, 0, -1)


def draw(key: Array, logits: Array, sampling: Sampling) -> Array:
    """Draw a token from each row of ``logits``.

    Args:
      key: a key from `jax.random.key`.
      logits: floating ``[B, V]``; ``-inf`` for tokens that must not be drawn.
      sampling: how to draw each token.

    Returns:
      ``int32[B]``.

    Raises:
      ValueError: an argument has the wrong type or shape, or the maximum of a row of logits is not
        finite: a logit is NaN or ``inf``, or all are ``-inf``. Values are checked outside of
        `jax.jit` only.

    >>> logits = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    >>> print(draw(jax.random.key(0), logits, Sampling(temperature=0)))
    0
    """
    check_key(key)
    _check_sampling(sampling)
    logits = jnp.asarray(given_array("logits", logits))
    _check_logits(logits)
    if sampling.temperature == 0:
        return logits.argmax(-1).astype(jnp.int32)
    logits = logits / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        least = jax.lax.top_k(logits, sampling.top_k)[0][..., -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    if sampling.top_p < 1:
        ordered = -jnp.sort(-logits, axis=-1)
        probabilities = jax.nn.softmax(ordered, axis=-1)
        before = probabilities.cumsum(-1) - probabilities  # the total of all more likely tokens
        least = jnp.where(before < sampling.top_p, ordered, jnp.inf).min(-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return jax.random.categorical(key, logits).astype(jnp.int32)


def _check_generation(model: Cell, params: Params, generation: Any) -> Generation:
    """Check that ``generation`` fits ``model``; return arrays."""
    if not isinstance(generation, Generation):
        raise ValueError(
            "generation must be a Generation from seqjax.sampling.prime, got "
            f"{describe_type(generation)}"
        )
    generation = as_arrays("generation", generation)
    state, logits, position = generation
    for name, part in (("logits", logits), ("position", position)):
        if not isinstance(part, jax.Array):
            raise ValueError(f"the {name} of generation must be an array, got {part!r}")
    _check_logits(logits)
    if logits.shape[-1] != model.output_size:
        raise ValueError(
            f"the logits of generation must be [B, {model.output_size}] for {model}, got "
            f"{list(logits.shape)}; call prime with this model"
        )
    if position.shape != () or position.dtype != jnp.int32:
        raise ValueError(
            "the position of generation must be int32[], got "
            f"{position.dtype}{list(position.shape)}"
        )
    dtype = state_dtype(model, params, jnp.zeros((), jnp.int32))
    check_state(model, params, state, logits.shape[:-1], dtype, "the state of generation")
    return generation


def _check_sampling(sampling: Any) -> None:
    if not isinstance(sampling, Sampling):
        raise ValueError(
            f"sampling must be a Sampling, such as Sampling(temperature=0.8), got {sampling!r}"
        )


def _check_logits(logits: Array) -> None:
    given = f"{logits.dtype}{list(logits.shape)}"
    if logits.ndim == 0 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(f"logits must be floating [B, V], got {given}")
    if logits.shape[-1] == 0:
        raise ValueError(f"logits must hold at least one token, got {given}")
    if not is_known(logits):
        return
    largest = np.asarray(logits.max(-1))
    rows = np.argwhere(~np.isfinite(largest))
    if len(rows):
        where = tuple(int(i) for i in rows[0])
        at = f" of row {where[0] if len(where) == 1 else where}" if where else ""
        raise ValueError(
            f"the maximum of the logits{at} must be finite, got {largest[where]}; check the "
            "parameters for NaN, and leave at least one token possible"
        )
