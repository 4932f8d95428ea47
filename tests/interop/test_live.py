"""The frameworks themselves, where they are installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, BasicRNN, Bidirectional, Stack, unroll
from seqjax.interop import flax_nnx, keras, pytorch

B, T, D, H = 3, 5, 2, 4
# the frameworks' own warnings are no concern of ours
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
XS = np.random.default_rng(0).normal(size=(B, T, D)).astype(np.float32)


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(
    ("name", "cell"), [("RNN", BasicRNN(H)), ("LSTM", LSTM(H)), ("GRU", GRU(H, reset_after=True))]
)
def test_pytorch(name, cell, bidirectional):
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, name)(
        D, H, num_layers=2, batch_first=True, bidirectional=bidirectional
    )
    expected = module(torch.tensor(XS))[0].detach().numpy()
    weights = {key: value.detach().numpy() for key, value in module.state_dict().items()}
    params = getattr(pytorch, f"from_{name.lower()}")(weights)
    layer = Bidirectional(cell, cell) if bidirectional else cell
    _, ys = unroll(Stack([layer] * 2), params, XS)
    close(ys, expected)
    back = getattr(pytorch, f"to_{name.lower()}")(params)
    module.load_state_dict({key: torch.tensor(np.asarray(value)) for key, value in back.items()})
    close(module(torch.tensor(XS))[0].detach().numpy(), expected)


@pytest.mark.parametrize(
    ("name", "function", "options", "cell"),
    [
        ("SimpleRNN", "simple_rnn", {}, BasicRNN(H)),
        ("LSTM", "lstm", {}, LSTM(H)),
        ("GRU", "gru", {}, GRU(H, reset_after=True)),
        ("GRU", "gru", {"reset_after": False}, GRU(H)),
    ],
)
def test_keras(name, function, options, cell):
    layers = pytest.importorskip("keras").layers
    layer = getattr(layers, name)(H, return_sequences=True, **options)

    def run():
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            return np.asarray(layer(XS))

    expected = run()
    params = getattr(keras, f"from_{function}")(*layer.get_weights(), **options)
    close(unroll(cell, params, XS)[1], expected)
    moved = jax.tree.map(jnp.sin, params)
    layer.set_weights(getattr(keras, f"to_{function}")(moved))
    close(run(), unroll(cell, moved, XS)[1])


@pytest.mark.parametrize(
    ("name", "function", "cell"),
    [
        ("SimpleCell", "simple", BasicRNN(H)),
        ("LSTMCell", "lstm", LSTM(H)),
        ("OptimizedLSTMCell", "optimized_lstm", LSTM(H)),
        ("GRUCell", "gru", GRU(H, reset_after=True)),
    ],
)
def test_flax_nnx(name, function, cell):
    nnx = pytest.importorskip("flax.nnx")
    dtypes = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    module = getattr(nnx, name)(D, H, **dtypes, rngs=nnx.Rngs(0))
    rnn = nnx.RNN(module, rngs=nnx.Rngs(0))
    xs = XS.astype(np.float64)
    nnx.update(module, jax.tree.map(lambda a: a + 0.1, nnx.state(module)))  # no bias at zero
    read, write = (getattr(flax_nnx, f"{way}_{function}") for way in ("from", "to"))

    def compare(params):
        actual, expected = unroll(cell, params, xs)[1], rnn(xs)
        assert expected.dtype == jnp.float64
        np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-10)

    params = read(module)
    compare(params)
    for given in (nnx.state(module), nnx.to_pure_dict(nnx.state(module))):
        jax.tree.map(np.testing.assert_array_equal, read(given), params)
    moved = jax.tree.map(jnp.sin, params)
    nnx.update(module, write(moved))
    compare(moved)


def test_flax_nnx_inside_of_a_transformation():
    nnx = pytest.importorskip("flax.nnx")
    params = GRU(H, reset_after=True).init(jax.random.key(0), D)
    tree = jax.jit(flax_nnx.to_gru)(params)
    jax.tree.map(np.testing.assert_array_equal, flax_nnx.from_gru(tree), params)
    module = nnx.SimpleCell(D, H, residual=True, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="BasicRNN has no residual connection"):
        flax_nnx.from_simple(module)
