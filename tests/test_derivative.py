"""The derivative that the engine derives, against autodiff of the plain loop."""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import GRU, LSTM, BasicRNN, CoupledInputForgetGateLSTM, unroll
from seqjax.cells import LayerNorm
from seqjax.engine.equations import trace

D, H = 2, 3
KEY = jax.random.key(0)


class JanetParams(NamedTuple):
    input_kernel: jax.Array  # [D, 2H]
    recurrent_kernel: jax.Array  # [H, 2H]
    bias: jax.Array  # [2H]


@dataclasses.dataclass(frozen=True)
class Janet(seqjax.Cell):
    """A user's cell: the LSTM with a forget gate alone (van der Westhuizen and Lasenby, 2018)."""

    units: int

    @property
    def output_size(self):
        return self.units

    def init(self, key, input_size, dtype=jnp.float32):
        draw = jax.nn.initializers.glorot_uniform()
        keys = jax.random.split(key)
        kernels = (
            draw(k, (n, 2 * self.units), dtype)
            for k, n in zip(keys, (input_size, self.units), strict=True)
        )
        return JanetParams(*kernels, jnp.zeros(2 * self.units, dtype))

    def input_size(self, params):
        return params.input_kernel.shape[0]

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return jnp.zeros((*batch_shape, self.units), dtype)

    def project(self, params, xs, noise=None):
        zs = xs @ params.input_kernel
        return zs + jnp.broadcast_to(params.bias, zs.shape)

    def step(self, params, state, z):
        f, n = jnp.split(z + state @ params.recurrent_kernel, 2, -1)
        h = jax.nn.sigmoid(f) * state + jax.nn.sigmoid(-f) * jnp.tanh(n)
        return h, h


def whole_layer(x):
    """An activation that looks at all units."""
    return x - jnp.broadcast_to(x.mean(-1, keepdims=True), x.shape)


@dataclasses.dataclass(frozen=True)
class Counting(seqjax.BasicRNN):
    """A state with a part that has no derivative, and a step with a choice by it."""

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return super().initial_state(batch_shape, dtype), jnp.zeros(batch_shape, jnp.int32)

    def step(self, params, state, z):
        inner, count = state
        new, y = super().step(params, inner, z)
        even = (count % 2 == 0)[..., None]
        return (new, count + 1), jnp.where(jnp.broadcast_to(even, y.shape), y, -y)


@dataclasses.dataclass(frozen=True)
class BiasAtEachStep(Janet):
    """A cell that adds its bias in the step, to the pieces of a product."""

    def project(self, params, xs, noise=None):
        return xs @ params.input_kernel

    def step(self, params, state, z):
        f, n = jnp.split(z + state @ params.recurrent_kernel, 2, -1)
        u, v = jnp.split(state @ params.recurrent_kernel, 2, -1)
        of_f, of_n = (jnp.broadcast_to(b, f.shape) for b in jnp.split(params.bias, 2))
        h = jnp.tanh(f + of_f) * state + (u + of_f) * jnp.tanh(n + v + of_n)
        return h, h


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
    "activations of all units": LSTM(H, activation=whole_layer, gate_activation=jax.nn.softmax),
    "a lambda": GRU(H, activation=lambda x: x * jax.nn.sigmoid(x)),
    "a user's": Janet(H),
    "a user's, with its bias in the step": BiasAtEachStep(H),
}


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
    plain = value_and_grads(cell, args, "scan", **options)
    close(value_and_grads(cell, args, "auto", **options), plain, tolerance)


QUICK = {"lstm every covered option", "gru", "gru reset_after", "rnn"}
USERS = {"a user's", "a user's, with its bias in the step"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in COVERED]


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("name", NAMES)
def test_equals_the_plain_path_in_value_and_gradient(name, masked):
    mask = np.array([[1, 0, 1, 1], [0, 0, 0, 0]], bool) if masked else None
    assert_equals_the_plain_path(COVERED[name], make(COVERED[name]), mask=mask)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n not in USERS - {"a user's"})) for n in COVERED],
)
def test_the_derivative_with_respect_to_one_array_alone(name):
    """The tangents of all other arrays are zero."""
    cell = COVERED[name]
    args = make(cell)
    arrays, structure = jax.tree.flatten(args)
    directions = random_like(arrays, 5)

    def value(arrays, method="auto"):
        params, state, xs = jax.tree.unflatten(structure, arrays)
        out = unroll(cell, params, xs, initial_state=state, method=method, deterministic=True)
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(out))

    @jax.jit
    def slopes(arrays, directions):
        def alone(n):
            def of_one(x):
                return value([*arrays[:n], x, *arrays[n + 1 :]])

            return jax.jvp(of_one, (arrays[n],), (directions[n],))[1]

        return [alone(n) for n in range(len(arrays))]

    gradient = jax.jit(jax.grad(functools.partial(value, method="scan")))(arrays)
    expected = [(g * d).sum() for g, d in zip(gradient, directions, strict=True)]
    close(slopes(arrays, directions), expected, 1e-11)


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


