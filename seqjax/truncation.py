"""Truncated backpropagation through time: gradients flow back over a limited number of steps.

There are two kinds. With `chunks`, no gradient crosses the boundary of a chunk of n steps, so the
errors of a chunk flow back over 1, 2, ..., n steps. With `truncated_unroll` and `truncated_chunk`,
every error flows back over exactly n steps.
"""

import dataclasses

import jax
import jax.numpy as jnp

from seqjax.arrays import as_arrays, check_leading_axes
from seqjax.checks import check_size
from seqjax.engine.loop import Method, SequenceLoop, run_chunks
from seqjax.engine.unroll import Run, run_checked
from seqjax.engine.validation import check_can_step
from seqjax.operations.masking import select
from seqjax.types import Array, Cell, Noise, Params, Projected, PyTree, State


def chunks(streams: PyTree, num_steps: int) -> PyTree:
    """Split streams into chunks of ``num_steps`` for truncated backpropagation.

    Train on the chunks in order, with the final state of each chunk as the initial state of the
    next. The model then reads each stream as a whole, but no gradient crosses the boundary of a
    chunk: only the error of its last step flows back over ``num_steps`` steps.

    Args:
      streams: a pytree of arrays ``[B, N, ...]``, each row a contiguous stream.
      num_steps: T, the length of a chunk.

    Returns:
      The pytree with arrays ``[N // T, B, T, ...]``, for `jax.lax.scan`. The last ``N % T`` steps
      of each stream are dropped.

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
    streams = as_arrays("streams", streams)
    rows, length = check_leading_axes("streams", streams, "B", "N")
    count = length // num_steps
    if not count:
        raise ValueError(
            f"num_steps must be at most {length}, the length of the streams, got {num_steps}; "
            "use shorter chunks or longer streams"
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
    """Run a cell over a sequence, with gradients that flow back over ``num_steps`` steps.

    The values are those of `seqjax.unroll`. For gradients, the output of step t is a function of
    the parameters, of the inputs of the last ``num_steps`` steps, and of the state before them,
    which is a constant. So the error of each step flows back over exactly ``num_steps`` steps, or
    to the first step of ``xs``. The final state has no gradient.

    After a loop over T, a loop over ``num_steps`` computes all outputs in parallel, each from its
    own constant state. Work and memory are about ``num_steps`` times those of `seqjax.unroll`.

    Args:
      cell: a cell that can run step by step; bidirectional layers cannot.
      params: the parameters of the cell, as `Cell.init` returns them.
      xs: floating ``[B, T, D]`` or integer tokens ``[B, T]``, as in `seqjax.unroll`.
      num_steps: the number of steps that gradients flow back over, including the step of the
        output. T or more gives the gradients of `seqjax.unroll` with a constant initial state.
      lengths: ``int[B]``, the number of valid steps of each row; defaults to T.
      mask: ``bool[B, T]``, True at valid steps. Other steps count towards ``num_steps``.
      initial_state: the state before the first step; defaults to the first state of the cell.
      key: a PRNG key for the noise of layers such as `Dropout`, in training.
      deterministic: whether noisy layers run in evaluation mode, without noise.
      time_major: ``xs``, ``mask`` and the outputs have the axes ``[T, B, ...]``.
      method: how to run the steps: ``"auto"``, ``"scan"`` or ``"static"``.
      remat: checkpoint the states every ``remat`` of the ``num_steps`` steps, and recompute all
        other values in the backward pass.

    Returns:
      ``(final_state, outputs)``, equal to those of `seqjax.unroll` up to rounding.

    Raises:
      ValueError: ``num_steps`` is less than 1, or the arguments do not fit together.

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
    initial_state: State | None,
    lengths: Array | None = None,
    mask: Array | None = None,
    key: Array | None = None,
    deterministic: bool = False,
    time_major: bool = False,
    method: Method = "auto",
    remat: int | None = None,
) -> tuple[State, PyTree]:
    """Run a cell over a chunk, with gradients that flow back over exactly ``num_steps`` steps.

    ``xs`` holds two chunks: the chunk to train on, preceded by the chunk that its errors flow back
    into. To train on a long sequence, advance by one chunk per call and pass on the returned state.
    Gradients are as in `truncated_unroll`.

    Args:
      cell: a cell that can run step by step; bidirectional layers cannot.
      params: the parameters of the cell, as `Cell.init` returns them.
      xs: two chunks, ``[B, 2 * num_steps, D]`` or tokens ``[B, 2 * num_steps]``.
      num_steps: the length of a chunk, and the number of steps that gradients flow back over.
      initial_state: the state before the first step of ``xs``; None for the first state of the
        cell.
      lengths: ``int[B]``, the number of valid steps of each row, over both chunks.
      mask: ``bool[B, 2 * num_steps]``, True at valid steps.
      key: a PRNG key for the noise of layers such as `Dropout`, in training.
      deterministic: whether noisy layers run in evaluation mode, without noise.
      time_major: ``xs``, ``mask`` and the outputs have the axes ``[T, B, ...]``.
      method: how to run the steps: ``"auto"``, ``"scan"`` or ``"static"``.
      remat: checkpoint the states every ``remat`` of the ``num_steps`` steps, and recompute all
        other values in the backward pass.

    Returns:
      ``(state, outputs)``: the state between the two chunks, and the outputs of the second chunk,
      ``[B, num_steps, ...]``.

    Raises:
      ValueError: ``xs`` is not two chunks long, or the arguments do not fit together.

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
            f"method must be 'auto', 'scan' or 'static' for truncated backpropagation, which runs "
            f"step by step, got {method!r}"
        )


@dataclasses.dataclass(frozen=True)
class _Truncated(Run):
    """The run that returns the final state and all outputs."""

    num_steps: int

    def __call__(
        self, loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
    ) -> tuple[State, PyTree]:
        final, before, zs = _constant_states(loop, cell, params, state, xs, noise)
        return final, _outputs(loop, cell, params, before, zs, self.num_steps, first=0)


@dataclasses.dataclass(frozen=True)
class _TruncatedChunk(Run):
    """The run that returns the state between two chunks and the outputs of the second."""

    num_steps: int

    def check_steps(self, num_steps: int) -> None:
        n = self.num_steps
        if num_steps != 2 * n:
            raise ValueError(
                f"truncated_chunk: num_steps={n} needs xs of {2 * n} steps, the chunk before and "
                f"the chunk itself, got {num_steps}"
            )

    def __call__(
        self, loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
    ) -> tuple[State, PyTree]:
        n = self.num_steps
        _, before, zs = _constant_states(loop, cell, params, state, xs, noise)
        ys = _outputs(loop, cell, params, before, zs, n, first=n)
        return jax.tree.map(lambda s: s[n], before), ys


def _constant_states(
    loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
) -> tuple[State, State, Projected]:
    """The final state, the states before each step (both constants), and the projected inputs."""
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
    """The outputs from step ``first`` on, each computed from the state ``num_steps`` before it."""
    length = jax.tree.leaves(zs)[0].shape[0]
    n = max(1, min(num_steps, length))
    steps = jnp.arange(first, length)
    padded_zs, padded_mask = _repeat_first((zs, loop.mask), n - 1)
    state = jax.tree.map(lambda s: s[first:length], _repeat_first(before, n - 1))

    def body(state: State, k: Array) -> tuple[State, None]:
        """Run step ``t - n + 1 + k`` for every t at once, if there is such a step."""

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
    """Prepend the first element of each array to it ``times`` times."""

    def one(a: Array) -> Array:
        return jnp.concatenate([jnp.broadcast_to(a[:1], (times, *a.shape[1:])), a])

    return jax.tree.map(one, tree)
