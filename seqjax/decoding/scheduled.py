"""Scheduled sampling: training with some inputs that the model has drawn itself."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_arrays, as_int32, given_array
from seqjax.checks import check_key, check_number, is_number
from seqjax.decoding.request import as_logits, is_known
from seqjax.engine.validation import (
    check_batch,
    check_contexts,
    check_generator,
    check_state,
    state_dtype,
)
from seqjax.operations.masking import check_tokens, resolve_mask, select, zero_outside
from seqjax.sampling import Sampling, draw
from seqjax.types import Array, Cell, Noise, Params, State


def scheduled_sampling(
    model: Cell,
    params: Params,
    tokens: Array,
    key: Array,
    probability: float | Array,
    *,
    lengths: Array | None = None,
    state: State | None = None,
    sampling: Sampling = Sampling(),
) -> tuple[State, Array]:
    """Run a model over tokens, some of which are replaced by tokens that it draws itself.

    The first input of a row is its first token. Each later one is, independently with the given
    probability, a draw from the logits of the step before::

        x_1 = tokens_1
        x_t = draw(logits_{t-1})    with the probability, otherwise tokens_t
        s_t, logits_t = step(s_{t-1}, x_t)

    A probability of 0 is teacher forcing, as in `seqjax.unroll`. The gradient flows through states
    and logits, but not through the draws. Noisy layers draw noise. Padding affects neither outputs
    nor gradients.

    Args:
      model: a cell that maps tokens to the logits of the next token, such as a `LanguageModel`.
      params: the parameters of the model, with a context if it attends to one.
      tokens: ``int[B, T]``, the inputs, with any number of batch axes, or none.
      key: a key from `jax.random.key`. Use a new key for each training step.
      probability: the probability of a draw, in ``[0, 1]``. An array ``[]``, such as the value of a
        schedule, does not compile a new program for each value; nor does a float.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      state: the state before the first step; defaults to `Cell.first_state`.
      sampling: how to draw; ``Sampling(temperature=0)`` takes the most likely token.

    Returns:
      ``(state, logits)``: the state after the last step of each row, and the logits
      ``[B, T, V]``, 0 past the lengths.

    Raises:
      ValueError: the arguments do not fit together. Values of arrays are checked outside of
        `jax.jit` only.

    Reference: Bengio, Vinyals, Jaitly and Shazeer, "Scheduled sampling for sequence prediction with
    recurrent neural networks", 2015.

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> inputs = jnp.array([[0, 3, 1], [0, 2, 0]])
    >>> state, logits = scheduled_sampling(
    ...     model, params, inputs, jax.random.key(1), 0.25, lengths=jnp.array([3, 2]))
    >>> logits.shape
    (2, 3, 5)
    """
    params = check_generator(model, params)
    check_key(key)
    if not isinstance(sampling, Sampling):
        raise ValueError(
            f"sampling must be a Sampling, such as Sampling(temperature=0.8), got {sampling!r}"
        )
    probability = _check_probability(probability)
    tokens = given_array("tokens", tokens)
    if tokens.ndim == 0 or not jnp.issubdtype(tokens.dtype, jnp.integer):
        raise ValueError(
            f"tokens must be integers [B, T], got {tokens.dtype} of shape {tokens.shape}"
        )
    axis = tokens.ndim - 1
    batch_shape = check_batch(tokens.shape, axis)
    check_contexts(params, batch_shape)
    mask = resolve_mask(lengths, None, tokens.shape, axis)
    check_tokens("tokens", tokens, model.input_size(params), mask)
    tokens = as_int32(tokens)
    if state is not None:
        state = as_arrays("state", state)
        dtype = state_dtype(model, params, tokens)
        check_state(model, params, state, batch_shape, dtype, "state")
    return _scheduled_sampling(model, params, tokens, key, probability, mask, state, sampling)


def _check_probability(probability: Any) -> Array:
    given = given_array("probability", probability)
    if given.shape or not (jnp.issubdtype(given.dtype, jnp.floating) or is_number(probability)):
        raise ValueError(
            f"probability must be a number or a floating array [], got {given.dtype} of shape "
            f"{given.shape}"
        )
    if is_known(given) and not 0 <= float(given) <= 1:
        raise ValueError(f"probability must lie in [0, 1], got {float(given)}")
    return jnp.asarray(given, jnp.float32)


@functools.partial(jax.jit, static_argnames=("model", "sampling"))
def _scheduled_sampling(
    model: Cell,
    params: Params,
    tokens: Array,
    key: Array,
    probability: Array,
    mask: Array | None,
    state: State | None,
    sampling: Sampling,
) -> tuple[State, Array]:
    axis = tokens.ndim - 1
    batch_shape, num_steps = tokens.shape[:-1], tokens.shape[-1]
    if state is None:
        state = model.first_state(params, batch_shape, state_dtype(model, params, tokens))
    if mask is not None:
        tokens = zero_outside(mask, tokens)
    tokens, mask = jax.tree.map(lambda a: jnp.moveaxis(a, axis, 0), (tokens, mask))
    noise_key, draw_key = jax.random.split(key)
    noise = model.draw_noise(noise_key, tokens.shape, model.input_size(params))

    def step(state: State, token: Array, noise: Noise) -> tuple[State, Array]:
        z = model.project(params, token[None], jax.tree.map(lambda a: a[None], noise))
        state, logits = model.step(params, state, jax.tree.map(lambda a: a[0], z))
        return state, as_logits(model, logits)

    def advance(
        carry: tuple[State, Array], step_inputs: tuple[Array, Array, Array | None, Noise]
    ) -> tuple[tuple[State, Array], Array]:
        before, drawn = carry
        position, token, mask, noise = step_inputs
        flip_key, key = jax.random.split(jax.random.fold_in(draw_key, position))
        flips = jax.random.uniform(flip_key, batch_shape, jnp.float32) < probability
        token = jnp.where(flips & (position > 0), drawn, token)
        state, logits = step(before, token, noise)
        if mask is not None:
            state, logits = select(mask, state, before), zero_outside(mask, logits)
        return (state, draw(key, jax.lax.stop_gradient(logits), sampling)), logits

    positions = jnp.arange(num_steps, dtype=jnp.int32)
    carry = state, jnp.zeros(batch_shape, jnp.int32)
    (state, _), logits = jax.lax.scan(advance, carry, (positions, tokens, mask, noise))
    return state, jnp.moveaxis(logits, 0, axis)


def inverse_sigmoid_schedule(k: float) -> Callable[[Any], Array]:
    """The schedule of `scheduled_sampling` that rises from almost 0 to 1 along a sigmoid::

        probability(step) = 1 - k / (k + exp(step / k)) = sigmoid(step / k - log(k))

    It reaches 0.5 after ``k * log(k)`` steps. It is called with the number of steps so far, like
    the schedules of optax, two of which are the other schedules of the paper:
    ``optax.linear_schedule(0.0, 0.5, 10_000)`` rises along a line, and
    ``optax.exponential_decay(1.0, 1, 0.9999)`` is the probability of a true token, so 1 minus its
    value is that of a draw.

    Args:
      k: how slowly the probability rises, at least 1.

    Returns:
      A function of the step, an integer or an array ``int[]``, whose value is ``float32[]``.

    Raises:
      ValueError: ``k`` is not a number of at least 1.

    Reference: Bengio et al., 2015, section 2.4.

    >>> schedule = inverse_sigmoid_schedule(k=100.0)
    >>> [round(float(schedule(step)), 3) for step in (0, 460, 2000)]
    [0.01, 0.499, 1.0]
    """
    check_number("inverse_sigmoid_schedule", "k", k)
    if k < 1:
        raise ValueError(f"inverse_sigmoid_schedule: k must be at least 1, got {k}")

    def schedule(step: Any) -> Array:
        return jax.nn.sigmoid(jnp.asarray(step, jnp.float32) / float(k) - float(np.log(k)))

    return schedule
