"""Run a layer over a sequence."""

import abc
import dataclasses
import functools
from typing import get_args

import jax
import jax.numpy as jnp

from seqjax.checks import check_choice, check_size
from seqjax.engine.loop import Method, SequenceLoop
from seqjax.engine.validation import (
    check_batch,
    check_cell,
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
    """Run ``cell`` over the time steps of ``xs``.

    At each step that counts, ``state, y = step(state, x)``. At every other step, past a row's
    length or at a hole in the mask, the state is kept and the output is exactly 0. Whatever ``xs``
    holds there (NaN as well) changes no output and no gradient.

    Args:
      cell: a cell or another layer, such as a `Stack` or `Bidirectional`. Equal cells share one
        compiled program.
      params: its parameters.
      xs: floating ``[B, T, D]`` or integer tokens ``[B, T]``, with any number of batch axes.
        Integers are always tokens: a one-hot array has to be floating.
      lengths: ``int[B]`` in ``[0, T]``, the number of steps of each row; defaults to T.
      mask: ``bool[B, T]``, the steps that count, holes allowed. Give lengths or a mask.
      initial_state: as `Cell.initial_state` makes it for this batch; defaults to zeros, or to
        the learned state of a `LearnedState`.
      key: for the noise of layers that have any (dropout), in training.
      deterministic: run a noisy layer in evaluation mode, which draws nothing. A noisy layer needs
        the key or ``deterministic=True``.
      reverse: run from the last step of each row to its first. Outputs stay where their inputs
        are, and the final state is the one after step 0.
      time_major: ``xs``, ``mask`` and the outputs are ``[T, B, ...]``.
      method: how to loop. All methods give the same numbers up to rounding. Derivatives of any
        order and mode work with each but ``"cudnn"``, which has reverse mode alone.

        - ``"auto"``: a scan with a derivative of its own, which does only what waits for the
          state; for linear cells on accelerators ``"associative"``.
        - ``"scan"``: `jax.lax.scan`, differentiated by JAX.
        - ``"static"``: a Python loop, whose program grows with T.
        - ``"associative"``: all steps of a linear cell at once, by `jax.lax.associative_scan`.
        - ``"cudnn"``: NVIDIA's library, for an `LSTM` without options in float32 on one GPU, with
          products in TF32 unless ``jax.default_matmul_precision("highest")``.
      remat: checkpoint the state every ``remat`` steps and recompute the rest in the backward
        pass. ``math.isqrt(T)`` minimises memory (Chen, Xu, Zhang and Guestrin, "Training deep nets
        with sublinear memory cost", 2016). Defaults to no checkpoints.

    Under `jax.export`, B and T may be symbolic. ``remat`` and every method but ``"auto"`` and
    ``"scan"`` need a fixed T, since their programs depend on it.

    Returns:
      ``(final_state, outputs)``: the state after each row's last step, arrays ``[B, ...]``, and the
      outputs ``[B, T, H]``. The state is in the dtype of parameters and inputs, but float32 where
      they have 16 bits.

    Raises:
      ValueError: an argument does not fit the others. Values (lengths, tokens) can be checked only
        outside of `jax.jit`.

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
    """What is done with the steps of a sequence, after the arguments are checked; hashable."""

    @abc.abstractmethod
    def __call__(
        self, loop: SequenceLoop, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
    ) -> tuple[State, PyTree]:
        """Run ``cell`` over time-major ``xs``: return a state and the outputs."""


@dataclasses.dataclass(frozen=True)
class Whole(Run):
    """Run over the whole sequence."""

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
    """Check the arguments, which are those of `unroll`, and call ``run`` in a compiled program."""
    check_choice("method", method, get_args(Method))
    if remat is not None:
        check_size("unroll", "remat", remat)
    check_cell(cell)
    check_noise(cell, key, deterministic)
    params, initial_state = jax.tree.map(jnp.asarray, (params, initial_state))
    check_params(cell, params)
    leading_shape = cell.leading_shape(params, xs)
    xs = jax.tree.map(jnp.asarray, xs)
    time_axis = 0 if time_major else len(leading_shape) - 1
    batch_shape = check_batch(leading_shape, time_axis)
    check_fixed_time(leading_shape[time_axis], method, remat)
    mask = resolve_mask(lengths, mask, leading_shape, time_axis)
    for x in jax.tree.leaves(xs):
        if jnp.issubdtype(x.dtype, jnp.integer):
            _check_is_tokens(x, cell.input_size(params))
            check_tokens("xs", x, cell.input_size(params), mask)
    dtype = state_dtype(cell, params, xs)
    if initial_state is not None:
        check_state(cell, initial_state, batch_shape, dtype, "initial_state")
    if lengths is not None:
        lengths = jnp.asarray(lengths)
    return _run(
        run, cell, params, xs, mask, lengths, initial_state, key, leading_shape, time_axis, dtype,
        reverse, method, remat,
    )  # fmt: skip


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
        # the padding must not reach the equations: their gradients may turn 0 * inf into NaN
        xs = zero_outside(mask, xs)
    mask, xs = jax.tree.map(lambda a: jnp.moveaxis(a, time_axis, 0), (mask, xs))
    batch_shape = leading_shape[:time_axis] + leading_shape[time_axis + 1 :]
    if state is None:
        state = cell.first_state(params, batch_shape, dtype)
    noise = noise_of(cell, params, key, (leading_shape[time_axis], *batch_shape))
    loop = SequenceLoop(method, mask, lengths, reverse, remat)
    state, ys = run(loop, cell, params, state, xs, noise)
    if mask is not None:
        # a run may put out the last steps alone
        ys = zero_outside(mask[-jax.tree.leaves(ys)[0].shape[0] :], ys)
    return state, jax.tree.map(lambda y: jnp.moveaxis(y, 0, time_axis), ys)


def _check_is_tokens(xs: Array, input_size: int) -> None:
    if xs.ndim > 2 and xs.shape[-1] == input_size:
        raise ValueError(
            f"xs is an integer array of shape {xs.shape}, and integers are tokens [..., T]; give "
            f"the {input_size} features of each step as floats"
        )
