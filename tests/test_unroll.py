"""`unroll` against plain loops, and its promises: inert padding, carried state, one compile."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from seqjax import (
    GLSTM,
    GRU,
    LSTM,
    MLSTM,
    BasicRNN,
    Bidirectional,
    Cell,
    Dropout,
    MinGRU,
    OutputProjection,
    Reset,
    Stack,
    unroll,
)
from seqjax.devices import data_mesh
from seqjax.wrappers import ResetInputs
from tests import oracle

B, T, D, H = 2, 4, 2, 3
CELLS = {
    "rnn": (BasicRNN(H), oracle.rnn_step),
    "gru": (GRU(H), oracle.gru_step),
    "gru_reset_after": (GRU(H, reset_after=True), oracle.gru_step),
    "lstm": (LSTM(H), oracle.lstm_step),
}
MASKS = {
    "all": ({}, np.ones((B, T), bool)),
    "lengths": ({"lengths": [3, 0]}, np.arange(T) < np.array([[3], [0]])),
    "mask": (
        {"mask": [[True, False, True, True], [False, True, True, False]]},
        np.array([[1, 0, 1, 1], [0, 1, 1, 0]], bool),
    ),
}


def random_like(tree, seed=0):
    """Every array anew, float64 and of a size that keeps the nonlinearities busy."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.7, a.shape)), tree)


def make(cell, seed=0, batch=(B,), steps=T):
    params = cell.init(jax.random.key(0), D, jnp.float64)
    state = cell.initial_state(batch, jnp.float64)
    return random_like((params, state, jnp.zeros((*batch, steps, D))), seed)


def close(tree, expected, tolerance=1e-12):
    """The same structure, and the same numbers to ``tolerance``."""
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance),
        tree,
        expected,
    )


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("masked", "depth"),
    [*((masked, 1) for masked in MASKS), pytest.param("mask", 3, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "lstm")) for name in CELLS]
)
def test_equals_a_plain_numpy_loop_in_value_and_gradient(name, masked, reverse, depth):
    layer, step = CELLS[name]
    cell = Stack([layer] * depth) if depth > 1 else layer
    args = make(cell)
    cots = random_like((args[1], jnp.zeros((B, T, H))), seed=1)
    given_mask, mask = MASKS[masked]
    given_mask = jax.tree.map(jnp.asarray, given_mask, is_leaf=lambda x: isinstance(x, list))

    leaves, structure = jax.tree.flatten(args)
    cot_leaves = jax.tree.leaves(cots)

    def plain(leaves):
        params, state, xs = jax.tree.unflatten(structure, leaves)
        params, state = (params, state) if depth > 1 else ((params,), (state,))
        rows = []
        for row in range(B):
            states = [[leaf[row] for leaf in layer_state] for layer_state in state]
            layers = [jax.tree.leaves(p) for p in params]
            states, ys = oracle.unroll([step] * depth, layers, states, xs[row], mask[row], reverse)
            rows.append([*itertools.chain(*states), ys])
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def plain_loss(leaves):
        pairs = zip(cot_leaves, plain(leaves), strict=True)
        return sum((np.asarray(cot) * out).sum() for cot, out in pairs)

    expected = plain([np.asarray(leaf) for leaf in leaves])
    expected_grads = oracle.complex_step(plain_loss, [np.asarray(leaf) for leaf in leaves])

    for method in ("auto", "static"):

        def loss(args, method=method):
            params, state, xs = args
            out = unroll(
                cell, params, xs, initial_state=state, reverse=reverse, method=method, **given_mask
            )
            products = jax.tree.map(lambda c, o: (c * o).sum(), cots, out)
            return sum(jax.tree.leaves(products)), out

        grads, out = jax.jit(jax.grad(loss, has_aux=True))(args)
        close(jax.tree.leaves(out), expected)
        close(jax.tree.leaves(grads), expected_grads)


@pytest.mark.parametrize("name", CELLS)
def test_tokens_are_looked_up_as_one_hot_inputs_would_be(name):
    cell = Stack([CELLS[name][0]] * 2)
    params, state, _ = make(cell)
    tokens = jnp.array([[0, 1, 1, 0], [1, 1, 0, 1]])
    run = functools.partial(unroll, cell, initial_state=state)
    one_hot = jax.nn.one_hot(tokens, D, dtype=jnp.float64)
    close(run(params, tokens), run(params, one_hot))
    grad = jax.jit(jax.grad(lambda params, xs: run(params, xs)[1].sum()))
    close(grad(params, tokens), grad(params, one_hot))


