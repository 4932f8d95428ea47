"""Tests that every cell passes, for authors of new cells."""

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.engine.context import with_context
from seqjax.engine.step import step
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import check_cell as check_description
from seqjax.operations.masking import lengths_to_mask
from seqjax.types import Array, Cell, Context, LinearCell, Params, PyTree, Role, Size, State

_B, _T = 3, 4
_LENGTHS: Any = np.array([_T, 2, 0])
_POSITIONS, _VALID = 5, np.array([5, 0, 2])  # of the context in each row
_HOLES: Any = np.array([[1, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]], bool)
DrawInputs = Callable[[Array, tuple[int, ...]], PyTree]


class Example(NamedTuple):
    """A cell with random parameters, state and inputs, none of them zero.

    Attributes:
      cell: the cell to check.
      params: its parameters.
      state: a state, arrays ``[B, ...]``.
      xs: inputs, arrays ``[B, T, ...]``.
      input_size: the number of input features.
      draw_inputs: ``(key, leading_shape) -> inputs [*leading_shape, ...]``.
      memory_size: the width of the context that ``params`` hold; None for no context.
    """

    cell: Cell
    params: Params
    state: State
    xs: PyTree
    input_size: Size
    draw_inputs: DrawInputs
    memory_size: int | None = None


def check_cell(
    cell: Cell,
    input_size: Size = 3,
    draw_inputs: DrawInputs | None = None,
    memory_size: int | None = None,
) -> None:
    """Run every check in ``CHECKS`` on a cell.

    All checks are in float64, except the check of low precision.

    Args:
      cell: the cell to check.
      input_size: the number of input features.
      draw_inputs: ``(key, leading_shape) -> inputs [*leading_shape, ...]``, for a cell whose input
        is not one array of features.
      memory_size: the width of the context of a cell that attends to one (`seqjax.with_context`).

    Raises:
      AssertionError: the cell breaks the contract of `Cell`; for example, two ways to run it give
        different values. The message names the failed check.
      ValueError: ``cell`` is not a cell.

    >>> import seqjax
    >>> from seqjax.testing import check_cell
    >>> check_cell(seqjax.BasicRNN(4), input_size=3)
    """
    check_description(cell)
    with jax.enable_x64(True):
        example = make_example(cell, input_size, draw_inputs, memory_size)
        for check in CHECKS:
            try:
                check(example)
            except AssertionError as error:
                raise AssertionError(f"{cell} fails {check.__name__}: {error}") from error
            except Exception as error:
                error.add_note(f"{cell} fails {check.__name__} of seqjax.testing.check_cell")
                raise


def make_example(
    cell: Cell,
    input_size: Size = 3,
    draw_inputs: DrawInputs | None = None,
    memory_size: int | None = None,
) -> Example:
    """Draw an `Example` in float64, which needs ``jax.enable_x64``."""

    def draw_features(key: Array, leading_shape: tuple[int, ...]) -> Array:
        features = input_size if isinstance(input_size, tuple) else (input_size,)
        return jax.random.normal(key, (*leading_shape, *features), jnp.float64)

    draw = draw_inputs or draw_features
    params = randomise(cell.init(jax.random.key(0), input_size, jnp.float64), 1)
    params = _bind(cell, params, memory_size, jnp.float64)
    state = randomise(cell.first_state(params, (_B,), jnp.float64), 2)
    xs = draw(jax.random.key(3), (_B, _T))
    return Example(cell, params, state, xs, input_size, draw, memory_size)


def _bind(cell: Cell, params: Params, memory_size: int | None, dtype: Any) -> Params:
    """Bind a random context, unless ``memory_size`` is None."""
    if memory_size is None:
        return params
    memory = jax.random.normal(jax.random.key(6), (_B, _POSITIONS, memory_size), dtype)
    return with_context(cell, params, memory, lengths=jnp.asarray(_VALID))


