"""The xLSTM cells against plain NumPy without a stabiliser, and far outside of its range."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import MLSTM, SLSTM, Dropout, Reset, Zoneout, testing, unroll
from seqjax.wrappers import ResetInputs
from tests.cells.plain import check
from tests.oracle import sigmoid


def slstm(cell):
    def step(p, state, x):
        h = np.split(state.h, cell.heads)
        columns = np.split(p.recurrent_kernel, 4 * cell.heads, axis=1)  # each head's, gate by gate
        recurrent = np.concatenate([h[n % cell.heads] @ c for n, c in enumerate(columns)])
        i, f, z, o = np.split(x @ p.input_kernel + recurrent + p.bias, 4)
        log_f = f if cell.exponential_forget else np.log(sigmoid(f))
        # equations 8 to 14, unstabilised, from the unscaled state
        c = np.exp(log_f) * state.c * np.exp(state.m) + np.exp(i) * np.tanh(z)
        n = np.exp(log_f) * state.n * np.exp(state.m) + np.exp(i)
        h = sigmoid(o) * c / n
        m = np.where((log_f + state.m).real > i.real, log_f + state.m, i)
        return [c * np.exp(-m), n * np.exp(-m), m, h], h

    return step


def mlstm(cell):
    def step(p, state, x):
        d = cell.units // cell.heads
        w = np.split(p.input_kernel, 4, axis=1)
        b = np.split(p.bias, 4)
        q, k, v = x @ w[0] + b[0], x @ w[1] / np.sqrt(d) + b[1], x @ w[2] + b[2]
        o = sigmoid(x @ w[3] + b[3])
        i, f = np.split(x @ p.gate_kernel + p.gate_bias, 2)
        log_f = f if cell.exponential_forget else np.log(sigmoid(f))
        cs, ns, ms, ys = [], [], [], []
        for head in range(cell.heads):
            at = slice(head * d, (head + 1) * d)
            scale = np.exp(state.m[head])
            forget, write = np.exp(log_f[head]), np.exp(i[head])
            c = forget * scale * state.c[head] + write * np.outer(v[at], k[at])
            n = forget * scale * state.n[head] + write * k[at]
            size = n @ q[at]
            size = size if size.real > 0 else -size
            ys.append(o[at] * (c @ q[at]) / (size if size.real > 1 else 1))
            kept = log_f[head] + state.m[head]
            m = kept if kept.real > i[head].real else i[head]
            cs.append(c * np.exp(-m))
            ns.append(n * np.exp(-m))
            ms.append(m)
        return [np.stack(cs), np.stack(ns), np.stack(ms)], np.concatenate(ys)

    return step


OPTIONS = [{}, {"heads": 2}, {"exponential_forget": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_scalar_memory_equals_a_plain_loop(options):
    cell = SLSTM(4, **options)
    check(cell, slstm(cell), state=lambda s: s._replace(n=np.abs(s.n) + 0.5))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_matrix_memory_equals_a_plain_loop(options):
    cell = MLSTM(4, **options)
    check(cell, mlstm(cell))


@pytest.mark.parametrize(
    ("chunk_size", "reverse"), [(3, True), pytest.param(64, False, marks=pytest.mark.slow)]
)
def test_chunks_equal_steps_with_a_mask_resets_and_a_carried_state(chunk_size, reverse):
    T = 7  # two chunks of 3, and one of the last step
    cell = Reset(MLSTM(4, heads=2, chunk_size=chunk_size))
    params = testing.randomise(cell.init(jax.random.key(0), 3, jnp.float64), 1)
    state = testing.randomise(cell.initial_state((3,), jnp.float64), 2)
    xs = jax.random.normal(jax.random.key(3), (3, T, 3), jnp.float64)
    starts = jax.random.bernoulli(jax.random.key(4), 0.3, (3, T))
    mask = jax.random.bernoulli(jax.random.key(5), 0.7, (3, T)).at[2].set(False)

    def value(params, state, xs, method):
        out = unroll(
            cell, params, ResetInputs(starts, xs), mask=mask, initial_state=state,
            reverse=reverse, method=method,
        )  # fmt: skip
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(out)), out

    @functools.partial(jax.jit, static_argnums=0)
    def everything(method):
        args = params, state, xs
        run = functools.partial(value, method=method)
        reverse_mode = jax.value_and_grad(run, (0, 1, 2), has_aux=True)(*args)
        return reverse_mode, jax.jvp(run, args, jax.tree.map(jnp.ones_like, args))[1]

    testing.close(everything("auto"), everything("scan"), 1e-10)


@pytest.mark.slow
def test_chunks_of_float32_are_as_accurate_as_steps():
    cell = MLSTM(32, heads=2)
    params = cell.init(jax.random.key(0), 8, jnp.float64)
    xs = 3 * jax.random.normal(jax.random.key(1), (2, 300, 8), jnp.float64)
    exact = unroll(cell, params, xs, method="scan")
    low = jax.tree.map(lambda a: a.astype(jnp.float32), (params, xs))

    def errors(method):
        final, _ = unroll(cell, *low, method=method)  # the quotient of the outputs has poles
        pairs = zip(final, exact[0], strict=True)
        return np.array([np.abs(np.asarray(a) - np.asarray(e)).max() for a, e in pairs])

    assert (errors("auto") < 3 * errors("scan") + 1e-6).all()


def test_from_the_zero_state_a_scalar_memory_starts_with_its_first_input():
    cell = SLSTM(4)
    check(cell, slstm(cell), state=lambda s: jax.tree.map(np.zeros_like, s))


@pytest.mark.parametrize("cls", [SLSTM, pytest.param(MLSTM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("i", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("f", [-300.0, 0.0, 300.0])
@pytest.mark.parametrize("x", [0.0, pytest.param(1.0, marks=pytest.mark.slow)])
def test_extreme_gates_give_the_float64_numbers_and_finite_gradients(cls, i, f, x):
    cell = cls(2)
    params = cell.init(jax.random.key(0), 2, jnp.float64)
    if cls is SLSTM:
        params = params._replace(bias=jnp.array([i, i, f, f, 0.3, 0.4, 0.0, 0.0]))
    else:
        params = params._replace(gate_bias=jnp.array([i, f]))
    xs = jnp.full((1, 6, 2), x)

    def run(params, xs):
        return unroll(cell, params, xs)[1].sum()

    low = jax.tree.map(lambda a: a.astype(jnp.float32), params)
    value, grads = jax.value_and_grad(run)(low, xs.astype(jnp.float32))
    np.testing.assert_allclose(value, run(params, xs), rtol=1e-4, atol=1e-6)
    assert all(jnp.isfinite(grad).all() for grad in grads)


def test_the_first_output_does_not_depend_on_how_small_its_input_gate_is():
    cell = SLSTM(2)
    params = cell.init(jax.random.key(0), 2)
    xs = jnp.ones((1, 1, 2), jnp.float32)
    outputs = [
        unroll(cell, params._replace(bias=params.bias.at[:2].set(i)), xs)[1] for i in (0.0, -500.0)
    ]
    np.testing.assert_allclose(*outputs, rtol=1e-6)
    assert outputs[0].all()


@pytest.mark.parametrize("cls", [SLSTM, MLSTM])
def test_bad_options_say_how_to_mend_them(cls):
    name = cls.__name__
    with pytest.raises(ValueError, match=f"{name}: units must be a whole number"):
        cls(0)
    with pytest.raises(ValueError, match=f"{name}: heads must be a whole number"):
        cls(4, heads=0)
    with pytest.raises(ValueError, match=r"heads must divide units.*heads=3; give units=6"):
        cls(4, heads=3)


def test_a_chunk_has_at_least_one_step():
    with pytest.raises(ValueError, match="MLSTM: chunk_size must be a whole number of at least 1"):
        MLSTM(4, chunk_size=0)


@pytest.mark.parametrize("wrap", [lambda c: Dropout(c, state_rate=0.2), lambda c: Zoneout(c, 0.5)])
def test_noise_on_the_state_spares_what_belongs_together(wrap):
    """An output is a gate times a mean of values in [-1, 1], whose weights share one scale."""
    cell = wrap(SLSTM(8))
    xs = 3 * jax.random.normal(jax.random.key(0), (4, 50, 8), jnp.float32)
    _, ys = unroll(cell, cell.init(jax.random.key(1), 8), xs, key=jax.random.key(2))
    assert jnp.abs(ys).max() <= 1
