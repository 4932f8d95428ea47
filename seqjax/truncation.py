"""Truncated backpropagation through time: errors flow back over some steps, and no further.

Two kinds share the name. `chunks` cuts streams into chunks of n steps and lets no error over a cut:
the errors of a chunk go back 1, 2, ..., n steps. In `truncated_unroll` and in `truncated_chunk`
every error goes back n.
"""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.checks import check_size
from seqjax.engine.loop import Method, SequenceLoop, run_chunks
from seqjax.engine.unroll import Run, run_checked
from seqjax.engine.validation import check_can_step
from seqjax.operations.masking import select
from seqjax.types import Array, Cell, Noise, Params, Projected, PyTree, State


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
    lengths: Array | None = None,
    mask: Array | None = None,
    initial_state: State | None = None,
    key: Array | None = None,
    deterministic: bool = False,
    time_major: bool = False,
    method: Method = "auto",
    remat: int | None = None,
) -> tuple[State, PyTree]:
    """Unroll ``cell`` as `seqjax.unroll` does, with gradients that flow back ``num_steps`` steps.

    The output of step t is a function of the state before step ``t - num_steps + 1``, which is a
    constant, and of the parameters and inputs from there on. So each error, of whatever loss, goes
    back exactly ``num_steps`` steps, or to the first step of ``xs`` where that is nearer.
    Neither the states of the chunk before nor the final state have a gradient.

    All outputs are computed side by side, each from its own constant: ``num_steps`` times the work
    and memory of `seqjax.unroll`, in a loop over ``num_steps`` after one over T.

    Args:
      cell: a cell that can step.
      params: as `Cell.init` makes them.
      xs: as in `seqjax.unroll`, and so are all other arguments that are not named here.
      num_steps: over how many steps errors flow back, the one of the output included; from T on,
        over all.
      lengths: ``int[B]``, the number of steps of each row; defaults to T.
      mask: ``bool[B, T]``, the steps that count. The others are among the ``num_steps``.
      initial_state: defaults to the first state of the cell.
      key: for the noise of cells that have any (dropout), the same as in `seqjax.unroll`.
      deterministic: run a noisy cell in evaluation mode.
      time_major: time comes first.
      method: how to loop: ``"auto"``, ``"scan"`` or ``"static"``.
      remat: checkpoint the states every ``remat`` of the ``num_steps``, and recompute the rest.

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
    _check_method(method)
    return run_checked(
        _Truncated(num_steps), cell, params, xs, lengths, mask, initial_state, key, deterministic,
        False, time_major, method, remat,
    )  # fmt: skip


def truncated_chunk(
    cell: Cell,
    params: Params,
    xs: PyTree,
    num_steps: int,
    *,
    initial_state: State,
    lengths: Array | None = None,
    mask: Array | None = None,
    key: Array | None = None,
    deterministic: bool = False,
    time_major: bool = False,
    method: Method = "auto",
    remat: int | None = None,
) -> tuple[State, PyTree]:
    """Run a chunk so that each of its errors goes back exactly ``num_steps`` steps.

    ``xs`` is the chunk with the one before it in front, which the errors flow back into. To train
    on a long sequence, give one chunk after the other and the state returned to the next call.

    Args:
      cell: a cell that can step.
      params: as `Cell.init` makes them.
      xs: ``[B, 2 num_steps, D]``, tokens ``[B, 2 num_steps]``, or what the cell takes. All
        arguments that are not named here are those of `truncated_unroll`, over both chunks.
      num_steps: the length of a chunk, and over how many steps errors flow back.
      initial_state: before the first step of ``xs``.
      lengths: ``int[B]``, steps of each row in both chunks together.
      mask: ``bool[B, 2 num_steps]``.
      key: for the noise of cells that have any (dropout).
      deterministic: run a noisy cell in evaluation mode.
      time_major: time comes first.
      method: how to loop.
      remat: checkpoint the states every ``remat`` of the ``num_steps``.

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
    _check_method(method)
    return run_checked(
        _TruncatedChunk(num_steps), cell, params, xs, lengths, mask, initial_state, key,
        deterministic, False, time_major, method, remat,
    )  # fmt: skip


