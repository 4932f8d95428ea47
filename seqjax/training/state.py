"""The state of training between two steps."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVarTuple

import jax
import jax.numpy as jnp
import optax

from seqjax.arrays import as_arrays, as_params
from seqjax.checks import describe
from seqjax.types import Array, Params, PyTree, State

Batch = PyTree
Metrics = TypeVarTuple("Metrics")
# (params, carry, batch) -> (loss, next carry). A key, if there is one, is a fourth argument, and
# metrics, if there are any, are a third result.
LossFn = Callable[..., tuple[Array, State, *Metrics]]


class TrainState(NamedTuple):
    """The state of training between two steps.

    Attributes:
      step: the number of steps taken, ``int32[]``.
      params: the parameters.
      opt_state: the state of the optimizer.
      carry: the recurrent state after the previous chunk.
    """

    step: Array
    params: Params
    opt_state: optax.OptState
    carry: State


def init_train_state(
    params: Params, optimizer: optax.GradientTransformation, carry: State
) -> TrainState:
    """Create the `TrainState` of step 0, with the recurrent state ``carry``.

    Raises:
      ValueError: ``params`` are not floating arrays, ``carry`` is not a pytree of arrays, or
        ``optimizer`` is not an optax transformation.

    >>> print(init_train_state(jnp.zeros(2), optax.sgd(0.1), carry=None).step)
    0
    """
    check_optimizer(optimizer)
    params, carry = check_params(params), as_arrays("carry", carry)
    return TrainState(jnp.zeros((), jnp.int32), params, optimizer.init(params), carry)


def check_params(params: Params) -> Params:
    """Check that ``params`` are floating arrays, at least one; return arrays."""
    if not jax.tree.leaves(params):
        raise ValueError(f"params must hold at least one array to train, got {describe(params)}")
    return as_params(params)


def check_optimizer(optimizer: Any) -> None:
    """Raise ``ValueError`` unless ``optimizer`` is an optax transformation."""
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise ValueError(
            "optimizer must be an optax transformation, such as optax.adam(1e-3), got "
            f"{optimizer!r}"
        )


def check_loss_fn(loss_fn: Any) -> None:
    """Raise ``ValueError`` unless ``loss_fn`` is a function."""
    if not callable(loss_fn):
        raise ValueError(
            "loss_fn must be a function (params, carry, batch) -> (loss, next carry), got "
            f"{loss_fn!r}"
        )


def check_state(state: Any) -> TrainState:
    """Check that ``state`` is a `TrainState`; return arrays."""
    if not isinstance(state, TrainState):
        raise ValueError(f"state must be a TrainState from init_train_state, got {describe(state)}")
    state = TrainState(*as_arrays("state", state._replace(params=None)))._replace(
        params=check_params(state.params)
    )
    step = state.step
    if not isinstance(step, Array) or step.shape or not jnp.issubdtype(step.dtype, jnp.integer):
        raise ValueError(f"the step of state must be one integer, got {describe(step)}")
    return state


def check_opt_state(optimizer: optax.GradientTransformation, state: TrainState) -> None:
    """Raise ``ValueError`` unless the state of the optimizer has the shapes that ``init`` gives."""
    shapes = [
        (jax.tree.structure(tree), [leaf.shape for leaf in jax.tree.leaves(tree)])
        for tree in (state.opt_state, jax.eval_shape(optimizer.init, state.params))
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "the opt_state of state is for another optimizer or other parameters; make the state "
            "with init_train_state and this optimizer"
        )
