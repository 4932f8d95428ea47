"""cuDNN's LSTM: all around the kernel on any machine, the kernel where there is a GPU for it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from seqjax import GRU, LSTM, Dropout, LanguageModel, Stack, unroll
from seqjax.devices import data_mesh

B, T, D, H = 3, 6, 2, 4
MASKS = {
    "all": {},
    "lengths": {"lengths": jnp.array([6, 0, 3])},
    "holes": {"mask": jnp.array([[0, 1, 1, 0, 1, 0], [1, 0, 0, 0, 0, 1], [0] * 6], bool)},
}
QUICK = {("holes", True)}
on_gpu = pytest.mark.skipif(jax.default_backend() != "gpu", reason="needs an NVIDIA GPU")


@pytest.fixture
def reference(monkeypatch):
    """In place of the kernel what JAX describes it by, given the same arguments."""

    def lstm(x, h, c, weights, lengths, *sizes):
        D, H, layers, dropout, bidirectional = sizes
        parts = rnn.unpack_lstm_weights(weights, D, H, layers, bidirectional)
        assert sum(a.size for part in parts for a in part.values()) == weights.size
        return rnn.lstm_ref(x, h, c, *parts, lengths, D, H, layers, dropout, bidirectional)

    monkeypatch.setattr(rnn, "lstm", lstm)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    yield
    jax.clear_caches()  # of programs that hold the reference


def check(cell, xs, tolerance, **options):
    """Value and gradient by cuDNN beside those by scan."""
    params = cell.init(jax.random.key(0), D)
    params = jax.tree.map(lambda a: a + 0.1, params)  # no bias is 0
    drawn = cell.initial_state((B,))
    drawn = jax.tree.map(lambda s: jax.random.normal(jax.random.key(1), s.shape, s.dtype), drawn)

    def loss(params, state, xs, method):
        final, ys = unroll(cell, params, xs, initial_state=state, method=method, **options)
        return (ys**2).sum() + sum(leaf.sum() for leaf in jax.tree.leaves(final)), (final, ys)

    over = (0, 1) if jnp.issubdtype(xs.dtype, jnp.integer) else (0, 1, 2)
    of = jax.grad(loss, argnums=over, has_aux=True)
    by = [jax.device_get(of(params, drawn, xs, method)) for method in ("cudnn", "scan")]
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance), *by)


def features():
    return jax.random.normal(jax.random.key(2), (B, T, D), jnp.float32)


@pytest.mark.parametrize(
    ("masked", "reverse"),
    [
        pytest.param(masked, reverse, marks=[pytest.mark.slow] * ((masked, reverse) not in QUICK))
        for masked in MASKS
        for reverse in (False, True)
    ],
)
def test_arguments_and_results_mean_what_those_of_scan_mean(reference, masked, reverse):
    check(Stack([LSTM(H), LSTM(H + 1)]), features(), 1e-5, reverse=reverse, **MASKS[masked])


@pytest.mark.slow
def test_layers_within_wrappers_and_tokens(reference):
    model = LanguageModel(Stack([Dropout(LSTM(H), 0.0, 0.0, 0.5), LSTM(H)]), D)
    tokens = jnp.array([[0, 1, 1, 0, 0, 1]] * B)
    check(model, tokens, 1e-5, key=jax.random.key(3), remat=4)


def test_each_device_runs_the_kernel_on_its_own_rows(reference, monkeypatch):
    cell, xs = LSTM(H), jnp.concatenate([features(), features()[:1]])
    params = cell.init(jax.random.key(0), D)
    rows = []
    kernel = rnn.lstm
    monkeypatch.setattr(rnn, "lstm", lambda x, *rest: rows.append(x.shape[0]) or kernel(x, *rest))

    @functools.partial(jax.jit, static_argnums=1)
    def gradient(params, method):
        def loss(params):
            lengths = jnp.array([6, 0, 3, 2])
            return (unroll(cell, params, xs, lengths=lengths, method=method)[1] ** 2).sum()

        return jax.value_and_grad(loss)(params)

    with jax.set_mesh(data_mesh(4)):
        split = jax.device_get(gradient(params, "cudnn"))
        equations = str(jax.make_jaxpr(gradient, static_argnums=1)(params, "cudnn"))
    assert {*rows} == {2}
    # the kernel does not say that what it saves differs between devices
    assert "check_vma=False" in equations
    whole = jax.device_get(gradient(params, "scan"))
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), split, whole)


@on_gpu
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("masked", MASKS)
def test_the_kernel_gives_the_numbers_of_scan(masked, reverse):
    with jax.default_matmul_precision("highest"):
        check(Stack([LSTM(H), LSTM(H + 1)]), features(), 1e-5, reverse=reverse, **MASKS[masked])


@pytest.mark.parametrize(
    ("cell", "dtype", "message"),
    [
        (LSTM(H, peepholes=True), jnp.float32, "needs an LSTM without options, got LSTM"),
        (GRU(H), jnp.float32, r"got GRU\(4\)"),
        (Dropout(LSTM(H), state_rate=0.5), jnp.float32, "got Dropout"),
        (LSTM(H), jnp.bfloat16, "needs float32, got bfloat16"),
        pytest.param(
            LSTM(H), jnp.float32, "needs an NVIDIA GPU, but JAX runs on cpu; use 'auto'",
            marks=pytest.mark.skipif(jax.default_backend() != "cpu", reason="needs none"),
        ),
    ],
)  # fmt: skip
def test_what_cudnn_cannot_run_is_a_clear_error(cell, dtype, message):
    params = cell.init(jax.random.key(0), D, dtype)
    with pytest.raises(ValueError, match=message):
        unroll(cell, params, features(), key=jax.random.key(3), method="cudnn")