def _check_method(method: Method) -> None:
    if method in ("associative", "cudnn"):
        raise ValueError(
            f"truncated backpropagation runs step by step, which method {method!r} does not; use "
            "'auto', 'scan' or 'static'"
        )


@dataclasses.dataclass(frozen=True)
class _Truncated(Run):
    """All outputs, and the final state."""

    num_steps: int

    def __call__(
        self, loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
    ) -> tuple[State, PyTree]:
        final, before, zs = _constant_states(loop, cell, params, state, xs, noise)
        return final, _outputs(loop, cell, params, before, zs, self.num_steps, first=0)


@dataclasses.dataclass(frozen=True)
class _TruncatedChunk(Run):
    """The outputs of the second half, and the state between the halves."""

    num_steps: int

    def __call__(
        self, loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
    ) -> tuple[State, PyTree]:
        n = self.num_steps
        given = jax.tree.leaves(xs)[0].shape[0]
        if given != 2 * n:
            raise ValueError(
                f"truncated_chunk: num_steps={n} needs xs of {2 * n} steps, a chunk and the one "
                f"before it, got {given}"
            )
        _, before, zs = _constant_states(loop, cell, params, state, xs, noise)
        ys = _outputs(loop, cell, params, before, zs, n, first=n)
        return jax.tree.map(lambda s: s[n], before), ys


def _constant_states(
    loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
) -> tuple[State, State, Projected]:
    """The final state and the states before each step, all constants, and what steps need."""
    check_can_step(cell)

    def step(params: Params, state: State, z: Projected) -> tuple[State, State]:
        after, _ = cell.step(params, state, z)
        return after, state

    zs = cell.project(params, xs, noise)
    constants = jax.lax.stop_gradient((params, state, zs))
    return *loop.run_steps(step, *constants, loop.mask), zs


def _outputs(
    loop: SequenceLoop,
    cell: Cell,
    params: Params,
    before: State,
    zs: Projected,
    num_steps: int,
    first: int,
) -> PyTree:
    """The outputs from step ``first`` on, each computed from the state that it goes back to."""
    length = jax.tree.leaves(zs)[0].shape[0]
    n = max(1, min(num_steps, length))
    steps = jnp.arange(first, length)
    padded_zs, padded_mask = _repeat_first((zs, loop.mask), n - 1)
    state = jax.tree.map(lambda s: s[first:length], _repeat_first(before, n - 1))

    def body(state: State, k: Array) -> tuple[State, None]:
        """Take step ``t - n + 1 + k`` of every t, where there is one."""

        def of_step(a: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(a, first + k, length - first)

        z, mask = jax.tree.map(of_step, (padded_zs, padded_mask))
        after, _ = cell.step(params, state, z)
        if mask is not None:
            after = select(mask, after, state)
        return select(steps - n + 1 + k >= 0, after, state), None

    def run(state: State, ks: Array) -> tuple[State, None]:
        if loop.method != "static":
            return jax.lax.scan(body, state, ks)
        for k in ks:
            state, _ = body(state, k)
        return state, None

    ks = jnp.arange(n - 1)
    if loop.remat is None or loop.remat >= n - 1:
        state, _ = run(state, ks)
    else:
        state, _ = run_chunks(run, loop.remat, n - 1, False, state, ks)
    _, ys = cell.step(params, state, jax.tree.map(lambda a: a[first:], zs))
    return ys


def _repeat_first(tree: PyTree, times: int) -> PyTree:
    """Put the first element of each array in front of it, ``times`` times over."""

    def one(a: Array) -> Array:
        return jnp.concatenate([jnp.broadcast_to(a[:1], (times, *a.shape[1:])), a])

    return jax.tree.map(one, tree)
