"""The value and gradient of a loss, averaged over micro-batches."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.training.accumulation import over_micro_batches
from seqjax.training.state import Metrics, check_loss_fn
from seqjax.types import Array, Params, PyTree


def mean_value_and_grad(
    loss_fn: Callable[..., tuple[Array, PyTree, *Metrics]],
    accumulate: int = 1,
) -> Callable[..., tuple[tuple[Array, PyTree, *Metrics], Params]]:
    """Transform a loss into its value and gradient, averaged over micro-batches.

    Inside of a `jax.shard_map` of your own, mark the parameters as varying, and average the results
    over devices. Each device then accumulates the gradients of its own rows, and they are reduced
    once::

        params = jax.tree.map(lambda p: jax.lax.pcast(p, "data", to="varying"), params)
        (loss, carry), grads = mean_value_and_grad(loss_fn, accumulate=4)(params, carry, batch)
        loss, grads = jax.lax.pmean((loss, grads), "data")

    The average equals the loss of the whole batch only if each device averages over the same number
    of elements: with varying lengths, divide a sum by a constant. Devices share the key unless it
    is folded with `jax.lax.axis_index`. `data_parallel_steps` computes the loss and noise of the
    whole batch instead, and has no such conditions.

    Args:
      loss_fn: ``(params, ...) -> (loss, aux)`` or ``(loss, aux, metrics)``. With ``accumulate``,
        the arguments are ``(params, carry, batch)`` or ``(params, carry, batch, key)``, and ``aux``
        is the next carry.
      accumulate: the number of micro-batches, whose gradients are averaged, see `train_step`.

    Returns:
      ``(params, ...) -> (the results of loss_fn, gradients)``.

    Raises:
      ValueError: ``loss_fn`` is not a function, or ``accumulate`` is not a whole number of at least
        1; also when the result is called, if ``loss_fn`` returns anything else or a loss with axes,
        or if ``accumulate`` does not divide the rows.

    >>> gradient = mean_value_and_grad(lambda w, x: ((w * x) ** 2, None))
    >>> (loss, _), slope = gradient(2.0, 3.0)
    >>> print(loss, slope)
    36.0 36.0
    """
    check_loss_fn(loss_fn)
    check_size("mean_value_and_grad", "accumulate", accumulate)

    def split(params: Params, *arguments: PyTree) -> tuple[Array, Any]:
        loss, *more = _check_result(loss_fn(params, *arguments))
        return loss, more

    value_and_grad = jax.value_and_grad(split, has_aux=True)

    def gradient(params: Params, *arguments: PyTree) -> Any:
        (loss, more), grads = value_and_grad(params, *arguments)
        return (loss, *more), grads

    return over_micro_batches(gradient, accumulate) if accumulate > 1 else gradient


def _check_result(result: Any) -> tuple[Any, ...]:
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        given = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        raise ValueError(
            "the loss function must return (loss, next carry) or (loss, next carry, metrics), got "
            f"{given}; return None as the carry if there is none"
        )
    if jnp.shape(result[0]):
        raise ValueError(
            f"the loss must be one number, got an array of shape {jnp.shape(result[0])}; take its "
            "mean"
        )
    return result
