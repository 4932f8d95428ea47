"""What every cell must pass: however it is run, the numbers are the same."""

import dataclasses
import functools
import inspect
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax.cells
from seqjax import Cell, Stack, bidirectional_unroll, unroll
from seqjax.types import LinearCell
from seqjax.wrappers import Directions
from tests.cells.registry import EXAMPLES

B, T = 3, 4
# in the quick tests one cell of each build, all of them with the slow ones
QUICK = {"LSTM", "LRU", "ConvLSTM", "AttentionCell", "Stack", "Dropout", "Reset"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in EXAMPLES]
LENGTHS = jnp.array([T, 2, 0])


def close(actual, expected, tolerance=1e-12):
    compare = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    jax.tree.map(compare, actual, expected)


def randomise(tree, seed):
    """Every floating array anew, so that no zero of an initial value hides a term."""
    rng = np.random.default_rng(seed)

    def draw(a):
        if not jnp.issubdtype(a.dtype, jnp.inexact):
            return a
        noise = rng.normal(0, 0.3, a.shape)
        if jnp.issubdtype(a.dtype, jnp.complexfloating):
            noise = noise + 1j * rng.normal(0, 0.3, a.shape)
        return a + jnp.asarray(noise, a.dtype)

    return jax.tree.map(draw, tree)


@functools.cache
def example(name):
    """A cell with parameters, state and inputs in which nothing is zero."""
    cell, input_size, *_ = EXAMPLES[name]
    params = randomise(cell.init(jax.random.key(0), input_size, jnp.float64), 1)
    state = randomise(cell.initial_state((B,), jnp.float64), 2)
    xs = EXAMPLES[name].draw_inputs(jax.random.key(3), (B, T))
    return cell, params, state, xs


def flip(tree):
    return jax.tree.map(lambda a: jnp.flip(a, 1), tree)


def at(tree, index):
    return jax.tree.map(lambda a: a[index], tree)


def test_every_cell_class_is_in_the_battery():
    classes = {
        value
        for value in vars(seqjax.cells).values()
        if inspect.isclass(value) and issubclass(value, Cell) and not inspect.isabstract(value)
    }
    assert classes <= {type(ex.cell) for name, ex in EXAMPLES.items() if " " not in name}
    assert {cls.__name__ for cls in classes} <= {*seqjax.cells.__all__}


@pytest.mark.parametrize("name", NAMES)
def test_scan_static_vmap_time_major_and_stepping_agree(name):
    cell, params, state, xs = example(name)
    run = functools.partial(unroll, cell, params)
    final, ys = run(xs, lengths=LENGTHS, initial_state=state, method="scan")
    assert all(y.shape[:2] == (B, T) for y in jax.tree.leaves(ys))
    assert jax.tree.leaves(ys)[0].shape[2:] == tuple(np.atleast_1d(cell.output_size))
    for y in jax.tree.leaves(ys):
        assert y[0].any()
        assert not y[1, 2:].any()
        assert not y[2].any()
    close(at(final, 2), at(state, 2), 0)
    close(run(xs, lengths=LENGTHS, initial_state=state, method="static"), (final, ys))
    if isinstance(cell, LinearCell):
        at_once = run(xs, lengths=LENGTHS, initial_state=state, method="associative")
        close(at_once, (final, ys), 1e-10)
        grads = [
            jax.grad(lambda p, m=m: (unroll(cell, p, xs, lengths=LENGTHS, method=m)[1] ** 2).sum())(
                params
            )
            for m in ("associative", "scan")
        ]
        close(*grads, 1e-10)
    mapped = jax.vmap(lambda x, n, s: run(x, lengths=n, initial_state=s))(xs, LENGTHS, state)
    close(mapped, (final, ys))
    swap = functools.partial(jax.tree.map, lambda a: jnp.swapaxes(a, 0, 1))
    major = run(swap(xs), lengths=LENGTHS, initial_state=state, time_major=True)
    close((major[0], swap(major[1])), (final, ys))

    stepped, outputs = at(state, slice(0, 1)), []
    step = jax.jit(lambda state, x: cell.step(params, state, cell.project(params, x)))
    for t in range(T):
        stepped, y = step(stepped, at(xs, np.s_[:1, t]))
        outputs.append(y)
    close(stepped, at(final, slice(0, 1)))
    close(jax.tree.map(lambda *y: jnp.stack(y, 1), *outputs), at(ys, slice(0, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_both_directions_are_a_run_forward_and_one_in_reverse(name):
    cell, params, state, xs = example(name)
    final, ys = bidirectional_unroll(
        cell,
        cell,
        Directions(params, params),
        xs,
        lengths=LENGTHS,
        initial_state=Directions(state, state),
    )
    for reverse, way in ((False, "forward"), (True, "backward")):
        alone = unroll(cell, params, xs, lengths=LENGTHS, initial_state=state, reverse=reverse)
        close((getattr(final, way), getattr(ys, way)), alone, 0)


@pytest.mark.parametrize("name", NAMES)
def test_splitting_and_carrying_the_state_changes_nothing(name):
    cell, params, state, xs = example(name)
    run = functools.partial(unroll, cell, params)
    final, ys = run(xs, initial_state=state)
    middle, first = run(at(xs, np.s_[:, :2]), initial_state=state)
    last, second = run(at(xs, np.s_[:, 2:]), initial_state=middle)
    joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), first, second)
    close((last, joined), (final, ys))
    reversed_final, reversed_ys = run(flip(xs), initial_state=state, reverse=True)
    close((reversed_final, flip(reversed_ys)), (final, ys))


@pytest.mark.parametrize("name", NAMES)
def test_padding_is_inert_in_value_and_gradient(name):
    cell, params, state, xs = example(name)
    padding = np.arange(T)[None] >= np.asarray(LENGTHS)[:, None]

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True, allow_int=True)
    def grads(params, state, xs):
        out = unroll(cell, params, xs, lengths=LENGTHS, initial_state=state)
        floats = [a for a in jax.tree.leaves(out) if jnp.issubdtype(a.dtype, jnp.inexact)]
        return sum((jnp.abs(a) ** 2).sum() for a in floats), out

    def pad(value):
        def one(a):
            if not jnp.issubdtype(a.dtype, jnp.floating):
                return a
            where = jnp.asarray(padding.reshape(padding.shape + (1,) * (a.ndim - 2)))
            return jnp.where(jnp.broadcast_to(where, a.shape), value, a)

        return jax.tree.map(one, xs)

    clean = grads(params, state, pad(0.0))
    for leaf in jax.tree.leaves(clean):
        assert leaf.dtype == jax.dtypes.float0 or jnp.isfinite(leaf).all()
    for value in (jnp.nan, jnp.inf):
        bad = grads(params, state, pad(value))
        for a, b in zip(jax.tree.leaves(bad), jax.tree.leaves(clean), strict=True):
            if a.dtype != jax.dtypes.float0:
                np.testing.assert_array_equal(a, b)
    for a in jax.tree.leaves(clean[0][2]):
        if a.dtype == jax.dtypes.float0:
            continue
        assert not np.asarray(a)[padding].any()
        assert np.asarray(a)[0].any()


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_bfloat16_parameters_run_with_a_float32_state(name):
    cell, input_size, *_ = EXAMPLES[name]
    params = cell.init(jax.random.key(0), input_size, jnp.float32)
    assert {
        leaf.dtype.name
        for leaf in jax.tree.leaves(params)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    } <= {"float32"}

    def low(tree, dtype):
        return jax.tree.map(
            lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
        )

    xs = low(EXAMPLES[name].draw_inputs(jax.random.key(3), (B, T)), jnp.float32)
    exact = unroll(cell, params, xs)
    given_low = unroll(cell, low(params, jnp.bfloat16), xs)
    assert [a.dtype for a in jax.tree.leaves(given_low)] == [
        a.dtype for a in jax.tree.leaves(exact)
    ]
    close(given_low, exact, 0.06)


