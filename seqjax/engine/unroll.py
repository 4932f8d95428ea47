"""Run a cell over a sequence."""

import abc
import dataclasses
import functools
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_arrays, as_int32, as_params, given_array
from seqjax.checks import check_choice, check_flag, check_size
from seqjax.engine.loop import Method, SequenceLoop
from seqjax.engine.rows import split_rows
from seqjax.engine.validation import (
    check_batch,
    check_cell,
    check_contexts,
    check_fixed_time,
    check_noise,
    check_params,
    check_state,
    noise_of,
    state_dtype,
)
from seqjax.operations.masking import check_tokens, resolve_mask, zero_outside
from seqjax.types import Array, Cell, Noise, Params, PyTree, State


def unroll(
    cell: Cell,
    params: Params,
    xs: PyTree,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    initial_state: State | None = None,
    key: Array | None = None,
    deterministic: bool = False,
    reverse: bool = False,
    time_major: bool = False,
    method: Method = "auto",
    remat: int | None = None,
) -> tuple[State, PyTree]:
    """Run a cell over a sequence.

    At each valid step, the cell computes ``state, y = step(state, x)``. At every other step (past
    the length of its row, or where the mask is False), the state does not change and the output is
    exactly 0. The values of ``xs`` at these steps, even NaN, affect neither outputs nor gradients.

    Args:
      cell: a cell, or a layer around other cells, such as a `Stack` or `Bidirectional`. Equal cells
        share compiled programs.
      params: the parameters of the cell, as `Cell.init` returns them.
      xs: floating ``[B, T, D]`` or integer tokens ``[B, T]``, with any number of batch axes.
        Integers are always tokens: cast a one-hot array to a floating dtype. Some cells take a
        pytree, such as `TimedInputs` or `ResetInputs`.
      lengths: ``int[B]`` in ``[0, T]``, the number of valid steps of each row; defaults to T.
      mask: ``bool[B, T]``, True at valid steps, in any pattern. Give ``lengths`` or ``mask``, not
        both.
      initial_state: the state before the first step, in the structure of `Cell.initial_state`;
        defaults to zeros, or to the learned state of a `LearnedState`.
      key: a PRNG key for the noise of layers such as `Dropout`, in training.
      deterministic: whether noisy layers run in evaluation mode, without noise. A noisy layer needs
        either ``key`` or ``deterministic=True``.
      reverse: run from the last step of each row to the first. The outputs stay aligned with the
        inputs, and the final state is the state after step 0.
      time_major: ``xs``, ``mask`` and the outputs have the axes ``[T, B, ...]``.
      method: how to run the steps. All methods give the same values up to rounding. All except
        ``"cudnn"`` support derivatives of any order, in forward mode, reverse mode and combinations
        of them. ``"cudnn"`` supports first derivatives in reverse mode.

        - ``"auto"``: a scan with a custom derivative, which is usually faster. Its loop computes
          only terms that depend on the derivative of the state; all others are computed for all
          steps at once.
          Linear cells use ``"associative"`` on accelerators, an `MLSTM` computes chunks of steps at
          once (`seqjax.types.ChunkwiseCell`), and a few cells use ``"scan"`` (see
          `Cell.prefers_scan`).
        - ``"scan"``: `jax.lax.scan`, differentiated by JAX.
        - ``"static"``: a Python loop. The program grows with T.
        - ``"associative"``: `jax.lax.associative_scan`, for linear cells only.
        - ``"cudnn"``: cuDNN's LSTM on an NVIDIA GPU, for an `LSTM` without options, in float32.
          Its products are in TF32, except under ``jax.default_matmul_precision("highest")``.
      remat: checkpoint the state every ``remat`` steps, and recompute all other values in the
        backward pass. About ``math.isqrt(T)`` minimises memory (Chen, Xu, Zhang and Guestrin,
        "Training deep nets with sublinear memory cost", 2016). Defaults to no checkpoints.

    If `jax.set_mesh` has set a mesh with an axis ``"data"``, such as that of
    `seqjax.devices.data_mesh`, each of its devices runs its own rows of the batch.

    B and T may be symbolic under `jax.export`. ``remat`` and the methods ``"static"``,
    ``"associative"`` and ``"cudnn"`` need a fixed T.

    Returns:
      ``(final_state, outputs)``: the state after the last step of each row, arrays ``[B, ...]``,
      and the outputs ``[B, T, H]``. Floating arrays have the dtype that parameters and features
      promote to, or float32 for 16-bit dtypes.

    Raises:
      ValueError: the arguments do not fit together. The values of lengths and tokens are checked
        outside of `jax.jit` only.

    >>> import seqjax
    >>> cell = seqjax.LSTM(units=4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> xs = jnp.ones((2, 5, 3), jnp.float32)
    >>> state, ys = unroll(cell, params, xs, lengths=jnp.array([5, 2]))
    >>> bool((state.h[1] == ys[1, 1]).all()), bool((ys[1, 2:] == 0).all())
    (True, True)
    """
    return run_checked(
        Whole(), cell, params, xs, lengths, mask, initial_state, key, deterministic, reverse,
        time_major, method, remat,
    )  # fmt: skip


class Run(abc.ABC):
    """A hashable function to run on a sequence after the arguments are checked."""

    @abc.abstractmethod
    def __call__(
        self, loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
    ) -> tuple[State, PyTree]:
        """Run ``cell`` over time-major ``xs``, and return a state and the outputs."""

    def check_steps(self, num_steps: int) -> None:  # noqa: B027, most runs take any number
        """Raise ``ValueError`` if the number of steps does not fit."""


