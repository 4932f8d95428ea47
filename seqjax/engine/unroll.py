"""The only loop over time."""

import functools
from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from seqjax.cells import TimedInputs
from seqjax.checks import check_choice, check_size
from seqjax.engine.cudnn import cudnn_loop
from seqjax.engine.recurrence import factored_loop
from seqjax.operations.affine import accumulation_dtype, vary
from seqjax.operations.masking import check_tokens, resolve_mask, select, zero_outside
from seqjax.types import (
    Array,
    Cell,
    FactoredCell,
    LinearCell,
    Noise,
    Params,
    Projected,
    PyTree,
    State,
)

Method = Literal["auto", "scan", "static", "associative", "cudnn"]


def unroll(
    cell: Cell,
    params: Params,
    xs: PyTree,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    initial_state: State | None = None,
    key: Array | None = None,
    reverse: bool = False,
    time_major: bool = False,
    method: Method = "auto",
    remat: int | None = None,
) -> tuple[State, PyTree]:
    """Run ``cell`` over the time steps of ``xs``.

    At each step that counts, ``state, y = step(state, x)``. At every other one, past a row's length
    or at a hole in the mask, the state is kept and the output is exactly 0, and whatever ``xs``
    holds there (NaN as well) changes no output and no gradient.

    Args:
      cell: what to run. Equal cells share one compiled program.
      params: its parameters.
      xs: floating ``[B, T, D]`` or integer tokens ``[B, T]``, with any number of batch axes.
        Integers are always tokens: a one-hot array has to be floating.
      lengths: ``int[B]`` in ``[0, T]``, the number of steps of each row; all T without.
      mask: ``bool[B, T]``, the steps that count; in place of lengths, holes allowed.
      initial_state: as `Cell.initial_state` makes it for this batch; zeros without.
      key: for the noise of cells that have any (dropout); without a key there is no noise.
      reverse: run from the last step of each row to its first. Outputs stay where their inputs
        are, and the final state is the one after step 0.
      time_major: ``xs``, ``mask`` and the outputs are ``[T, B, ...]``.
      method: ``"scan"`` is `jax.lax.scan`; ``"static"`` a Python loop, whose program grows with T;
        ``"associative"`` runs all steps of linear cells at once by `jax.lax.associative_scan`.
        ``"cudnn"`` runs the layers of an `LSTM` without options by NVIDIA's library, in float32 on
        one of its GPUs, with products in TF32 unless ``jax.default_matmul_precision("highest")``.
        ``"auto"`` takes the fastest of the others: associative for linear cells on accelerators, a
        scan with a backward pass of its own for a `seqjax.types.FactoredCell`, else scan. All give
        the same numbers up to rounding. A backward pass of its own has no derivative: JAX refuses
        `jax.jvp`, `jax.jacfwd` and `jax.hessian` through it ("can't apply forward-mode autodiff to
        a custom_vjp function"), which ``"scan"`` allows where no parameter has 16 bits.
      remat: time steps of a chunk. The backward pass then keeps the state at the start of each
        chunk and computes what is within anew, one chunk at a time: for a little more than one
        more forward pass it needs the memory of T / remat states and one chunk, least at about
        ``math.isqrt(T)`` (Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory
        cost", 2016). Without, it keeps what it needs of all steps.

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
    check_choice("method", method, get_args(Method))
    if remat is not None:
        check_size("unroll", "remat", remat)
    if not isinstance(cell, Cell):
        raise ValueError(f"cell must be a seqjax cell, got {cell!r}")
    if not _is_hashable(cell):
        raise ValueError(f"the options of a cell must be hashable, as tuples are, got {cell}")
    params, initial_state = jax.tree.map(jnp.asarray, (params, initial_state))
    _check_params(cell, params)
    leading_shape = cell.leading_shape(params, xs)
    xs = jax.tree.map(jnp.asarray, xs)
    time_axis = 0 if time_major else len(leading_shape) - 1
    batch_shape = leading_shape[:time_axis] + leading_shape[time_axis + 1 :]
    if 0 in batch_shape:
        raise ValueError(f"the batch is empty: xs has batch and time axes {leading_shape}")
    mask = resolve_mask(lengths, mask, leading_shape, time_axis)
    for x in jax.tree.leaves(xs):
        if jnp.issubdtype(x.dtype, jnp.integer):
            check_tokens("xs", x, cell.input_size(params), mask)
    dtype = _state_dtype(params, xs)
    if initial_state is not None:
        _check_state(cell, initial_state, batch_shape, dtype)
    return _unroll(
        cell, params, xs, mask, initial_state, key, leading_shape, time_axis, dtype, reverse,
        method, remat,
    )  # fmt: skip


@functools.partial(
    jax.jit,
    static_argnames=(
        "cell", "leading_shape", "time_axis", "dtype", "reverse", "method", "remat",
    ),
)  # fmt: skip
def _unroll(
    cell: Cell,
    params: Params,
    xs: PyTree,
    mask: Array | None,
    state: State | None,
    key: Array | None,
    leading_shape: tuple[int, ...],
    time_axis: int,
    dtype: jnp.dtype,
    reverse: bool,
    method: Method,
    remat: int | None,
) -> tuple[State, PyTree]:
    batch_shape = leading_shape[:time_axis] + leading_shape[time_axis + 1 :]
    if mask is not None:
        # the padding must not reach the equations: their gradients may turn 0 * inf into NaN
        xs = zero_outside(mask, xs)
    mask, xs = jax.tree.map(lambda a: jnp.moveaxis(a, time_axis, 0), (mask, xs))
    if reverse:
        # padding freezes the state, so each row starts at its own last step
        mask, xs = _flip((mask, xs))
    if state is None:
        state = cell.initial_state(batch_shape, dtype)
    num_steps = leading_shape[time_axis]
    noise = None
    if key is not None:
        noise = cell.draw_noise(key, (num_steps, *batch_shape), cell.input_size(params))
    loop = _LOOPS[method] if num_steps else _scan_loop

    def run(state: State, steps: tuple[Array | None, PyTree, Noise]) -> tuple[State, PyTree]:
        mask, xs, noise = steps
        return cell.sequence(functools.partial(loop, mask), params, state, xs, noise)

    steps = mask, xs, noise
    if remat is None or remat >= num_steps:
        state, ys = run(state, steps)
    else:
        state, ys = _by_chunks(run, remat, num_steps, state, steps)
    if mask is not None:
        ys = zero_outside(mask, ys)
    if reverse:
        ys = _flip(ys)
    return state, jax.tree.map(lambda y: jnp.moveaxis(y, 0, time_axis), ys)


def _by_chunks(
    run: Callable[[State, PyTree], tuple[State, PyTree]],
    size: int,
    num_steps: int,
    state: State,
    steps: PyTree,
) -> tuple[State, PyTree]:
    """Call ``run`` for chunks of ``steps``, each of which the backward pass runs again."""
    whole = num_steps - num_steps % size
    chunks = jax.tree.map(lambda a: a[:whole].reshape(-1, size, *a.shape[1:]), steps)
    state = _laid_out_like_next(run, state, chunks)
    # within a scan nothing could be merged with what is computed again, so nothing need prevent it
    state, ys = jax.lax.scan(jax.checkpoint(run, prevent_cse=False), state, chunks)
    ys = jax.tree.map(lambda y: y.reshape(whole, *y.shape[2:]), ys)
    if whole < num_steps:
        rest = jax.tree.map(lambda a: a[whole:], steps)
        state, last_ys = jax.checkpoint(run)(state, rest)
        ys = jax.tree.map(lambda *y: jnp.concatenate(y), ys, last_ys)
    return state, ys


def _auto_loop(
    mask: Array | None, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
) -> tuple[State, PyTree]:
    if isinstance(cell, FactoredCell) and cell.is_factored(params):
        zs = cell.project(params, xs, noise)
        body = functools.partial(_scan_step, cell, params)
        state = _laid_out_like_next(body, state, (zs, mask))
        return factored_loop(mask, cell, params, state, zs)
    at_once = isinstance(cell, LinearCell) and jax.default_backend() != "cpu"
    return (_associative_loop if at_once else _scan_loop)(mask, cell, params, state, xs, noise)


def _scan_loop(
    mask: Array | None, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
) -> tuple[State, PyTree]:
    steps = cell.project(params, xs, noise), mask
    body = functools.partial(_scan_step, cell, params)
    return jax.lax.scan(body, _laid_out_like_next(body, state, steps), steps)


def _static_loop(
    mask: Array | None, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
) -> tuple[State, PyTree]:
    zs = cell.project(params, xs, noise)
    ys = []
    for t in range(jax.tree.leaves(zs)[0].shape[0]):
        z, m = jax.tree.map(lambda a: a[t], (zs, mask))  # noqa: B023, used at once
        state, y = _masked_step(cell, params, state, z, m)
        ys.append(y)
    return state, jax.tree.map(lambda *y: jnp.stack(y), *ys)


def _associative_loop(
    mask: Array | None, cell: Cell, params: Params, state: State, xs: PyTree, noise: Noise
) -> tuple[State, PyTree]:
    if not isinstance(cell, LinearCell):
        raise ValueError(
            f"method 'associative' needs a linear recurrence, which {cell} is not; use 'auto'"
        )
    zs = cell.project(params, xs, noise)
    a, b = cell.coefficients(params, zs)
    if mask is not None:
        a = select(mask, a, jax.tree.map(jnp.ones_like, a))
        b = zero_outside(mask, b)

    def compose(first: tuple[State, State], then: tuple[State, State]) -> tuple[State, State]:
        (a1, b1), (a2, b2) = first, then
        product = jax.tree.map(jnp.multiply, a2, a1)
        return product, jax.tree.map(lambda a2, b1, b2: a2 * b1 + b2, a2, b1, b2)

    a, b = jax.lax.associative_scan(compose, (a, b))
    states = jax.tree.map(lambda a, s, b: a * s + b, a, jax.tree.map(lambda s: s[None], state), b)
    return jax.tree.map(lambda s: s[-1], states), cell.readout(params, states, zs)


_LOOPS = {
    "auto": _auto_loop,
    "scan": _scan_loop,
    "static": _static_loop,
    "associative": _associative_loop,
    "cudnn": cudnn_loop,
}


def _scan_step(
    cell: Cell, params: Params, state: State, step: tuple[Projected, Array | None]
) -> tuple[State, PyTree]:
    return _masked_step(cell, params, state, *step)


def _masked_step(
    cell: Cell, params: Params, state: State, z: Projected, mask: Array | None
) -> tuple[State, PyTree]:
    new, y = cell.step(params, state, z)
    return (new if mask is None else select(mask, new, state)), y


def _laid_out_like_next(
    body: Callable[[State, PyTree], tuple[State, PyTree]], state: State, steps: PyTree
) -> State:
    """Lay the initial state out over the devices as one step does: scan wants equal types."""
    if jax.sharding.get_abstract_mesh().empty:
        return state
    first = jax.tree.map(lambda a: a[0], steps)
    after, _ = jax.eval_shape(body, state, first)

    def lay_out(s: Array, a: jax.ShapeDtypeStruct) -> Array:
        if a.manual_axis_type:  # inside of jax.shard_map
            return vary(s, frozenset(a.manual_axis_type.varying))
        return jax.sharding.reshard(s, a.sharding)

    return jax.tree.map(lay_out, state, after)


def _flip(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: jnp.flip(a, 0), tree)


def _state_dtype(params: Params, xs: PyTree) -> jnp.dtype:
    # when something was seen is often known to more digits than what was seen
    parts = jax.tree.leaves((params, xs), is_leaf=lambda part: isinstance(part, TimedInputs))
    features = [part.features if isinstance(part, TimedInputs) else part for part in parts]
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(features)]
    floating = [accumulation_dtype(d) for d in dtypes if jnp.issubdtype(d, jnp.floating)]
    return functools.reduce(jnp.promote_types, floating)


def _is_hashable(cell: Cell) -> bool:
    try:
        hash(cell)
    except TypeError:
        return False
    return True


def _check_params(cell: Cell, params: Params) -> None:
    try:
        input_size = cell.input_size(params)
        expected = _expected_params(cell, input_size)
    except (AttributeError, IndexError, TypeError):
        raise ValueError(
            f"params must be what cell.init makes for {cell}, got {jax.tree.structure(params)}"
        ) from None
    given: PyTree = jax.tree.structure(params)
    wanted: PyTree = jax.tree.structure(expected)
    if given != wanted:
        raise ValueError(
            f"params must have the structure that cell.init makes for {cell}, {wanted}, got {given}"
        )
    for (path, want), have in zip(
        jax.tree.leaves_with_path(expected), jax.tree.leaves(params), strict=True
    ):
        if have.shape != want.shape:
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} must have shape {want.shape} for {cell} on "
                f"{input_size} input features, got {have.shape}"
            )


@functools.lru_cache(maxsize=1024)
def _expected_params(cell: Cell, input_size: int) -> Params:
    return jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))


def _check_state(cell: Cell, state: State, batch_shape: tuple[int, ...], dtype: jnp.dtype) -> None:
    expected = jax.eval_shape(lambda: cell.initial_state(batch_shape, dtype))
    given: PyTree = jax.tree.structure(state)
    wanted: PyTree = jax.tree.structure(expected)
    if given != wanted:
        raise ValueError(
            f"initial_state must have the structure of cell.initial_state({batch_shape}), "
            f"{wanted}, got {given}"
        )
    for (path, want), have in zip(
        jax.tree.leaves_with_path(expected), jax.tree.leaves(state), strict=True
    ):
        if (have.shape, have.dtype) != (want.shape, want.dtype):
            raise ValueError(
                f"initial_state{jax.tree_util.keystr(path)} must be {want.dtype} of shape "
                f"{want.shape} for this batch, got {have.dtype} of shape {have.shape}"
            )
