"""The loop with a backward pass of its own, against autodiff of the plain one."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import GRU, LSTM, BasicRNN, CoupledInputForgetGateLSTM, LayerNorm, unroll
from seqjax.types import FactoredCell

D, H = 2, 3
KEY = jax.random.key(0)
LSTM_OPTIONS = {"peepholes": True, "cell_clip": 0.4, "recurrent_dropout": 0.3}
COVERED = {
    "lstm": LSTM(H),
    "lstm every covered option": LSTM(H, activation=jax.nn.softplus, **LSTM_OPTIONS),
    "lstm straight_through": LSTM(H, cell_clip=0.2, straight_through=True),
    "coupled": CoupledInputForgetGateLSTM(H, **LSTM_OPTIONS),
    "gru": GRU(H),
    "gru reset_after": GRU(H, reset_after=True, activation=jax.nn.softplus),
    "rnn": BasicRNN(H),
    "rnn relu": BasicRNN(H, activation=jax.nn.relu),
}


@dataclasses.dataclass(frozen=True)
class OtherStep(LSTM):
    """Keeps its memory, which the equations of the LSTM know nothing of."""

    def step(self, params, state, z):
        new, y = super().step(params, state, z)
        return new._replace(c=state.c), y


def whole_layer(x):
    return x - x.mean(-1, keepdims=True)


def random_like(tree, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(0, 0.7, a.shape)), tree)


def make(cell, batch=(2,), steps=4):
    params = cell.init(KEY, D, jnp.float64)
    state = cell.initial_state(batch, jnp.float64)
    return random_like((params, state, jnp.zeros((*batch, steps, D))))


def close(tree, expected, tolerance=1e-12):
    compare = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    jax.tree.map(compare, tree, expected)


def value_and_grads(cell, args, method, **options):
    """Outputs, final state and the gradient of a loss to which each of their numbers counts."""

    def loss(args):
        params, state, xs = args
        out = unroll(
            cell, params, xs, initial_state=state, method=method, key=jax.random.key(1), **options
        )
        cots = random_like(out, seed=2)
        terms = jax.tree.map(lambda c, o: (c.astype(o.dtype) * o).sum(), cots, out)
        return sum(jax.tree.leaves(terms)), out

    return jax.jit(jax.grad(loss, has_aux=True))(args)


def assert_equals_the_plain_path(cell, args, tolerance=1e-12, **options):
    assert cell.is_factored(args[0])
    plain = value_and_grads(cell, args, "scan", **options)
    close(value_and_grads(cell, args, "auto", **options), plain, tolerance)


QUICK = {"lstm every covered option", "gru", "gru reset_after", "rnn"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in COVERED]


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_plain_path_in_value_and_gradient(name, masked):
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0]], bool) if masked else None
    assert_equals_the_plain_path(COVERED[name], make(COVERED[name]), mask=mask)


@pytest.mark.parametrize(
    ("batch", "steps"),
    [
        ((), 1),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [((), 0), ((), 2), ((2, 1), 0), ((2, 1), 1), ((2, 1), 2)]
        ),
    ],
)
def test_few_steps_of_any_batch_in_reverse(batch, steps):
    cell = seqjax.LSTM(H, peepholes=True)
    assert_equals_the_plain_path(cell, make(cell, batch, steps), reverse=True)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) for n in COVERED])
def test_nan_at_the_holes_of_a_mask_is_inert(name):
    cell = COVERED[name]
    params, state, xs = make(cell)
    mask = np.array([[True, False, True, False], [False, True, True, False]])
    run = functools.partial(value_and_grads, cell, method="auto", mask=mask)
    clean = run((params, state, xs))
    holes = jnp.broadcast_to(~mask[..., None], xs.shape)
    close(run((params, state, jnp.where(holes, jnp.nan, xs))), clean, 0)
    assert not clean[0][2][~mask].any()


def test_many_sets_of_parameters_at_once():
    cell = GRU(H, reset_after=True)
    sets = [make(cell), jax.tree.map(lambda a: a / 2, make(cell))]
    together = jax.tree.map(lambda *a: jnp.stack(a), *sets)
    lengths = np.array([[4, 2], [0, 3]])

    def run(args, lengths):
        return value_and_grads(cell, args, "auto", lengths=lengths)

    alone = [run(args, n) for args, n in zip(sets, lengths, strict=True)]
    close(jax.vmap(run)(together, lengths), jax.tree.map(lambda *a: jnp.stack(a), *alone))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "gru")) for n in COVERED]
)
def test_bfloat16_kernels_give_gradients_in_their_own_dtype(name):
    cell = COVERED[name]
    params, state, xs = jax.tree.map(lambda a: a.astype(jnp.float32), make(cell, steps=8))
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params), state, xs
    grads, out = value_and_grads(cell, low, "auto")
    plain = value_and_grads(cell, low, "scan")
    assert [a.dtype for a in jax.tree.leaves((grads, out))] == [
        a.dtype for a in jax.tree.leaves(plain)
    ]
    close(out, plain[1], 1e-6)
    for ours, theirs in zip(jax.tree.leaves(grads), jax.tree.leaves(plain[0]), strict=True):
        ours, theirs = (np.asarray(a.astype(jnp.float32)) for a in (ours, theirs))
        assert np.abs(ours - theirs).max() < 0.02 * np.abs(theirs).max()


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_gradients_of_a_batch_split_over_devices(masked):
    cell = LSTM(H, peepholes=True)
    params, _, xs = make(cell)
    lengths = jnp.array([3, 1]) if masked else None
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    whole, rows = jax.P(), jax.P("data")

    @jax.jit
    def gradient(params, xs, lengths):
        def loss(params):
            return (unroll(cell, params, xs, lengths=lengths)[1] ** 2).sum()

        return jax.grad(loss)(params)

    split = jax.shard_map(gradient, mesh=mesh, in_specs=(whole, rows, rows), out_specs=whole)
    close(split(params, xs, lengths), gradient(params, xs, lengths))

    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    with jax.set_mesh(mesh):
        given = (
            jax.device_put(params, jax.NamedSharding(mesh, whole)),
            *jax.device_put((xs, lengths), jax.NamedSharding(mesh, rows)),
        )
        explicit = gradient(*given)
    close(jax.device_get(explicit), gradient(params, xs, lengths))


def test_what_has_other_equations_takes_the_plain_path():
    others = [
        OtherStep(H),
        LSTM(H, activation=whole_layer),
        GRU(H, activation=whole_layer),
        BasicRNN(H, activation=whole_layer),
        LSTM(H, projection_size=2),
        LSTM(H, layer_norm=LayerNorm()),
        seqjax.IndRNN(H),
        seqjax.IndyGRU(H),
        seqjax.IndyLSTM(H),
        seqjax.GLSTM(2, groups=2),
    ]
    for cell in others:
        assert isinstance(cell, FactoredCell)
        assert not cell.is_factored(jax.eval_shape(functools.partial(cell.init, KEY, D)))
    cell = OtherStep(H)
    args = make(cell)
    close(value_and_grads(cell, args, "auto"), value_and_grads(cell, args, "scan"), 0)


def test_forward_mode_is_refused_and_works_by_scan():
    cell = BasicRNN(H)
    params, _, xs = make(cell)
    run = functools.partial(unroll, cell, params)
    with pytest.raises(TypeError, match="forward-mode autodiff"):
        jax.jvp(run, (xs,), (xs,))
    jax.jvp(functools.partial(run, method="scan"), (xs,), (xs,))


@pytest.mark.parametrize("name", COVERED)
def test_no_product_of_the_loops_transposes_its_kernel(name):
    """XLA would do it at every step."""
    cell = COVERED[name]
    params = cell.init(KEY, 5)
    tokens = jnp.zeros((2, 7), jnp.int32)

    def loss(params):
        return unroll(cell, params, tokens)[1].sum()

    program = jax.jit(jax.grad(loss)).lower(params).compile().as_text()
    products = [line for line in program.splitlines() if " dot(" in line and "while/body" in line]
    assert len(products) >= 2
    assert all("rhs_contracting_dims={0}" in product for product in products)
