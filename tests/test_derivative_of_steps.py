"""The derivative of steps that no cell of the library has, against that of `jax.lax.scan`."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.engine.derivative import scan_with_derivative
from seqjax.operations.masking import select

B, H, T = 3, 4, 5


@pytest.fixture(autouse=True)
def as_users_do():
    """A user's step may add a bias ``[H]`` to ``[B, H]``, or mix dtypes."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


class Weights(NamedTuple):
    kernel: jax.Array  # [H, H]
    wide: jax.Array  # [H, 2H]
    bias: jax.Array  # [H]


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).normal(0, 0.6, shape))


def arguments(seed=0):
    """Weights, two arrays of state ``[B, H]`` and the inputs ``[T, B, H]``."""
    weights = Weights(draw(H, H, seed=seed), draw(H, 2 * H, seed=seed), draw(H, seed=seed))
    return weights, (draw(B, H, seed=seed), draw(B, H, seed=seed + 1)), draw(T, B, H, seed=seed)


def check(step, seed=0, of=None, masked=True, reverse=False):
    """Value, gradient and directional derivative equal those of `jax.lax.scan`.

    Args:
      of: the indices of the arrays to differentiate with respect to; None for all of them.
    """
    arrays, structure = jax.tree.flatten(arguments(seed))
    chosen = range(len(arrays)) if of is None else of
    mask = jnp.asarray(np.random.default_rng(seed).random((T, B)) < 0.7) if masked else None

    def plain(weights, state, zs):
        def body(state, values):
            z, m = values
            after, y = step(weights, state, z)
            return (after if m is None else select(m, after, state)), y

        return jax.lax.scan(body, state, (zs, mask), reverse=reverse)

    def energy(run, some):
        whole = [*arrays]
        for n, array in zip(chosen, some, strict=True):
            whole[n] = array
        final, ys = run(*jax.tree.unflatten(structure, whole))
        valid = ys if mask is None else jnp.where(mask[..., None], ys, 0)
        return sum((a * draw(*a.shape)).sum() for a in (valid, *final))

    derived = functools.partial(scan_with_derivative, step, mask=mask, reverse=reverse)
    some = [arrays[n] for n in chosen]
    directions = [draw(*a.shape, seed=9) for a in some]

    @jax.jit
    def run(some, directions):
        ours = functools.partial(energy, derived)
        expected = jax.value_and_grad(functools.partial(energy, plain))(some)
        found = jax.value_and_grad(ours)(some)
        return expected, found, jax.jvp(ours, (some,), (directions,))[1]

    (value, gradient), found, slope = run(some, directions)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    jax.tree.map(close, found, (value, gradient))
    assert of is not None or any(g.any() for g in gradient)
    close(slope, sum((g * d).sum() for g, d in zip(gradient, directions, strict=True)))


def bias_of_pieces(p, state, z):
    h, c = state
    f, n = jnp.split(h @ p.wide, 2, -1)
    c = jax.nn.sigmoid(f + p.bias) * c + jnp.tanh(n + z)
    return (jnp.tanh(c), c), h


def product_split_twice(p, state, z):
    h, c = state
    product = h @ p.wide
    f, n = jnp.split(product, 2, -1)
    left, right = jnp.split(product, 2, -1)
    c = jax.nn.sigmoid(f + z) * c + jnp.tanh(n + p.bias) + 0.1 * left * right
    return (jnp.tanh(c), c), c


def product_read_twice_by_another_name(p, state, z):
    h, c = state
    product = h @ p.kernel
    sum_ = product + z
    c = jax.nn.sigmoid(sum_ + p.bias) * c + 0.3 * product
    return (jnp.tanh(c), c), h


def number_of_each_row(p, state, z):
    h, c = state
    c = jnp.tanh((h @ p.kernel[:, :1]) + p.bias) + z * h.mean(-1, keepdims=True)
    return (c, h[:, :1] + p.bias), c


def number_of_each_step(p, state, z):
    h, c = state
    return (jnp.tanh(h.sum() * p.bias + z), h + c.mean() * p.bias), c