def is_plain_value(example: Example) -> None:
    """Copies and pickles of the cell equal it and have the same hash."""
    cell = example.cell
    for twin in (copy.copy(cell), copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert twin == cell, f"{twin} != {cell}"
        assert hash(twin) == hash(cell)


def shapes_agree(example: Example) -> None:
    """The shapes and roles are as declared."""
    cell, params, state, xs = example[:4]
    final, ys = jax.eval_shape(
        lambda: unroll(cell, params, xs, initial_state=state, deterministic=True)
    )
    for y in jax.tree.leaves(ys):
        assert y.shape[:2] == (_B, _T), f"an output has shape {y.shape[1:]}, without the batch axis"
    size = cell.output_size if isinstance(cell.output_size, tuple) else (cell.output_size,)
    found = jax.tree.leaves(ys)[0].shape[2:]
    assert found == size, f"the output has size {found}, but output_size is {cell.output_size}"
    shapes, expected = (jax.tree.map(jnp.shape, s) for s in (final, state))
    assert shapes == expected, f"step returns a state of {shapes}, but initial_state of {expected}"
    roles, leaves = jax.tree.leaves(cell.roles), len(jax.tree.leaves(state))
    assert len(roles) == leaves, f"roles has {len(roles)} entries for a state of {leaves} arrays"
    assert all(isinstance(role, Role) for role in roles), f"roles must hold Role, got {roles}"
    if cell.outputs_hidden:
        assert roles.count(Role.HIDDEN) == 1, f"outputs_hidden needs one HIDDEN role, got {roles}"
    found = cell.input_size(params)
    assert found == example.input_size, f"input_size is {found}, expected {example.input_size}"


def ways_to_run_agree(example: Example) -> None:
    """All methods, `jax.vmap` and ``time_major`` give the same values."""
    cell, params, state, xs = example[:4]
    run = functools.partial(unroll, cell, params, deterministic=True)
    whole = functools.partial(run, xs, lengths=_LENGTHS, initial_state=state)
    final, ys = whole(method="scan")
    for y in jax.tree.leaves(ys):
        assert y[0].any()
        assert not y[1, 2:].any()
        assert not y[2].any()
    close(_at(final, 2), _at(state, 2), 0)
    if cell.outputs_hidden:
        hidden = jax.tree.leaves(cell.roles).index(Role.HIDDEN)
        h, y = jax.tree.leaves(final)[hidden][0], ys[0, -1]
        assert (h == y).all(), f"outputs_hidden is true, but the output {y} is not the state {h}"
    close(whole(method="auto"), (final, ys))
    close(whole(method="static"), (final, ys))
    if isinstance(cell, LinearCell):
        close(whole(method="associative"), (final, ys), 1e-10)

    def one_row(params: Params, x: PyTree, n: Array, s: State) -> tuple[State, PyTree]:
        return unroll(cell, params, x, lengths=n, initial_state=s, deterministic=True)

    # a context has one entry for each row, other parameters are shared
    by_row = jax.tree.map(
        lambda part: 0 if isinstance(part, Context) else None,
        params,
        is_leaf=lambda part: isinstance(part, Context),
    )
    mapped = jax.vmap(one_row, (by_row, 0, 0, 0))(params, xs, jnp.asarray(_LENGTHS), state)
    close(mapped, (final, ys))
    swap = functools.partial(jax.tree.map, lambda a: jnp.swapaxes(a, 0, 1))
    major = run(swap(xs), lengths=_LENGTHS, initial_state=state, time_major=True)
    close((major[0], swap(major[1])), (final, ys))


def stepping_agrees(example: Example) -> None:
    """`seqjax.step` gives the values of `seqjax.unroll`, and ``start`` resets the given rows."""
    cell, params, state, xs = example[:4]
    if not cell.can_step:
        return
    final, ys = unroll(cell, params, xs, initial_state=state, deterministic=True)
    run = jax.jit(lambda state, x: step(cell, params, state, x, deterministic=True))
    stepped, outputs = state, []
    for t in range(_T):
        stepped, y = run(stepped, _at(xs, np.s_[:, t]))
        outputs.append(y)
    close((stepped, jax.tree.map(lambda *y: jnp.stack(y, 1), *outputs)), (final, ys))
    x = _at(xs, np.s_[:, 0])
    start = jnp.array([True, False, True])
    restarted, _ = step(cell, params, state, x, start=start, deterministic=True)
    fresh, _ = step(cell, params, None, x, deterministic=True)
    kept, _ = step(cell, params, state, x, deterministic=True)
    close(_at(restarted, start), _at(fresh, start))
    close(_at(restarted, ~start), _at(kept, ~start))


def splitting_changes_nothing(example: Example) -> None:
    """Splitting a sequence or ``remat`` changes nothing; ``reverse`` equals flipping the inputs."""
    cell, params, state, xs = example[:4]
    run = functools.partial(unroll, cell, params, deterministic=True)
    final, ys = run(xs, initial_state=state)
    flip = functools.partial(jax.tree.map, lambda a: jnp.flip(a, 1))
    if cell.can_step:
        middle, first = run(_at(xs, np.s_[:, :2]), initial_state=state)
        last, second = run(_at(xs, np.s_[:, 2:]), initial_state=middle)
        joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), first, second)
        close((last, joined), (final, ys))
    again = run(xs, initial_state=state, remat=3)
    close(again, (final, ys))
    mirrored = run(flip(xs), initial_state=state, reverse=True)
    close((mirrored[0], flip(mirrored[1])), (final, ys))