@pytest.mark.parametrize("method", ["scan", "static"])
@pytest.mark.parametrize("name", CELLS)
def test_padding_of_nan_changes_no_output_and_no_gradient(name, method):
    cell = OutputProjection(Stack([CELLS[name][0]] * 2), 2)
    params, state, xs = make(cell)
    lengths = jnp.array([3, 1])
    padding = np.arange(T)[None, :, None] >= np.asarray(lengths)[:, None, None]
    padding = jnp.asarray(np.broadcast_to(padding, xs.shape))

    def loss(params, state, xs):
        final, ys = unroll(cell, params, xs, lengths=lengths, initial_state=state, method=method)
        return (ys**2).sum() + sum(leaf.sum() for leaf in jax.tree.leaves(final)), (final, ys)

    grad = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    clean = grad(params, state, jnp.where(padding, 0, xs))
    for bad in (jnp.nan, jnp.inf, 1e300):
        grads, out = grad(params, state, jnp.where(padding, bad, xs))
        close((grads, out), clean, 0)
        assert not grads[2][padding].any()
        assert not out[1][0, 3:].any()
        assert not out[1][1, 1:].any()


@pytest.mark.parametrize("reverse", [False, True])
def test_nan_at_the_holes_of_a_mask_is_inert_too(reverse):
    cell = Stack([LSTM(H), GRU(H)])
    params, state, xs = make(cell)
    mask = MASKS["mask"][1]

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True)
    def grads(params, state, xs):
        out = unroll(cell, params, xs, mask=mask, initial_state=state, reverse=reverse)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(out)), out

    holes = ~np.broadcast_to(mask[..., None], xs.shape)
    clean = grads(params, state, jnp.where(holes, 0, xs))
    close(grads(params, state, jnp.where(holes, jnp.nan, xs)), clean, 0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64])
def test_lengths_of_any_integer_dtype(dtype):
    cell = BasicRNN(H)
    params, _, xs = make(cell, steps=300)
    lengths = np.array([100, 50])
    state, ys = unroll(cell, params, xs, lengths=lengths.astype(dtype))
    for row, length in enumerate(lengths):
        assert ys[row, :length].all()
        assert not ys[row, length:].any()
    close(state.h, ys[np.arange(2), lengths - 1], 0)


def test_a_token_outside_of_the_vocabulary_is_nan_where_it_cannot_be_an_error():
    cell = BasicRNN(H)
    params, _, _ = make(cell)
    for token in (-1, D):
        ys = jax.jit(lambda xs: unroll(cell, params, xs)[1])(jnp.array([[0, token, 0]]))
        assert jnp.isfinite(ys[0, 0]).all()
        assert jnp.isnan(ys[0, 1:]).all()


def test_padding_may_hold_tokens_outside_of_the_vocabulary():
    cell = LSTM(H)
    params, _, _ = make(cell)
    tokens = jnp.array([[0, 1, -7], [1, 99, 99]])
    lengths = jnp.array([2, 1])
    clean = jnp.array([[0, 1, 0], [1, 0, 0]])
    close(
        unroll(cell, params, tokens, lengths=lengths), unroll(cell, params, clean, lengths=lengths)
    )


CELL = Stack([LSTM(H), GRU(H)])
PARAMS, STATE, XS = make(CELL, batch=(3,), steps=6)
lengths_of_3 = st.lists(st.integers(0, 6), min_size=3, max_size=3).map(jnp.array)


@settings(max_examples=30)
@given(lengths_of_3, arrays(np.float64, XS.shape))
def test_what_padding_holds_never_matters(lengths, junk):
    padding = jnp.asarray(np.arange(6)[None, :, None] >= np.asarray(lengths)[:, None, None])
    padded = jnp.where(jnp.broadcast_to(padding, XS.shape), junk, XS)
    close(
        unroll(CELL, PARAMS, padded, lengths=lengths, initial_state=STATE),
        unroll(CELL, PARAMS, XS, lengths=lengths, initial_state=STATE),
        0,
    )


@settings(max_examples=15)
@given(st.integers(0, 6), arrays(bool, XS.shape[:2]))
def test_splitting_a_sequence_and_carrying_the_state_changes_nothing(cut, mask):
    run = functools.partial(unroll, CELL, PARAMS)
    state, ys = run(XS, mask=mask, initial_state=STATE)
    middle, first = run(XS[:, :cut], mask=mask[:, :cut], initial_state=STATE)
    final, second = run(XS[:, cut:], mask=mask[:, cut:], initial_state=middle)
    close((final, jnp.concatenate([first, second], 1)), (state, ys))


