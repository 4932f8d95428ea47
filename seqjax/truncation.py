"""Truncated backpropagation through time: errors flow back over some steps, and no further.

Two kinds share the name. `chunks` cuts streams into chunks of n steps and lets no error over a cut:
the errors of a chunk go back 1, 2, ..., n steps. In `truncated_unroll` and in `truncated_chunk`
every error goes back n.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.engine.unroll import unroll
from seqjax.operations.masking import select
from seqjax.types import Array, Cell, Params, Projected, PyTree, State
from seqjax.wrappers.wrapper import Wrapper


def chunks(streams: PyTree, num_steps: int) -> PyTree:
    """Cut streams into chunks of ``num_steps`` for truncated backpropagation.

    Trained on one after the other, the final state of a chunk being the initial state of the next,
    they see each stream whole while no error flows back over a cut: of the errors of a chunk only
    its last one goes back ``num_steps`` steps. It is the kind that the articles of 2016 use.

    Args:
      streams: a pytree of arrays ``[B, N, ...]``, each row a contiguous stream.
      num_steps: T, the length of a chunk.

    Returns:
      The pytree with arrays ``[N // T, B, T, ...]``, ready for `jax.lax.scan`; the last ``N % T``
      steps of each stream are left out.

    Raises:
      ValueError: ``num_steps`` is not in ``[1, N]``, or the streams differ in B or N.

    >>> print(chunks(jnp.arange(10).reshape(2, 5), 2))
    [[[0 1]
      [5 6]]
    <BLANKLINE>
     [[2 3]
      [7 8]]]
    """
    check_size("chunks", "num_steps", num_steps)
    shapes = {leaf.shape[:2] for leaf in jax.tree.leaves(streams)}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise ValueError(
            f"streams must be arrays [B, N, ...] of one B and one N, got leading axes {shapes}"
        )
    rows, length = shapes.pop()
    count = length // num_steps
    if not count:
        raise ValueError(
            f"streams of {length} steps hold no chunk of num_steps={num_steps}; "
            f"give num_steps of at most {length}, or longer streams"
        )

    def cut(leaf: Array) -> Array:
        whole = leaf[:, : count * num_steps]
        return jnp.moveaxis(whole.reshape(rows, count, num_steps, *leaf.shape[2:]), 1, 0)

    return jax.tree.map(cut, streams)


def truncated_unroll(
    cell: Cell,
    params: Params,
    xs: PyTree,
    num_steps: int,
    *,
    initial_state: State | None = None,
    key: Array | None = None,
) -> tuple[State, PyTree]:
    """Unroll ``cell`` as `seqjax.unroll` does, with gradients that flow back ``num_steps`` steps.

    The output of step t is a function of the state before step ``t - num_steps + 1``, which is a
    constant, and of the parameters and inputs from there on. So each error, of whatever loss, goes
    back exactly ``num_steps`` steps, or to the first step of ``xs`` where that is nearer.
    Neither the states of the chunk before nor the final state have a gradient.

    Each output is computed from its constant anew, all outputs side by side: ``num_steps`` times
    the work and memory of `seqjax.unroll`, in a loop over ``num_steps`` after one over T.

    Args:
      cell: any cell.
      params: as `Cell.init` makes them.
      xs: ``[B, T, D]``, tokens ``[B, T]``, or what the cell takes.
      num_steps: over how many steps errors flow back, the one of the output included; from T on,
        over all.
      initial_state: as `Cell.initial_state` makes it for this batch; zeros without.
      key: for the noise of cells that have any (dropout), the same as in `seqjax.unroll`.

    Returns:
      ``(final_state, outputs)``, equal to those of `seqjax.unroll` up to rounding.

    Raises:
      ValueError: ``num_steps`` is less than 1, or an argument does not fit the others.

    Reference: Pitis, "Styles of truncated backpropagation", 2016.

    >>> import seqjax
    >>> cell = seqjax.BasicRNN(4)
    >>> params = cell.init(jax.random.key(0), input_size=1)
    >>> def last_output(xs, num_steps):
    ...     _, ys = truncated_unroll(cell, params, xs, num_steps)
    ...     return ys[-1].sum()
    >>> xs = jnp.ones((5, 1), jnp.float32)
    >>> print(jax.grad(last_output)(xs, 2)[:, 0] != 0)
    [False False False  True  True]
    """
    check_size("truncated_unroll", "num_steps", num_steps)
    final_state, before = _states_before(cell, params, xs, initial_state, key)
    leading_shape = cell.leading_shape(params, xs)
    return final_state, _outputs(cell, params, xs, before, key, num_steps, leading_shape)


def truncated_chunk(
    cell: Cell,
    params: Params,
    xs: PyTree,
    num_steps: int,
    *,
    initial_state: State,
    key: Array | None = None,
) -> tuple[State, PyTree]:
    """Run a chunk so that each of its errors goes back exactly ``num_steps`` steps.

    ``xs`` is the chunk with the one before it in front, which the errors flow back into. To train
    on a long sequence, give one chunk after the other and the state returned to the next call.

    Args:
      cell: any cell.
      params: as `Cell.init` makes them.
      xs: ``[B, 2 num_steps, D]``, tokens ``[B, 2 num_steps]``, or what the cell takes.
      num_steps: the length of a chunk, and over how many steps errors flow back.
      initial_state: before the first step of ``xs``.
      key: for the noise of cells that have any (dropout).

    Returns:
      ``(state, outputs)``: the state between the two chunks, and the outputs of the second one,
      ``[B, num_steps, ...]``.

    Raises:
      ValueError: ``xs`` is not two chunks long, or as for `truncated_unroll`.

    >>> import seqjax
    >>> cell = seqjax.BasicRNN(4)
    >>> params = cell.init(jax.random.key(0), input_size=1)
    >>> xs = jnp.ones((2, 6, 1), jnp.float32)
    >>> state, ys = truncated_chunk(cell, params, xs, 3, initial_state=cell.initial_state((2,)))
    >>> _, all_ys = seqjax.unroll(cell, params, xs)
    >>> ys.shape, bool(jnp.allclose(ys, all_ys[:, 3:])), bool((state.h == all_ys[:, 2]).all())
    ((2, 3, 4), True, True)
    """
    check_size("truncated_chunk", "num_steps", num_steps)
    leading_shape = cell.leading_shape(params, xs)
    if leading_shape[-1] != 2 * num_steps:
        raise ValueError(
            f"truncated_chunk: num_steps={num_steps} needs xs of {2 * num_steps} steps, a chunk "
            f"and the one before it, got {leading_shape[-1]}"
        )
    _, before = _states_before(cell, params, xs, initial_state, key)
    ys = _outputs(cell, params, xs, before, key, num_steps, leading_shape, first=num_steps)
    between = functools.partial(jnp.take, indices=num_steps, axis=len(leading_shape) - 1)
    return jax.tree.map(between, before), ys


def _states_before(
    cell: Cell, params: Params, xs: PyTree, initial_state: State | None, key: Array | None
) -> tuple[State, State]:
    """The final state and the states before each step, all of them constants."""
    params, xs, initial_state = jax.lax.stop_gradient((params, xs, initial_state))
    return unroll(_StatesBefore(cell), params, xs, initial_state=initial_state, key=key)


@dataclasses.dataclass(frozen=True)
class _StatesBefore(Wrapper):
    """The cell inside, but what it puts out is the state that each step starts from."""

    def step(self, params: Params, state: State, z: Projected) -> tuple[State, PyTree]:
        after, _ = self.cell.step(params, state, z)
        return after, state


@functools.partial(jax.jit, static_argnames=("cell", "num_steps", "leading_shape", "first"))
def _outputs(
    cell: Cell,
    params: Params,
    xs: PyTree,
    before: State,
    key: Array | None,
    num_steps: int,
    leading_shape: tuple[int, ...],
    first: int = 0,
) -> PyTree:
    """The outputs from step ``first`` on, each computed from the state that it goes back to."""
    *batch_shape, length = leading_shape
    n = max(1, min(num_steps, length))
    xs, before = jax.tree.map(lambda a: jnp.moveaxis(a, len(batch_shape), 0), (xs, before))
    noise = None
    if key is not None:
        noise = cell.draw_noise(key, (length, *batch_shape), cell.input_size(params))
    zs = cell.project(params, xs, noise)
    padded_zs = _repeat_first(zs, n - 1)
    state = jax.tree.map(lambda s: s[first:length], _repeat_first(before, n - 1))
    steps = jnp.arange(first, length)

    def body(state: State, k: Array) -> tuple[State, None]:
        """Take step ``t - n + 1 + k`` of every t, where there is one."""
        z = jax.tree.map(
            lambda a: jax.lax.dynamic_slice_in_dim(a, first + k, length - first), padded_zs
        )
        after, _ = cell.step(params, state, z)
        return select(steps - n + 1 + k >= 0, after, state), None

    state, _ = jax.lax.scan(body, state, jnp.arange(n - 1))
    _, ys = cell.step(params, state, jax.tree.map(lambda a: a[first:], zs))
    return jax.tree.map(lambda y: jnp.moveaxis(y, 0, len(batch_shape)), ys)


def _repeat_first(tree: PyTree, times: int) -> PyTree:
    """Put the first element of each array in front of it, ``times`` times over."""

    def one(a: Array) -> Array:
        return jnp.concatenate([jnp.broadcast_to(a[:1], (times, *a.shape[1:])), a])

    return jax.tree.map(one, tree)