@dataclasses.dataclass(frozen=True)
class Whole(Run):
    """The run that returns all outputs."""

    def __call__(
        self, loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
    ) -> tuple[State, PyTree]:
        """Return the final state and all outputs."""
        return cell.sequence(loop, params, state, xs, noise)


def run_checked(
    run: Run,
    cell: Cell,
    params: Params,
    xs: PyTree,
    lengths: Array | None,
    mask: Array | None,
    initial_state: State | None,
    key: Array | None,
    deterministic: bool,
    reverse: bool,
    time_major: bool,
    method: Method,
    remat: int | None,
) -> tuple[State, PyTree]:
    """Check the arguments of `unroll` and call ``run`` in a compiled program."""
    check_choice("method", method, get_args(Method))
    if remat is not None:
        check_size("unroll", "remat", remat)
    check_cell(cell)
    check_noise(cell, key, deterministic)
    check_flag("a run", "reverse", reverse)
    check_flag("a run", "time_major", time_major)
    params = as_params(params)
    initial_state = as_arrays("initial_state", initial_state)
    check_params(cell, params)
    xs = jax.tree.map(functools.partial(given_array, "xs"), xs)
    leading_shape = cell.leading_shape(params, xs)
    time_axis = 0 if time_major else len(leading_shape) - 1
    batch_shape = check_batch(leading_shape, time_axis)
    check_contexts(params, batch_shape)
    num_steps = leading_shape[time_axis]
    check_fixed_time(num_steps, method, remat)
    run.check_steps(num_steps)
    mask = resolve_mask(lengths, mask, leading_shape, time_axis)

    def convert(x: Array | np.ndarray) -> Array:
        if not jnp.issubdtype(x.dtype, jnp.integer):
            return jnp.asarray(x)
        _check_is_tokens(x, cell.input_size(params))
        check_tokens("xs", x, cell.input_size(params), mask)
        return as_int32(x)

    xs = jax.tree.map(convert, xs)
    dtype = state_dtype(cell, params, xs)
    if initial_state is not None:
        check_state(cell, params, initial_state, batch_shape, dtype, "initial_state")
    if lengths is not None:
        lengths = as_int32(given_array("lengths", lengths))
    is_empty = isinstance(num_steps, int) and num_steps == 0  # it may be symbolic
    if is_empty:  # one step outside of the mask keeps the state
        leading_shape = (*batch_shape[:time_axis], 1, *batch_shape[time_axis:])
        mask, xs = jnp.zeros(leading_shape, bool), _with_one_step(xs, time_axis)
    state, ys = _run(
        run, cell, params, xs, mask, lengths, initial_state, key, leading_shape, time_axis, dtype,
        reverse, method, remat,
    )  # fmt: skip
    return state, (_without_steps(ys, time_axis) if is_empty else ys)


def _with_one_step(xs: PyTree, time_axis: int) -> PyTree:
    """Inputs of no step, with a step of zeros."""

    def one(a: Array) -> Array:
        return jnp.zeros((*a.shape[:time_axis], 1, *a.shape[time_axis + 1 :]), a.dtype)

    return jax.tree.map(one, xs)


def _without_steps(ys: PyTree, time_axis: int) -> PyTree:
    return jax.tree.map(lambda y: jax.lax.slice_in_dim(y, 0, 0, axis=time_axis), ys)


@functools.partial(
    jax.jit,
    static_argnames=(
        "run", "cell", "leading_shape", "time_axis", "dtype", "reverse", "method", "remat",
    ),
)  # fmt: skip
def _run(
    run: Run,
    cell: Cell,
    params: Params,
    xs: PyTree,
    mask: Array | None,
    lengths: Array | None,
    state: State | None,
    key: Array | None,
    leading_shape: tuple[int, ...],
    time_axis: int,
    dtype: jnp.dtype,
    reverse: bool,
    method: Method,
    remat: int | None,
) -> tuple[State, PyTree]:
    if mask is not None:
        # inf or NaN in the padding would make gradients NaN, since 0 * inf is NaN
        xs = zero_outside(mask, xs)
    mask, xs = jax.tree.map(lambda a: jnp.moveaxis(a, time_axis, 0), (mask, xs))
    batch_shape = leading_shape[:time_axis] + leading_shape[time_axis + 1 :]
    if state is None:
        state = cell.first_state(params, batch_shape, dtype)
    noise = noise_of(cell, params, key, (leading_shape[time_axis], *batch_shape))

    def over_time(
        params: Params,
        state: State,
        xs: PyTree,
        noise: Noise,
        mask: Array | None,
        lengths: Array | None,
    ) -> tuple[State, PyTree]:
        loop = SequenceLoop(method, mask, lengths, reverse, remat)
        return run(loop, cell, params, state, xs, noise)

    over_rows = split_rows(over_time, batch_shape, typed=method != "cudnn")
    state, ys = over_rows(params, state, xs, noise, mask, lengths)
    if mask is not None:
        # a run may return the outputs of the last steps only
        ys = zero_outside(mask[-jax.tree.leaves(ys)[0].shape[0] :], ys)
    return state, jax.tree.map(lambda y: jnp.moveaxis(y, 0, time_axis), ys)


def _check_is_tokens(xs: Array | np.ndarray, input_size: int) -> None:
    if xs.ndim > 2 and xs.shape[-1] == input_size:
        raise ValueError(
            f"xs is an integer array of shape {xs.shape}, but integers are tokens [..., T]; cast "
            f"xs to a floating dtype if its last axis holds {input_size} features"
        )