@pytest.mark.parametrize("name", NAMES)
def test_in_a_stack_layer_by_layer_equals_step_by_step_noise_included(name):
    cell, input_size, *_ = EXAMPLES[name]
    if name == "WithState":  # nothing goes on top of it
        cell = Stack([seqjax.GRU(3), cell])
    elif isinstance(input_size, int) and not EXAMPLES[name].wrap:
        cell = Stack([seqjax.OutputProjection(cell, input_size), cell])
    else:
        cell = Stack([cell])
    params = randomise(cell.init(jax.random.key(0), input_size, jnp.float64), 1)
    state = randomise(cell.initial_state((B,), jnp.float64), 2)
    xs = EXAMPLES[name].draw_inputs(jax.random.key(3), (T, B))
    key = jax.random.key(4)
    expected = unroll(cell, params, xs, initial_state=state, key=key, time_major=True)
    zs = jax.jit(lambda: cell.project(params, xs, cell.draw_noise(key, (T, B), input_size)))()
    step, ys = jax.jit(cell.step), []
    for t in range(T):
        state, y = step(params, state, at(zs, t))
        ys.append(y)
    close((state, jax.tree.map(lambda *y: jnp.stack(y), *ys)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_noise_follows_the_key_and_there_is_none_without(name):
    cell, params, state, xs = example(name)
    run = functools.partial(unroll, cell, params, xs, initial_state=state)
    noise = cell.draw_noise(jax.random.key(5), (T, B), EXAMPLES[name].input_size)
    for leaf in jax.tree.leaves(noise):
        assert leaf.shape[:2] == (T, B)
    if not jax.tree.leaves(noise):
        return  # there is nothing that a key could change
    runs = [run(), *(run(key=jax.random.key(n)) for n in (5, 5, 6))]
    silent, loud, again, other = (
        np.concatenate([np.ravel(a) for a in jax.tree.leaves(out)]) for out in runs
    )
    np.testing.assert_array_equal(loud, again)
    assert (loud != other).any()
    assert (loud != silent).any()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_survive_a_file_of_plain_arrays(name):
    cell, params, _, _ = example(name)
    leaves, structure = jax.tree.flatten(params)
    file = io.BytesIO()
    np.savez(file, *leaves)
    file.seek(0)
    with np.load(file, allow_pickle=False) as data:
        loaded = jax.tree.unflatten(structure, list(data.values()))
    close(loaded, params, 0)
    assert hash(dataclasses.replace(cell)) == hash(cell)
    assert dataclasses.replace(cell) == cell


def test_an_activation_that_is_no_function_is_refused():
    cells = [ex.cell for ex in EXAMPLES.values() if hasattr(ex.cell, "activation")]
    assert len(cells) > 10
    for cell in cells:
        with pytest.raises(ValueError, match=f"{type(cell).__name__}: activation must be a func"):
            dataclasses.replace(cell, activation="tanh")


@pytest.mark.parametrize("cls", sorted({type(ex.cell) for ex in EXAMPLES.values()}, key=str))
def test_the_docstring_has_equations_a_source_and_an_example(cls):
    doc = inspect.getdoc(cls)
    assert "::" in doc, "equations"
    assert "Args:" in doc
    assert "Raises:" in doc
    assert ">>> " in doc
    assert "Reference" in doc or "TensorFlow's" in doc