@settings(max_examples=20)
@given(lengths_of_3, st.booleans())
def test_vmap_equals_batch_equals_time_major(lengths, reverse):
    run = functools.partial(unroll, CELL, PARAMS, reverse=reverse)
    batched = run(XS, lengths=lengths, initial_state=STATE)
    mapped = jax.vmap(lambda x, n, s: run(x, lengths=n, initial_state=s))(XS, lengths, STATE)
    close(mapped, batched)
    state, ys = run(XS.swapaxes(0, 1), lengths=lengths, initial_state=STATE, time_major=True)
    close((state, ys.swapaxes(0, 1)), batched)
    two_axes = jax.tree.map(lambda a: a.reshape(1, 3, *a.shape[1:]), (XS, lengths, STATE))
    many = run(two_axes[0], lengths=two_axes[1], initial_state=two_axes[2])
    close(jax.tree.map(lambda a: a[0], many), batched)


@settings(max_examples=20)
@given(lengths_of_3)
def test_reverse_runs_within_each_length_and_twice_is_identity(lengths):
    def flip_row(row, n):
        return jnp.concatenate([row[:n][::-1], row[n:]])

    def flip(a):
        return jnp.stack([flip_row(row, int(n)) for row, n in zip(a, lengths, strict=True)])

    run = functools.partial(unroll, CELL, PARAMS, lengths=lengths, initial_state=STATE)
    state, ys = run(flip(XS), reverse=True)
    close((state, flip(ys)), run(XS))


@settings(max_examples=10)
@given(arrays(bool, (3,)))
def test_zero_lengths_give_the_initial_state_and_zeros(empty):
    lengths = jnp.where(empty, 0, 6)
    state, ys = unroll(CELL, PARAMS, XS, lengths=lengths, initial_state=STATE)
    close(jax.tree.map(lambda a: a[empty], state), jax.tree.map(lambda a: a[empty], STATE), 0)
    assert not ys[empty].any()
    assert ys[~empty].all()


@pytest.mark.parametrize(
    ("cell", "options"),
    [
        (CELL, {}),
        (MLSTM(4, heads=2), {"time_major": True}),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                (CELL, {"method": "scan"}),
                (CELL, {"method": "static"}),
                (CELL, {"remat": 2}),
                (MinGRU(H), {"method": "associative"}),
                (GLSTM(4, groups=2), {}),
            ]
        ),
        (Bidirectional(Dropout(GRU(2), output_rate=0.5), MinGRU(2)), {"key": jax.random.key(0)}),
    ],
    ids=lambda part: str(part) if isinstance(part, Cell) else "-".join(part) or "defaults",
)
def test_no_steps_give_the_initial_state(cell, options):
    params, state, xs = make(cell, steps=0)
    xs = jnp.moveaxis(xs, 1, 0) if "time_major" in options else xs

    def run(state):
        final, ys = unroll(cell, params, xs, initial_state=state, **options)
        return sum(jnp.abs(leaf).sum() for leaf in jax.tree.leaves(final)), (final, ys)

    slope, (final, ys) = jax.grad(run, has_aux=True)(state)
    close(final, state, 0)
    close(jax.tree.map(jnp.abs, slope), jax.tree.map(lambda s: jnp.ones(s.shape), state))
    assert ys.shape == (*xs.shape[:2], cell.output_size)


def test_a_stack_stepped_as_one_cell_equals_the_layers_run_one_by_one():
    cell = OutputProjection(CELL, 2)
    params, state, xs = make(cell)
    expected = unroll(cell, params, xs, initial_state=state)
    zs = cell.project(params, xs)
    ys = []
    for t in range(T):
        state, y = cell.step(params, state, jax.tree.map(lambda z: z[:, t], zs))  # noqa: B023
        ys.append(y)
    close((state, jnp.stack(ys, 1)), expected)


def test_bfloat16_parameters_keep_a_float32_state():
    cell = Stack([LSTM(8), GRU(8)])
    params = cell.init(jax.random.key(0), D)
    xs = jax.random.normal(jax.random.key(1), (B, 10, D), jnp.float32)
    exact = unroll(cell, params, xs)
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    for inputs in (xs, xs.astype(jnp.bfloat16)):
        state, ys = unroll(cell, low, inputs)
        assert {leaf.dtype for leaf in jax.tree.leaves((state, ys))} == {jnp.dtype("float32")}
        close((state, ys), exact, 2e-2)
        assert (ys != exact[1]).any()


def test_forward_mode_and_second_derivatives():
    cell = GRU(H)
    params, state, xs = make(cell)

    def loss(xs):
        ys = unroll(cell, params, xs, initial_state=state)[1]
        return (ys**2).sum()

    grad = jax.jit(jax.grad(loss))
    direction = random_like(xs, seed=2)
    _, forward = jax.jvp(loss, (xs,), (direction,))
    close(forward, (grad(xs) * direction).sum())
    _, curvature = jax.jvp(grad, (xs,), (direction,))
    step = 1e-6 * direction
    numeric = (grad(xs + step) - grad(xs - step)) / 2e-6
    close(curvature, numeric, 1e-7)