def pieces_of_a_bias(p, state, z):
    h, c = state
    row = h.mean(0) + p.bias
    return (jnp.tanh((row[None, 1:2] + h) @ p.kernel), jnp.roll(row + c, 1, -1) * z), h[:, ::-1]


def branch(p, state, z):
    h, c = state
    h = jax.lax.cond(h.sum() > 0, lambda h: jnp.tanh(h @ p.kernel), lambda h: 0.5 * h, h)
    return (jnp.sin(h) * c, h + z), h


def loop(p, state, z):
    """Two steps of Euler's method for a differential equation, as in a liquid network."""
    h, c = state
    h = jax.lax.fori_loop(0, 2, lambda _, h: h + 0.3 * jnp.tanh(h @ p.kernel + p.bias + z), h)
    return (jnp.sin(h) * c, h), h @ p.kernel


def recomputed(p, state, z):
    h, c = state
    h = jax.checkpoint(lambda h: jnp.tanh(h @ p.kernel + z))(h)
    return (jnp.sin(h) * c, h), h @ p.kernel


@jax.custom_jvp
def scaled_tanh(x):
    return jnp.tanh(x) * np.arange(1.0, H + 1)


@scaled_tanh.defjvp
def scaled_tanh_tangent(primals, tangents):
    slope = (1 - jnp.tanh(primals[0]) ** 2) * np.arange(1.0, H + 1)
    return scaled_tanh(*primals), slope * tangents[0]


def rule_with_a_constant(p, state, z):
    h, c = state
    return (scaled_tanh(h @ p.kernel + z), h), c * p.bias


@jax.custom_jvp
def sine(x):
    return jnp.sin(x)


@sine.defjvp
def sine_tangent(primals, tangents):
    def both(x, d):
        return jnp.sin(x), jnp.cos(x) * d

    return jax.lax.cond(primals[0].sum() > 0, both, both, *primals, *tangents)


def rule_with_a_branch(p, state, z):
    h, c = state
    return (sine(h @ p.kernel + z) * c, h), c * p.bias


def embedding_of_its_largest(p, state, z):
    h, c = state
    return (jnp.tanh(p.kernel[jnp.argmax(h, -1)] + z), jnp.sort(h, -1)), c * h


STEPS = [
    bias_of_pieces, product_split_twice, product_read_twice_by_another_name, number_of_each_row,
    number_of_each_step, pieces_of_a_bias, branch, loop, recomputed, rule_with_a_constant,
    rule_with_a_branch, embedding_of_its_largest,
]  # fmt: skip


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_of_all_arrays(step):
    check(step)


