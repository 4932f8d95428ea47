"""Valid calls of the losses of real targets and counts."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.wrong_calls.accepts import (
    Accepts,
    between,
    floats,
    is_integer,
    is_number,
    like,
    optional,
)
from benchmarks.wrong_calls.example import Argument, Example, of
from seqjax import losses


def loss_examples() -> list[Example]:
    """Valid calls of the losses that do not take logits."""
    xs = jnp.full((2, 3, 2), 0.5, jnp.float32)
    steps = xs[..., 0]
    counts = np.array([[[0, 1], [2, 3], [4, 5]], [[1, 0], [2, 2], [3, 1]]])
    quantiles = (0.1, 0.9)
    lengths = np.array([3, 1])
    real = Argument(xs, _numbers(xs))
    weights = Argument(steps, lambda v: v is None or _numbers(steps)(v) or like(steps > 0)(v))
    averaging: dict[str, Any] = {
        "lengths": Argument(lengths, optional(like(lengths, 0, 3))),
        "average_over_time": True,
        "average_over_batch": True,
        "time_major": False,
    }
    options = averaging | {"feature_axes": Argument(1, between(1, 1, is_integer))}
    several = jnp.stack([xs, xs + 1], -1)
    predictions = Argument(xs, like(xs))
    return [
        of("masked_mean", losses.masked_mean, values=Argument(steps, _is_values), **averaging),
        of(
            "masked_mean weighted",
            losses.masked_mean,
            values=Argument(steps, like(steps)),
            weights=weights,
        ),
        of(
            "squared_error",
            losses.squared_error,
            predictions=predictions,
            targets=real,
            **options,
        ),
        of(
            "squared_error weighted",
            losses.squared_error,
            predictions=predictions,
            targets=real,
            weights=weights,
        ),
        of(
            "absolute_error",
            losses.absolute_error,
            predictions=predictions,
            targets=real,
            **options,
        ),
        of(
            "quantile_loss",
            losses.quantile_loss,
            predictions=Argument(several, like(several)),
            targets=real,
            quantiles=Argument(quantiles, _is_quantiles),
            **options,
        ),
        of(
            "gaussian_loss",
            losses.gaussian_loss,
            mean=predictions,
            log_deviation=predictions,
            targets=real,
            **options,
        ),
        of(
            "poisson_loss",
            losses.poisson_loss,
            log_rate=predictions,
            targets=Argument(
                counts,
                lambda v: like(counts, 0)(v) or (like(xs)(v) and bool((np.asarray(v) >= 0).all())),
            ),
            **options,
        ),
    ]


def _numbers(valid: Any) -> Accepts:
    """Floats and integers of the shape of ``valid``."""
    return lambda v: like(valid)(v) or like(valid.astype(jnp.int32))(v)


def _is_values(value: Any) -> bool:
    """Whether ``value`` is floating, with at least as many steps as the lengths say."""
    return floats(2, None)(value) and np.shape(value)[-1] >= 3


def _is_quantiles(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(map(is_number, value))
        and 0 < value[0] < value[1] < 1
    )