# a user's cell multiplies without `affine`, which casts its inputs to the kernel's dtype
LOW = [name for name in COVERED if name not in USERS]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "gru")) for n in LOW]
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


@pytest.mark.parametrize(
    ("rows", "other"), [("Auto", "Auto"), ("Explicit", "Auto"), ("Auto", "Explicit")]
)
def test_gradients_of_a_batch_on_a_mesh_with_a_second_axis(rows, other):
    cell = LSTM(H)
    params, _, xs = make(cell)
    kinds = [getattr(jax.sharding.AxisType, kind) for kind in (rows, other)]
    mesh = jax.make_mesh((2, 1), ("data", "seeds"), axis_types=tuple(kinds))

    @jax.jit
    def gradient(params, xs):
        return jax.grad(lambda params: (unroll(cell, params, xs)[1] ** 2).sum())(params)

    with jax.set_mesh(mesh):
        whole, split = (jax.NamedSharding(mesh, jax.P(*axes)) for axes in ((), ("data",)))
        found = gradient(jax.device_put(params, whole), jax.device_put(xs, split))
    close(jax.device_get(found), gradient(params, xs))


def test_a_part_of_the_state_without_a_derivative():
    cell = Counting(H)
    params = random_like(cell.init(KEY, D, jnp.float64))
    xs = random_like(jnp.zeros((2, 4, D)), 1)

    def loss(params, xs, method):
        (state, count), ys = unroll(cell, params, xs, method=method)
        return (state.h.sum() + (ys**3).sum()), count

    by = [
        jax.jit(jax.grad(functools.partial(loss, method=m), (0, 1), has_aux=True))(params, xs)
        for m in ("auto", "scan")
    ]
    close(*by)
    assert (by[0][1] == 4).all()


def test_a_cell_with_a_backward_pass_of_its_own_runs_as_a_plain_scan():
    @jax.custom_vjp
    def clipped(x):
        return x

    clipped.defvjp(lambda x: (x, None), lambda _, d: (jnp.clip(d, -0.1, 0.1),))
    cell = BasicRNN(H, activation=lambda x: jnp.tanh(clipped(x)))
    assert_equals_the_plain_path(cell, make(cell), 0)


@pytest.mark.parametrize("name", ["lstm", "gru reset_after", "coupled"])
def test_forward_mode_with_products_of_16_bits(name):
    cell = COVERED[name]
    params, state, xs = jax.tree.map(lambda a: a.astype(jnp.float32), make(cell, steps=8))
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)

    def loss(params, method="auto"):
        run = functools.partial(unroll, cell, params, xs, initial_state=state, deterministic=True)
        return (run(method=method)[1] ** 2).sum()

    direction = jax.tree.map(lambda a: a.astype(jnp.bfloat16), random_like(params, 3))
    _, forward = jax.jvp(loss, (low,), (direction,))
    _, by_scan = jax.jvp(functools.partial(loss, method="scan"), (low,), (direction,))
    exact = jax.jvp(loss, (params,), (jax.tree.map(lambda a: a.astype(jnp.float32), direction),))[1]
    assert abs(forward - exact) < 0.05 * abs(exact)
    assert abs(by_scan - exact) < 0.05 * abs(exact)


def test_states_and_products_are_kept_once():
    """No array of all steps is kept twice: memory is what the equations need."""
    params = LSTM(64).init(KEY, 16)
    xs = jnp.zeros((8, 500, 16), jnp.float32)

    def temporary_bytes(cell, method):
        def loss(params):
            return unroll(cell, params, xs, method=method)[1].sum()

        compiled = jax.jit(jax.grad(loss)).lower(params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(LSTM(64), "auto") < temporary_bytes(LSTM(64), "scan")


def test_a_sum_is_multiplied_in_the_loop_where_its_coefficients_would_be_more_arrays():
    cell = LSTM(64, layer_norm=LayerNorm())
    params = cell.init(KEY, 16)

    def tangent(params, d):
        return jax.jvp(
            lambda p: unroll(cell, p, jnp.zeros((8, 9, 16), jnp.float32))[1], (params,), (d,)
        )[1]

    loop = trace(tangent, params, params)[0].jaxpr.eqns
    loop = [equation for equation in loop if equation.primitive.name == "scan"][-1]
    scanned = [v for v in loop.invars if v.aval.shape[:2] == (9, 8)]
    # 31 units a row and step if every coefficient of a sum is multiplied by every factor
    assert 20 * 64 < sum(math.prod(v.aval.shape[2:]) for v in scanned) < 24 * 64


@pytest.mark.parametrize("name", COVERED)
def test_no_product_of_the_loops_transposes_its_kernel(name):
    """XLA would do it at every step."""
    cell = COVERED[name]
    params = cell.init(KEY, 5)
    xs = jnp.zeros((2, 7, 5), jnp.float32)

    def loss(params):
        return unroll(cell, params, xs, deterministic=True)[1].sum()

    program = jax.jit(jax.grad(loss)).lower(params).compile().as_text()
    products = [line for line in program.splitlines() if " dot(" in line and "while/body" in line]
    assert len(products) >= 2
    assert all("rhs_contracting_dims={0}" in product for product in products)
