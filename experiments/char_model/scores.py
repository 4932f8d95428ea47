"""The scores of a run and its sample, which process 0 computes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.progress import Progress

from experiments.char_model.baselines import baselines
from experiments.char_model.config import Config
from experiments.char_model.evaluation import Track, rows_for, streaming, windowed
from experiments.char_model.text import Text
from experiments.errors import NotFiniteError
from experiments.processes import Watch
from seqjax import Cell
from seqjax.sampling import Sampling, generate, prime
from seqjax.types import Params, PyTree

EVALUATION_ROWS = 32  # parts of the validation text in one batch, for evaluation during training
EVALUATED = 2_000_000  # characters of a longer validation text that are read during training


def local(tree: PyTree) -> PyTree:
    """The arrays of a replicated tree on the first device of this process.

    >>> local([jnp.ones(2, jnp.float32)])
    [Array([1., 1.], dtype=float32)]
    """
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def during_training(model: Cell, text: Text, params: Params, bars: Progress, watch: Watch) -> float:
    """The loss on the validation text in nats per character, read in parts."""
    with _shown(bars, "evaluating", watch) as track:
        start = text.validation[:EVALUATED]
        return streaming(model, params, start, EVALUATION_ROWS, track).nats


def sample(model: Cell, text: Text, params: Params, seed: int, step: int) -> str:
    """A sampled text of 200 characters.

    Raises:
      NotFiniteError: the logits overflow, although the parameters are finite.
    """
    start = prime(model, params, jnp.asarray(text.validation[None, :1]))
    key = jax.random.fold_in(jax.random.key(seed), step)
    try:
        _, tokens = generate(model, params, start, key, 200, Sampling())
    except ValueError as error:
        raise NotFiniteError(f"the model of step {step} cannot be sampled: {error}") from None
    return text.vocabulary.decode(np.asarray(tokens)[0])


def final(
    model: Cell, text: Text, config: Config, params: Params, bars: Progress, watch: Watch
) -> dict[str, Any]:
    """The scores of the whole validation text, for ``result.json``."""
    rows = rows_for(text.validation)
    with _shown(bars, "scoring the text as a stream", watch) as track:
        stream = streaming(model, params, text.validation, rows, track)
    with _shown(bars, "scoring windows", watch) as track:
        window = windowed(model, params, text.validation, config.window, track)
    if config.ngrams != "none":
        bars.add_task(f"counting {config.ngrams} n-grams", total=None)
    ngrams = baselines(text.train, text.validation, text.vocabulary.size, config.ngrams)
    return {
        "val": {
            "streaming_nats": stream.nats,
            "streaming_bits": stream.bits,
            "streaming_bits_per_byte": stream.bits * len(text.validation) / text.validation_bytes,
            "streaming_rows": rows,
            "windowed_nats": window.nats,
            "window": config.window,
        },
        "ngram_nats": {str(order): loss for order, loss in ngrams.nats.items()},
        "ngram_characters": {"counted": ngrams.counted, "scored": ngrams.scored},
    }


@contextlib.contextmanager
def _shown(bars: Progress, description: str, watch: Watch) -> Iterator[Track]:
    """Yield a `Track` that shows a bar until the block ends."""
    task = bars.add_task(description, total=None)
    try:
        # an error of watch passes through the thread of the bar, which then ends
        yield lambda steps: bars.track(watch(steps), total=len(steps), task_id=task)
    finally:
        bars.remove_task(task)
