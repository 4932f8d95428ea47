"""Generation from a model of the next token, the whole loop in one program."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax.checks import check_number, check_size
from seqjax.engine.unroll import unroll
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
    """Read ``tokens``, int ``[B, P]`` with P of at least 1, and be ready to go on.

    Raises:
      ValueError: there are no tokens, or they do not fit ``params``.
    """
    tokens = jnp.asarray(tokens)
    if tokens.ndim == 0 or tokens.shape[-1] == 0:
        raise ValueError(f"give at least one token to start from, got shape {tokens.shape}")
    state, logits = unroll(model, params, tokens, deterministic=True)
    return Generation(state, logits[..., -1, :], jnp.zeros((), jnp.int32))


@functools.partial(jax.jit, static_argnames=("model", "length", "sampling"))
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
      length: how many tokens.
      sampling: how to draw them.

    Returns:
      ``(generation, tokens int32[B, length])``.

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> start = prime(model, params, jnp.array([[0, 1], [2, 3]]))
    >>> _, tokens = generate(model, params, start, jax.random.key(1), length=7)
    >>> tokens.shape
    (2, 7)
    """

    def step(generation: Generation, _: None) -> tuple[Generation, Array]:
        state, logits, position = generation
        token = draw(jax.random.fold_in(key, position), logits, sampling)
        state, logits = model.step(params, state, model.project(params, token))
        return Generation(state, logits, position + 1), token

    generation, tokens = jax.lax.scan(step, generation, length=length)
    return generation, jnp.moveaxis(tokens, 0, -1)


def draw(key: Array, logits: Array, sampling: Sampling) -> Array:
    """Draw a token for each row of ``logits``, ``[B, V] -> int32[B]``.

    >>> logits = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    >>> print(draw(jax.random.key(0), logits, Sampling(temperature=0)))
    0
    """
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
