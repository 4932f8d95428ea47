"""Dynamic evaluation: a model goes on learning from the text that it has just scored.

A chunk is scored first, and then the parameters take a step on its loss. So the score of a chunk
depends on earlier chunks only. Each step also pulls the parameters back towards the trained ones,
so that recent text counts most. The rules are optax transformations. `seqjax.training.train_steps`
with one of them, over the chunks of a text in their order, is dynamic evaluation, and returns the
losses before each step::

    optimizer = sgd(learning_rate=1e-4, decay=1e-3)
    state = init_train_state(params, optimizer, carry)    # params: the trained parameters
    state, losses = train_steps(loss_fn, optimizer, state, chunks)

Choose learning rate and decay on a part of the training text that the model was not trained on,
never on the text to be scored.

Reference: Krause, Kahembwe, Murray and Renals, "Dynamic evaluation of neural sequence models",
2018.
"""

import functools
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqjax.arrays import as_arrays, as_params, describe_tree
from seqjax.checks import check_number, check_range
from seqjax.training.state import Batch, LossFn, Metrics
from seqjax.types import Array, Params, PyTree, State


class Pull(NamedTuple):
    """The state of `sgd` and `rms`.

    Attributes:
      trained: the parameters before the first step.
      rates: the learning rate of each parameter.
      decays: the part of the distance to ``trained`` that each parameter moves back in a step.
    """

    trained: Params
    rates: Params
    decays: Params


def sgd(learning_rate: float, decay: float = 0.0) -> optax.GradientTransformation:
    """Gradient descent that decays towards the trained parameters::

        params' = params - learning_rate * gradient + decay * (trained - params)

    Args:
      learning_rate: at least 0.
      decay: in ``[0, 1]``.

    Raises:
      ValueError: an argument is outside of its range.

    >>> rule = sgd(learning_rate=0.5, decay=0.1)
    >>> state = rule.init(jnp.array([1.0]))
    >>> updates, state = rule.update(jnp.array([2.0]), state, jnp.array([3.0]))
    >>> print(updates)  # -0.5 * 2 + 0.1 * (1 - 3)
    [-1.2]
    """
    _check(learning_rate, decay)

    def init(params: Params) -> Pull:
        def full(value: float) -> Params:
            return jax.tree.map(lambda p: jnp.full((), value, p.dtype), params)

        return Pull(params, full(learning_rate), full(decay))

    return optax.GradientTransformation(init, _update)


def rms(
    statistics: PyTree, learning_rate: float, decay: float = 0.0, epsilon: float = 1e-8
) -> optax.GradientTransformation:
    """Gradient descent with rates and decays that follow the gradients in training.

    With the root mean square ``R`` of each parameter's gradient::

        params' = params - learning_rate * gradient / (R + epsilon)
                         + min(decay * R / mean(R), 1) * (trained - params)

    where the mean is over all parameters. Parameters with large gradients in training move less,
    and return faster.

    Args:
      statistics: mean squared gradients, from `mean_squared_gradient`.
      learning_rate: at least 0.
      decay: at least 0; the part of the distance that an average parameter moves back in a step.
      epsilon: above 0.

    Raises:
      ValueError: an argument is outside of its range, or ``statistics`` do not have the structure
        and shapes of the parameters.

    >>> rule = rms(jnp.array([4.0]), learning_rate=0.5, decay=0.1)
    >>> state = rule.init(jnp.array([1.0]))
    >>> updates, state = rule.update(jnp.array([2.0]), state, jnp.array([3.0]))
    >>> print(updates)  # -0.5 * 2 / 2 + 0.1 * (1 - 3)
    [-0.7]
    """
    _check(learning_rate, decay, most=sys.float_info.max)
    check_number("rms", "epsilon", epsilon)
    if epsilon <= 0:
        raise ValueError(f"rms: epsilon must be above 0, got {epsilon}")
    roots = jax.tree.map(jnp.sqrt, as_params(statistics))
    leaves = jax.tree.leaves(roots)
    if not leaves:
        raise ValueError("rms: statistics must hold at least one array")
    mean = sum(root.sum() for root in leaves) / sum(root.size for root in leaves)

    def init(params: Params) -> Pull:
        given, wanted = describe_tree(roots), describe_tree(params)
        if given != wanted:
            raise ValueError(
                f"rms: statistics must have the shapes of the parameters, {wanted}, got {given}"
            )
        rates = jax.tree.map(lambda root: learning_rate / (root + epsilon), roots)
        # gradients that are 0 everywhere leave no parameter to pull back
        safe = jnp.where(mean > 0, mean, 1)
        decays = jax.tree.map(lambda root: jnp.minimum(decay * root / safe, 1), roots)
        return Pull(params, rates, decays)

    return optax.GradientTransformation(init, _update)