def padding_is_inert(example: Example) -> None:
    """NaN and inf in the padding affect neither outputs nor gradients."""
    cell, params, state, xs = example[:4]
    padding = ~np.asarray(lengths_to_mask(jnp.asarray(_LENGTHS), _T))

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True, allow_int=True)
    def grads(params: Params, state: State, xs: PyTree) -> tuple[Array, PyTree]:
        out = unroll(cell, params, xs, lengths=_LENGTHS, initial_state=state, deterministic=True)
        return _energy(out), out

    clean = grads(params, state, _pad(xs, padding, 0.0))
    for leaf in jax.tree.leaves(clean):
        assert leaf.dtype == jax.dtypes.float0 or jnp.isfinite(leaf).all()
    for value in (jnp.nan, jnp.inf):
        bad = grads(params, state, _pad(xs, padding, value))
        for a, b in zip(jax.tree.leaves(bad), jax.tree.leaves(clean), strict=True):
            if a.dtype != jax.dtypes.float0:
                np.testing.assert_array_equal(a, b)
    for a in jax.tree.leaves(clean[0][2]):
        if a.dtype != jax.dtypes.float0:
            assert not np.asarray(a)[padding].any()
            assert np.asarray(a)[0].any()


def derivatives_agree(example: Example) -> None:
    """Derivatives in forward and reverse mode equal those of `jax.lax.scan`."""

    def derivatives(value: Value, floats: list[Array], d: list[Array]) -> dict[str, PyTree]:
        _, linear = jax.linearize(value, floats)
        several = jax.tree.map(lambda d: jnp.stack([d, -2 * d]), d)
        return {
            "reverse": jax.grad(value)(floats),
            "forward": jax.jvp(value, (floats,), (d,))[1],
            "linearize": linear(d),
            "vmap of forward": jax.vmap(lambda d: jax.jvp(value, (floats,), (d,))[1])(several),
            "checkpoint": jax.grad(jax.checkpoint(value))(floats),
        }

    auto, directions = _compare_with_scan(example, derivatives)
    pairs = zip(auto["reverse"], directions, strict=True)
    close(auto["forward"], sum((g * d).sum().real for g, d in pairs), 1e-10)


def second_derivatives_agree(example: Example) -> None:
    """Hessian-vector products, in both orders of the modes, equal those of `jax.lax.scan`."""

    def derivatives(value: Value, floats: list[Array], d: list[Array]) -> dict[str, PyTree]:
        def forward(floats: list[Array]) -> Array:
            return jax.jvp(value, (floats,), (d,))[1]

        return {
            "forward over reverse": jax.jvp(jax.grad(value), (floats,), (d,))[1],
            "reverse over forward": jax.grad(forward)(floats),
        }

    _compare_with_scan(example, derivatives)


Value = Callable[[list[Array]], Array]


def _compare_with_scan(
    example: Example, derivatives: Callable[..., dict[str, PyTree]]
) -> tuple[dict[str, PyTree], list[Array]]:
    """Compare "auto" with "scan", masked and in reverse; return derivatives and directions."""
    cell, params, state, xs = example[:4]
    xs = _pad(xs, ~_HOLES, jnp.nan)
    floats, restore = _split_floats((params, state, xs))
    directions = randomise(jax.tree.map(jnp.zeros_like, floats), 5)

    @functools.partial(jax.jit, static_argnames="method")
    def by(floats: list[Array], directions: list[Array], method: Any) -> dict[str, PyTree]:
        def value(floats: list[Array]) -> Array:
            params, state, xs = restore(floats)
            out = unroll(
                cell,
                params,
                xs,
                mask=_HOLES,
                initial_state=state,
                reverse=True,
                method=method,
                deterministic=True,
            )
            return _energy(out)

        return derivatives(value, floats, directions)

    auto, scan = (by(floats, directions, method=method) for method in ("auto", "scan"))
    for name in scan:
        close(auto[name], scan[name], 1e-10)
    return auto, directions