@pytest.fixture
def compilations():
    events = []

    def listen(name, seconds, **_):
        if name.endswith("backend_compile_duration"):
            events.append(name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("method", ["scan", "static"])
def test_a_second_call_with_an_equal_cell_does_not_compile_again(compilations, method):
    def fresh():
        return Stack([LSTM(5), OutputProjection(GRU(7, reset_after=True), 2), BasicRNN(3)])

    params = fresh().init(jax.random.key(0), D)
    xs = [np.random.default_rng(n).normal(size=(3, 9, D)).astype(np.float32) for n in (0, 1)]
    lengths = [np.array([9, 2, 0]), np.array([1, 1, 1])]
    jax.block_until_ready(unroll(fresh(), params, xs[0], lengths=lengths[0], method=method))
    assert compilations
    compilations.clear()
    jax.block_until_ready(unroll(fresh(), params, xs[1], lengths=lengths[1], method=method))
    assert not compilations


@pytest.mark.parametrize(
    ("masked", "remat"),
    [
        pytest.param(False, None, marks=pytest.mark.slow),
        pytest.param(True, None, marks=pytest.mark.slow),
        (True, 3),
    ],
)
def test_runs_in_shard_map_and_under_explicit_sharding(masked, remat):
    run = functools.partial(unroll, remat=remat)
    lengths = jnp.array([4, 2]) if masked else None
    cell = Stack([LSTM(H), GRU(H), MLSTM(H, chunk_size=3)])
    params, _, xs = make(cell)
    expected = unroll(cell, params, xs, lengths=lengths)

    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(
        lambda xs, lengths: run(cell, params, xs, lengths=lengths),
        mesh=mesh,
        in_specs=P("data"),
        out_specs=P("data"),
    )
    close(mapped(xs, lengths), expected)

    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        rows = NamedSharding(mesh, P("data"))
        replicated = jax.device_put(params, NamedSharding(mesh, P()))
        given_lengths = None if lengths is None else jax.device_put(lengths, rows)
        state, ys = run(cell, replicated, jax.device_put(xs, rows), lengths=given_lengths)
        assert jax.typeof(ys).sharding.spec == P("data", None, None)
        tokens = jax.device_put(jnp.array([[0, 1], [1, 1]]), rows)
        _, of_tokens = unroll(cell, replicated, tokens)
        assert jax.typeof(of_tokens).sharding.spec == P("data", None, None)
    close(jax.device_get(of_tokens), unroll(cell, params, jnp.array([[0, 1], [1, 1]]))[1])
    with jax.set_mesh(mesh):
        assert jax.typeof(state[0].c).sharding.spec == P("data", None)
    close(jax.device_get((state, ys)), expected)


@pytest.mark.parametrize("remat", [pytest.param(None, marks=pytest.mark.slow), 3])
def test_rows_run_on_the_devices_of_the_mesh_that_is_set(remat):
    cell = Bidirectional(Reset(LSTM(H)), Reset(GRU(H)))
    xs = jax.random.normal(jax.random.key(1), (4, 6, D))
    starts = jax.random.bernoulli(jax.random.key(2), 0.2, (4, 6))
    params = cell.init(jax.random.key(0), D, jnp.float64)
    both = jax.tree.map(lambda a: jnp.stack([a, 2 * a]), params)

    def loss(params, xs):
        lengths = jnp.array([6, 0, 3, 2])
        state, ys = unroll(cell, params, ResetInputs(starts, xs), lengths=lengths, remat=remat)
        return (ys**2).sum() + sum(leaf.sum() for leaf in jax.tree.leaves(state))

    def run(params, both, xs):
        values = jax.vmap(lambda params: loss(params, xs))(both)
        return jax.value_and_grad(loss, (0, 1))(params, xs), values

    expected = jax.jit(run)(params, both, xs)
    mesh = data_mesh(4)
    assert mesh.size == 2
    with jax.set_mesh(mesh):
        rows = jax.device_put(xs, NamedSharding(mesh, P("data")))
        split = jax.jit(run).lower(params, both, rows).compile()
        assert " all-gather(" not in split.as_text()
        found = split(params, both, rows)
    close(jax.device_get(found), expected)


def test_every_cell_is_immutable_and_hashable():
    for cell in (*(cell for cell, _ in CELLS.values()), CELL, OutputProjection(CELL, 2)):
        assert isinstance(cell, Cell)
        twin = dataclasses.replace(cell)
        assert twin is not cell
        assert twin == cell
        assert hash(twin) == hash(cell)
        with pytest.raises(dataclasses.FrozenInstanceError):
            cell.units = 1
