"""The training step: the loss, the optimizer and the average of the parameters."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.pronunciation.config import Config
from experiments.pronunciation.examples import Pairs
from seqjax import sequence_loss
from seqjax.seq2seq import EncoderDecoder
from seqjax.training import TrainState, init_train_state
from seqjax.types import Array, Params


class AverageState(NamedTuple):
    """The state of `averaging`.

    Attributes:
      seen: ``int32[]``, the number of updates.
      average: the moving average of the parameters.
    """

    seen: Array
    average: Params


def averaging(decay: float) -> optax.GradientTransformation:
    """Keep a moving average of the parameters, as the last part of an optimizer.

    The updates are not changed. The decay rate starts low, so the average soon forgets the initial
    parameters: step n, from 0, has the rate ``min(decay, (1 + n) / (10 + n))``.
    """

    def init(params: Params) -> AverageState:
        return AverageState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.copy, params))

    def update(
        updates: Params, state: AverageState, params: Params = None
    ) -> tuple[Params, AverageState]:
        n = state.seen.astype(jnp.float32)
        memory = jnp.minimum(decay, (1 + n) / (10 + n))
        average = jax.tree.map(
            lambda a, p, u: memory * a + (1 - memory) * (p + u), state.average, params, updates
        )
        return updates, AverageState(state.seen + 1, average)

    return optax.GradientTransformation(init, update)


def average_of(state: TrainState) -> Params:
    """The moving average of the parameters in the state of `make_optimizer`."""
    average: AverageState = state.opt_state[-1]
    return average.average


def make_optimizer(config: Config, steps: int) -> optax.GradientTransformation:
    """Adam with warm-up and a cosine decay to 0 over ``steps`` steps."""
    warm_up = min(config.warm_up, steps // 2)
    rate = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warm_up, max(steps, 1))
    return optax.chain(
        optax.clip_by_global_norm(config.clip), optax.adam(rate), averaging(config.average)
    )


def init_state(config: Config, model: EncoderDecoder, letters: int, steps: int) -> TrainState:
    """The state of training at step 0, for this number of tokens of letters."""
    params = model.init(jax.random.key(config.seed), letters)
    return init_train_state(params, make_optimizer(config, steps), None)


def make_loss(model: EncoderDecoder, smoothing: float = 0.0) -> Callable[..., tuple[Array, None]]:
    """Make the loss function ``(params, carry, pairs, key) -> (loss, carry)`` of the model.

    The loss is the weighted cross-entropy of the phonemes per word, with label smoothing.
    """

    def loss_fn(
        params: Params, carry: None, pairs: Pairs, key: Array | None = None
    ) -> tuple[Array, None]:
        logits = model.logits(
            params, pairs.letters, pairs.inputs, source_lengths=pairs.letter_count, key=key,
            deterministic=key is None,
        )  # fmt: skip
        losses = sequence_loss(
            logits, pairs.targets, weights=pairs.weights, label_smoothing=smoothing,
            average_over_time=False, average_over_batch=False,
        )  # fmt: skip
        rows: Any = pairs.letters.shape[0]
        return losses.sum() / rows, carry

    return loss_fn