def noise_follows_the_key(example: Example) -> None:
    """Equal keys give equal noise, different keys different noise, and evaluation mode no noise."""
    cell, params, state, xs, input_size = example[:5]
    noise = cell.draw_noise(jax.random.key(5), (_T, _B), input_size)
    for leaf in jax.tree.leaves(noise):
        assert leaf.shape[:2] == (_T, _B)
    assert cell.is_noisy == bool(jax.tree.leaves(noise)), "is_noisy does not match draw_noise"
    if not cell.is_noisy:
        return
    run = functools.partial(unroll, cell, params, xs, initial_state=state)
    runs = [run(deterministic=True), *(run(key=jax.random.key(n)) for n in (5, 5, 6))]
    silent, loud, again, other = (
        np.concatenate([np.ravel(a) for a in jax.tree.leaves(out)]) for out in runs
    )
    np.testing.assert_array_equal(loud, again)
    assert (loud != other).any()
    assert (loud != silent).any()


def low_precision_keeps_the_state(example: Example) -> None:
    """With bfloat16 parameters the state is float32, and the values are close to float32."""
    cell, input_size, draw = example.cell, example.input_size, example.draw_inputs
    params = cell.init(jax.random.key(0), input_size, jnp.float32)
    floating = {a.dtype for a in jax.tree.leaves(params) if jnp.issubdtype(a.dtype, jnp.floating)}
    assert floating <= {jnp.dtype("float32")}, "init must return params of its dtype"
    xs = _cast(draw(jax.random.key(3), (_B, _T)), jnp.float32)

    def run(params: Params) -> tuple[State, PyTree]:
        bound = _bind(cell, params, example.memory_size, jnp.float32)
        return unroll(cell, bound, xs, deterministic=True)

    exact, low = run(params), run(_cast(params, jnp.bfloat16))
    assert [a.dtype for a in jax.tree.leaves(low)] == [a.dtype for a in jax.tree.leaves(exact)]
    close(low, exact, 0.06)


CHECKS = (
    is_plain_value,
    shapes_agree,
    ways_to_run_agree,
    stepping_agrees,
    splitting_changes_nothing,
    padding_is_inert,
    derivatives_agree,
    second_derivatives_agree,
    noise_follows_the_key,
    low_precision_keeps_the_state,
)


def close(actual: PyTree, expected: PyTree, tolerance: float = 1e-12) -> None:
    """Raise ``AssertionError`` unless two pytrees are equal up to ``tolerance``.

    >>> close({"h": jnp.ones(2)}, {"h": np.ones(2)})
    """
    compare = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    jax.tree.map(compare, actual, expected)


def _at(tree: PyTree, index: Any) -> PyTree:
    return jax.tree.map(lambda a: a[index], tree)


def _cast(tree: PyTree, dtype: Any) -> PyTree:
    return jax.tree.map(
        lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
    )


def _energy(tree: PyTree) -> Array:
    floats = [a for a in jax.tree.leaves(tree) if jnp.issubdtype(a.dtype, jnp.inexact)]
    return jnp.stack([(jnp.abs(a) ** 2).sum() for a in floats]).sum()


def _pad(xs: PyTree, padding: np.ndarray, value: float) -> PyTree:
    def one(a: Array) -> Array:
        if not jnp.issubdtype(a.dtype, jnp.floating):
            return a
        where = padding.reshape(padding.shape + (1,) * (a.ndim - 2))
        return jnp.where(np.broadcast_to(where, a.shape), value, a)

    return jax.tree.map(one, xs)


def _split_floats(tree: PyTree) -> tuple[list[Array], Callable[[list[Array]], PyTree]]:
    """The inexact arrays of a pytree, and a function that puts them back."""
    leaves, structure = jax.tree.flatten(tree)
    places = [n for n, a in enumerate(leaves) if jnp.issubdtype(a.dtype, jnp.inexact)]

    def restore(floats: list[Array]) -> PyTree:
        given = dict(zip(places, floats, strict=True))
        return jax.tree.unflatten(structure, [given.get(n, a) for n, a in enumerate(leaves)])

    return [leaves[n] for n in places], restore


def randomise(tree: PyTree, seed: int) -> PyTree:
    """Add noise to every inexact array, so that no initial zero hides a term.

    >>> bool((randomise({"bias": jnp.zeros(2)}, seed=0)["bias"] != 0).all())
    True
    """
    rng = np.random.default_rng(seed)

    def draw(a: Array) -> Array:
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            return a
        noise = rng.normal(0, 0.3, a.shape)
        if jnp.issubdtype(a.dtype, jnp.complexfloating):
            return a + jnp.asarray(noise + 1j * rng.normal(0, 0.3, a.shape), a.dtype)
        return a + jnp.asarray(noise, a.dtype)

    return jax.tree.map(draw, tree)
