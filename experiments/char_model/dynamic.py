"""Dynamic evaluation: the model goes on learning from the text that it has just scored."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.progress import Progress

from experiments.char_model.dynamic_options import Settings
from experiments.char_model.evaluation import Track
from experiments.char_model.text import read_text
from experiments.char_model.trained import Trained
from seqjax import Cell, sequence_loss, unroll
from seqjax.data.text import streams
from seqjax.dynamic_evaluation import mean_squared_gradient, rms, sgd
from seqjax.training import TrainState, init_train_state, train_steps
from seqjax.training.state import LossFn
from seqjax.truncation import chunks
from seqjax.types import Array, Params, PyTree, State

BLOCK = 64  # chunks per call
GATHERED = 200_000  # characters of the training text, at its end
EPSILON = 0.1  # of the mean root of the statistics; characters that are rare there learn no faster


def learn_and_score(
    settings: Settings, trained: Trained, tokens: np.ndarray, console: Console
) -> np.ndarray:
    """The losses of a text by dynamic evaluation of the model of a run, as `dynamic_losses`.

    Raises:
      ValueError: ``rms`` needs the training text of the run, which cannot be read or is too short.
    """
    train = np.empty(0, np.int32)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        if settings.rule == "rms":
            train = read_text(trained.config, trained.text).train
        task = bars.add_task(f"preparing {settings.rule}", total=None)
        rule = make_rule(settings, trained.model, trained.params, train)
        bars.remove_task(task)
        track = functools.partial(bars.track, description="learning and scoring")
        return dynamic_losses(trained.model, trained.params, tokens, rule, settings.chunk, track)


def make_rule(
    settings: Settings, model: Cell, params: Params, train: np.ndarray
) -> optax.GradientTransformation:
    """The rule by which the parameters learn.

    Args:
      settings: the name of the rule and its settings.
      model: a cell from tokens to logits.
      params: the trained parameters.
      train: the tokens that the model was trained on, ``int[N]``; only ``rms`` reads them.

    Raises:
      ValueError: ``rms`` gets fewer tokens than a chunk and one more.
    """
    if settings.rule == "sgd":
        return sgd(settings.learning_rate, settings.decay)
    statistics = gradient_statistics(model, params, train, settings.chunk)
    return make_rms(settings, statistics)


def make_rms(settings: Settings, statistics: PyTree) -> optax.GradientTransformation:
    """The rule ``rms`` for statistics of `gradient_statistics`."""
    roots = [np.sqrt(np.asarray(leaf, np.float64)) for leaf in jax.tree.leaves(statistics)]
    mean = sum(root.sum() for root in roots) / sum(root.size for root in roots)
    return rms(statistics, settings.learning_rate, settings.decay, EPSILON * float(mean))


def gradient_statistics(model: Cell, params: Params, train: np.ndarray, chunk: int) -> PyTree:
    """The mean squared gradient of chunks at the end of the training text.

    Raises:
      ValueError: ``train`` holds less than one chunk.
    """
    tokens = train[-GATHERED - 1 :]
    if len(tokens) <= chunk:
        raise ValueError(
            f"--dynamic rms gathers gradients on the training text, whose {len(tokens)} characters "
            f"are too few for a chunk, which needs {chunk + 1}; use --dynamic sgd or a smaller "
            "--chunk"
        )
    xs, ys = (jnp.asarray(a.astype(np.int32)) for a in streams(tokens, 1))
    batches = chunks((xs, ys, jnp.ones(xs.shape, bool)), chunk)
    start = model.first_state(params, (1,))
    return mean_squared_gradient(_chunk_loss(model), params, start, batches)


def dynamic_losses(
    model: Cell,
    params: Params,
    tokens: np.ndarray,
    rule: optax.GradientTransformation,
    chunk: int,
    track: Track = iter,
) -> np.ndarray:
    """The loss of each token after the first, by a model that learns from the tokens before it.

    The parameters take a step after each chunk, on the mean loss of the chunk. The state of the
    cell is carried on, and not computed again with the new parameters.

    Args:
      model: a cell from tokens to logits.
      params: the trained parameters.
      tokens: ``int[N + 1]``.
      rule: from `make_rule`.
      chunk: the number of tokens between two steps.
      track: shows the progress.

    Returns:
      ``float32[N]``, in nats.
    """
    count = len(tokens) - 1
    state = init_train_state(params, rule, model.first_state(params, (1,)))
    losses = []
    for first in track(range(0, count, BLOCK * chunk)):
        at = first + np.arange(BLOCK * chunk)
        valid = at < count
        at = np.where(valid, at, 0)
        xs, ys, counted = (
            jnp.asarray(a.reshape(BLOCK, 1, chunk))
            for a in (tokens[at].astype(np.int32), tokens[at + 1].astype(np.int32), valid)
        )
        state, found = _block(model, rule.update, state, (xs, ys, counted))
        losses.append(np.asarray(found).ravel())
    return np.concatenate(losses)[:count]


@functools.lru_cache(maxsize=8)
def _chunk_loss(model: Cell) -> LossFn[Array]:
    """The mean loss of the valid tokens of a chunk, the next state and the loss of each token."""

    def loss_fn(
        params: Params, carry: State, chunk: tuple[Array, Array, Array]
    ) -> tuple[Array, State, Array]:
        xs, ys, valid = chunk
        carry, logits = unroll(model, params, xs, initial_state=carry, deterministic=True)
        losses = sequence_loss(
            logits, ys, weights=valid.astype(logits.dtype),
            average_over_time=False, average_over_batch=False,
        )  # fmt: skip
        return losses.sum() / jnp.maximum(valid.sum(), 1), carry, losses

    return loss_fn


@functools.partial(jax.jit, static_argnums=(0, 1))
def _block(
    model: Cell,
    update: optax.TransformUpdateFn,
    state: TrainState,
    batches: tuple[Array, Array, Array],
) -> tuple[TrainState, Array]:
    # the settings are part of the state, so one program serves all settings of a rule
    rule = optax.GradientTransformation(lambda _: state.opt_state, update)
    state, _, losses = train_steps(_chunk_loss(model), rule, state, batches)
    return state, losses