def _update(grads: PyTree, state: Pull, params: Params | None = None) -> tuple[PyTree, Pull]:
    if params is None:
        raise ValueError("dynamic evaluation needs the parameters: update(grads, state, params)")

    def one(grad: Array, p: Array, trained: Array, rate: Array, decay: Array) -> Array:
        rate, decay = (jnp.broadcast_to(a.astype(p.dtype), p.shape) for a in (rate, decay))
        return -rate * grad.astype(p.dtype) + decay * (trained - p)

    return jax.tree.map(one, grads, params, *state), state


def mean_squared_gradient(
    loss_fn: LossFn[*Metrics], params: Params, carry: State, batches: Batch
) -> PyTree:
    """The mean over batches of the squared gradient of a loss, for `rms`.

    Args:
      loss_fn: ``(params, carry, batch) -> (loss, next_carry)``, as in
        `seqjax.training.train_step`. Use the loss and the size of chunks of the evaluation.
      params: the trained parameters. They stay constant.
      carry: the recurrent state before the first batch.
      batches: chunks of the training text, arrays ``[K, ...]``, with K of at least 1.

    Returns:
      Arrays with the structure and shapes of ``params``.

    Raises:
      ValueError: ``loss_fn`` is not a function, or ``batches`` hold no batch.

    >>> def loss_fn(params, carry, batch):
    ...     return (params * batch).sum(), carry
    >>> batches = jnp.array([[1.0, 0.0], [3.0, 2.0]])
    >>> print(mean_squared_gradient(loss_fn, jnp.zeros(2), None, batches))
    [5. 2.]
    """
    if not callable(loss_fn):
        raise ValueError(f"loss_fn must be a function, got {loss_fn!r}")
    if not jax.tree.leaves(params):
        raise ValueError(f"params must hold at least one array, got {describe_tree(params)}")
    params, carry = as_params(params), as_arrays("carry", carry)
    batches = as_arrays("batches", batches)
    sizes = {a.shape[:1] for a in jax.tree.leaves(batches)}
    if len(sizes) != 1 or sizes <= {(), (0,)}:
        raise ValueError(
            "batches must be arrays [K, ...] with one K of at least 1, got "
            f"{describe_tree(batches)}"
        )
    return _mean_squared_gradient(loss_fn, params, carry, batches)


@functools.partial(jax.jit, static_argnums=0)
def _mean_squared_gradient(
    loss_fn: LossFn[*Metrics], params: Params, carry: State, batches: Batch
) -> PyTree:
    def body(state: tuple[PyTree, State], batch: Batch) -> tuple[tuple[PyTree, State], None]:
        total, carry = state

        def loss(params: Params) -> tuple[Array, Any]:
            value, after, *_ = loss_fn(params, carry, batch)
            return value, after

        grads, after = jax.grad(loss, has_aux=True)(params)
        return (jax.tree.map(lambda s, g: s + g * g, total, grads), after), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    (total, _), _ = jax.lax.scan(body, (zeros, carry), batches)
    count = jax.tree.leaves(batches)[0].shape[0]
    return jax.tree.map(lambda s: s / count, total)


def _check(learning_rate: float, decay: float, most: float = 1.0) -> None:
    owner = "dynamic evaluation"
    check_range(owner, "learning_rate", learning_rate, 0, sys.float_info.max)
    check_range(owner, "decay", decay, 0, most)