def test_a_side_effect_happens_once_at_each_step():
    """For example that of `jax.debug.print`."""
    seen = []

    def step(p, state, z):
        h = jnp.tanh(state[0] @ p.kernel + z)
        jax.debug.callback(lambda *numbers: seen.append(numbers), h[0, 0], p.bias[0])
        return (h, state[1]), h

    def energy(weights, state, zs, run):
        return (run(weights, state, zs)[1] ** 2).sum()

    def by_scan(weights, state, zs):
        return jax.lax.scan(functools.partial(step, weights), state, zs)

    args = arguments()
    derived = functools.partial(scan_with_derivative, step, mask=None)
    expected = jax.grad(functools.partial(energy, run=by_scan))(*args)
    jax.effects_barrier()
    of_scan, seen[:] = [*seen], []
    found = jax.grad(functools.partial(energy, run=derived))(*args)
    jax.effects_barrier()
    assert len(seen) == T
    np.testing.assert_allclose(sorted(seen), sorted(of_scan), rtol=1e-12)
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-9), found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("array", [2, 5], ids=["bias", "zs"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_of_one_array(step, array):
    check(step, of=[array])


def of_pieces(p, some):
    a, b = jnp.split(some() @ p.wide, 2, -1)
    return (a + p.bias) * jnp.tanh(b + some())


def of_slices(p, some):
    product = some() @ p.wide
    return jnp.tanh(product[:, :H] + p.bias) * product[:, H:]


def of_a_product_read_twice(p, some):
    product = some() @ p.kernel
    return (product + p.bias) * jax.nn.sigmoid(product + some())


def of_groups(p, some):
    kernels = p.wide.reshape(2, H, H)[:, :2, :2]
    return jnp.einsum("bgi,gij->bgj", some().reshape(B, 2, 2), kernels).reshape(B, H)


# Each makes an array [B, H] from weights and a function that picks one.
OPERATIONS = [
    of_pieces, of_slices, of_a_product_read_twice, of_groups,
    lambda p, some: some() @ p.kernel,
    lambda p, some: some() @ p.kernel.T + p.bias,
    lambda p, some: (p.kernel @ some().T).T + p.bias,
    lambda p, some: some() @ p.kernel + some() @ p.wide[:, :H] + p.bias,
    lambda p, some: jnp.tanh(some() @ p.kernel + p.bias) * some(),
    lambda p, some: jnp.concatenate([some(), some()], -1) @ p.wide.T,
    lambda p, some: jnp.tanh(some()),
    lambda p, some: jax.nn.sigmoid(some()),
    lambda p, some: jax.nn.relu(some()),
    lambda p, some: jax.nn.softmax(some()),
    lambda p, some: some() * some(),
    lambda p, some: some() + some(),
    lambda p, some: some() - some(),
    lambda p, some: some() / (1.5 + some() ** 2),
    lambda p, some: some() + p.bias,
    lambda p, some: some() * p.bias,
    lambda p, some: jnp.where(some() > 0, some(), some()),
    lambda p, some: jnp.where(some().sum(-1, keepdims=True) > 0, some(), some()),
    lambda p, some: jnp.maximum(some(), 0.3 * some()),
    lambda p, some: jnp.clip(some(), -0.4, 0.4),
    lambda p, some: some() - some().mean(-1, keepdims=True),
    lambda p, some: some().mean(-1, keepdims=True) + p.bias,
    lambda p, some: some().mean(0) + some(),
    lambda p, some: some()[:, :1] * p.bias,
    lambda p, some: some().sum() * p.bias + some(),
    lambda p, some: jnp.tanh(some() @ p.kernel[:, :1] + p.bias),
    lambda p, some: jnp.cumsum(some(), -1),
    lambda p, some: jnp.roll(some(), 1, -1),
    lambda p, some: jnp.sort(some(), -1),
    lambda p, some: p.kernel[jnp.argmax(some(), -1)],
    lambda p, some: some().at[:, 1].add(some()[:, 0]),
    lambda p, some: jnp.einsum("bi,ij,bj->bi", some(), p.kernel, some()),
    lambda p, some: (some() * jnp.exp(1j * some())).real,
    lambda p, some: (some().astype(jnp.complex64) * some()).imag + some(),
    lambda p, some: jax.lax.stop_gradient(some()) * some(),
    lambda p, some: jax.jit(lambda x: jnp.tanh(x @ p.kernel) * x)(some()),
    lambda p, some: jnp.linalg.solve(p.kernel @ p.kernel.T + jnp.eye(H), some().T).T,
]  # fmt: skip


def random_step(seed):
    """A step of 3 to 10 random operations, the same at each call."""

    def step(p, state, z):
        rng = np.random.default_rng(seed)
        values = [*state, z]
        for _ in range(rng.integers(3, 11)):
            operation = OPERATIONS[rng.integers(len(OPERATIONS))]
            values.append(operation(p, lambda: values[rng.integers(len(values))]))
        *_, c, h = values
        return (jnp.tanh(h), jnp.tanh(c + values[rng.integers(len(values))])), h + 0.5 * state[0]

    return step


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(30))
def test_of_random_operations(seed):
    rng = np.random.default_rng(seed)
    of = np.flatnonzero(rng.random(6) < rng.choice([0.3, 1.0]))
    check(
        random_step(seed), seed, [*of] or [int(rng.integers(6))],
        masked=bool(rng.integers(2)), reverse=bool(rng.integers(2)),
    )  # fmt: skip
