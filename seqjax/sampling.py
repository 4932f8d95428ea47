"""Generation from a model of the next token, the whole loop in one program."""

import dataclasses
import functools
import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.checks import check_key, check_number, check_size
from seqjax.engine.step import step
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import (
    check_can_step,
    check_cell,
    check_params,
    check_state,
    state_dtype,
)
from seqjax.types import Array, Cell, Params, State


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a token is drawn from the logits of the next one.

    Args:
      temperature: what logits are divided by: below 1 likely tokens become likelier; 0 takes the
        likeliest.
      top_k: draw from the k likeliest only; None for all.
      top_p: draw from the fewest tokens that together have at least this probability; 1 for all
        (Holtzman et al., "The curious case of neural text degeneration", 2020).

    Raises:
      ValueError: ``temperature`` is not a number of at least 0, ``top_k`` not a whole number of at
        least 1, or ``top_p`` is not in (0, 1].

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
    """Where a generation stands: what it needs to draw the next token."""

    state: State  # of the cell
    logits: Array  # [B, V], of the next token
    position: Array  # int32[], how many tokens were drawn


def prime(model: Cell, params: Params, tokens: Array) -> Generation:
    """Read a prompt, and be ready to go on.

    A noisy model runs in evaluation mode, here and in `generate`.

    Args:
      model: a cell whose inputs are tokens and whose outputs are the logits of the next one.
      params: its parameters.
      tokens: int ``[B, P]`` with P of at least 1.

    Returns:
      The `Generation` after the last token.

    Raises:
      ValueError: ``model`` does not read tokens step by step and put out logits for them, or there
        are no tokens, or they do not fit ``params``.

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> prime(model, params, jnp.array([[0, 1, 4]])).logits.shape
    (1, 5)
    """
    params = _check_model(model, params)
    tokens = jnp.asarray(tokens)
    if tokens.ndim == 0 or tokens.shape[-1] == 0:
        raise ValueError(f"give at least one token to start from, got shape {tokens.shape}")
    if not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(f"tokens must be integers [B, P], got {tokens.dtype}{list(tokens.shape)}")
    state, logits = unroll(model, params, tokens, deterministic=True)
    if not isinstance(logits, jax.Array):
        raise ValueError(
            f"the outputs of {model} must be one array of logits, got a {type(logits).__name__}"
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
    """Draw ``length`` tokens after those read or drawn so far.

    A token depends on the key, its row and its position alone, so that drawing 10 tokens and then
    20 gives the same as drawing 30.

    Args:
      model: a cell whose inputs are tokens and whose outputs are the logits of the next one.
      params: its parameters.
      generation: from `prime`, or from the call before.
      key: a key from `jax.random.key`.
      length: how many tokens, 0 or more. Each length compiles a program of its own.
      sampling: how to draw them.

    Returns:
      ``(generation, tokens int32[B, length])``.

    Raises:
      ValueError: an argument does not fit the others, or the logits of ``generation`` allow no
        draw, see `draw` (which can only be seen outside of `jax.jit`).

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> start = prime(model, params, jnp.array([[0, 1], [2, 3]]))
    >>> _, tokens = generate(model, params, start, jax.random.key(1), length=7)
    >>> tokens.shape
    (2, 7)
    """
    params = _check_model(model, params)
    generation = _check_generation(model, params, generation)
    check_key(key)
    _check_sampling(sampling)
    return _generate(model, params, generation, key, _check_length(length), sampling)


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
    """Draw a token for each row of ``logits``.

    Args:
      key: a key from `jax.random.key`.
      logits: floating ``[B, V]``; ``-inf`` for a token that must not be drawn.
      sampling: how to draw.

    Returns:
      ``int32[B]``.

    Raises:
      ValueError: an argument is none of these, or the largest logit of a row is not finite: one is
        NaN or ``inf``, or all are ``-inf`` (which can only be seen outside of `jax.jit`).

    >>> logits = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    >>> print(draw(jax.random.key(0), logits, Sampling(temperature=0)))
    0
    """
    check_key(key)
    _check_sampling(sampling)
    logits = jnp.asarray(logits)
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
        before = probabilities.cumsum(-1) - probabilities  # of all likelier ones
        least = jnp.where(before < sampling.top_p, ordered, jnp.inf).min(-1, keepdims=True)
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return jax.random.categorical(key, logits).astype(jnp.int32)


def _check_model(model: Any, params: Params) -> Params:
    """Check that what ``model`` puts out can be drawn and read back; return arrays."""
    check_cell(model)
    check_can_step(model)
    params = jax.tree.map(jnp.asarray, params)
    check_params(model, params)
    logits, tokens = model.output_size, model.input_size(params)
    if isinstance(logits, tuple) or isinstance(tokens, tuple) or logits > tokens:
        raise ValueError(
            f"{model} puts out {logits} features and reads {tokens} kinds of token, so that not "
            "every token drawn could be read; put the cell into a seqjax.LanguageModel"
        )
    return params


def _check_generation(model: Cell, params: Params, generation: Any) -> Generation:
    """Check that ``generation`` is one of ``model``, and return it with arrays."""
    if not isinstance(generation, Generation):
        raise ValueError(
            "generation must be what seqjax.sampling.prime returns, got a "
            f"{type(generation).__name__}"
        )
    generation = jax.tree.map(jnp.asarray, generation)
    state, logits, position = generation
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
    check_state(model, state, logits.shape[:-1], dtype, "the state of generation")
    return generation


def _check_sampling(sampling: Any) -> None:
    if not isinstance(sampling, Sampling):
        raise ValueError(
            f"sampling must be a Sampling, such as Sampling(temperature=0.8), got {sampling!r}"
        )


def _check_length(length: Any) -> int:
    try:
        number = -1 if isinstance(length, bool) else operator.index(length)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(f"length must be a whole number of at least 0, got {length!r}")
    return number


def _check_logits(logits: Array) -> None:
    given = f"{logits.dtype}{list(logits.shape)}"
    if logits.ndim == 0 or not jnp.issubdtype(logits.dtype, jnp.floating):
        raise ValueError(f"logits must be floating [B, V], got {given}")
    if logits.shape[-1] == 0:
        raise ValueError(f"logits must be of at least one token, got {given}")
    if isinstance(logits, jax.core.Tracer) or not logits.is_fully_addressable:
        return
    largest = np.asarray(logits.max(-1))
    rows = np.argwhere(~np.isfinite(largest))
    if len(rows):
        where = tuple(int(i) for i in rows[0])
        at = f" of row {where[0] if len(where) == 1 else where}" if where else ""
        raise ValueError(
            f"the largest of the logits{at} is {largest[where]}, so that no token can be drawn; "
            "check the parameters for NaN, and leave at least one token possible"
        )
