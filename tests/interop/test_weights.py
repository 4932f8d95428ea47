"""There and back is the identity, wherever a framework can express the parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GLSTM,
    GRU,
    LSTM,
    BasicRNN,
    CoupledInputForgetGateLSTM,
    Directions,
    IndRNN,
    IndyGRU,
    IndyLSTM,
    LayerNorm,
)
from seqjax.interop import flax_linen, flax_nnx, keras, pytorch, tensorflow

D, H = 3, 2


def draw(cell, seed=0, input_size=D):
    params = cell.init(jax.random.key(0), input_size, jnp.float64)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), params)


def equal(actual, expected):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-15, atol=1e-15)
    jax.tree.map(compare, actual, expected)


PEEPHOLE_LSTM = draw(LSTM(H, peepholes=True, projection_size=3))
RNN, LSTM_, GRU_BEFORE = draw(BasicRNN(H)), draw(LSTM(H)), draw(GRU(H))
GRU_AFTER = draw(GRU(H, reset_after=True))
GRU_NNX = GRU_AFTER._replace(candidate_bias=jnp.zeros(H))


def layers(cell):
    return draw(cell, 1), draw(cell, 2, H)


def both(cell):
    directions = [
        Directions(draw(cell, n, size), draw(cell, n + 9, size)) for n, size in ((1, D), (2, 2 * H))
    ]
    return tuple(directions)


@pytest.mark.parametrize(
    ("there", "back", "params"),
    [
        (tensorflow.to_basic_rnn, tensorflow.from_basic_rnn, RNN),
        (tensorflow.to_lstm, tensorflow.from_lstm, LSTM_),
        (
            functools.partial(tensorflow.to_lstm, forget_bias=0.0),
            functools.partial(tensorflow.from_lstm, forget_bias=0.0),
            LSTM_,
        ),
        (tensorflow.to_lstm, tensorflow.from_lstm, PEEPHOLE_LSTM),
        (tensorflow.to_lstm, tensorflow.from_lstm, draw(LSTM(H, peepholes=True))),
        (tensorflow.to_lstm, tensorflow.from_lstm, draw(LSTM(H, projection_size=1))),
        (tensorflow.to_gru, tensorflow.from_gru, GRU_BEFORE),
        (keras.to_simple_rnn, lambda w: keras.from_simple_rnn(*w), RNN),
        (keras.to_lstm, lambda w: keras.from_lstm(*w), LSTM_),
        (keras.to_gru, lambda w: keras.from_gru(*w), GRU_AFTER),
        (keras.to_gru, lambda w: keras.from_gru(*w, reset_after=False), GRU_BEFORE),
        (pytorch.to_rnn, pytorch.from_rnn, layers(BasicRNN(H))),
        (pytorch.to_lstm, pytorch.from_lstm, layers(LSTM(H))),
        (pytorch.to_lstm, pytorch.from_lstm, (draw(LSTM(H, projection_size=1)),)),
        (pytorch.to_gru, pytorch.from_gru, layers(GRU(H, reset_after=True))),
        (pytorch.to_rnn, pytorch.from_rnn, both(BasicRNN(H))),
        (pytorch.to_lstm, pytorch.from_lstm, both(LSTM(H))),
        (pytorch.to_gru, pytorch.from_gru, both(GRU(H, reset_after=True))),
        (flax_linen.to_simple, flax_linen.from_simple, RNN),
        (flax_linen.to_lstm, flax_linen.from_lstm, LSTM_),
        (flax_linen.to_gru, flax_linen.from_gru, GRU_AFTER),
        (flax_nnx.to_simple, flax_nnx.from_simple, RNN),
        (flax_nnx.to_lstm, flax_nnx.from_lstm, LSTM_),
        (flax_nnx.to_optimized_lstm, flax_nnx.from_optimized_lstm, LSTM_),
        (flax_nnx.to_gru, flax_nnx.from_gru, GRU_NNX),
    ],
)
def test_there_and_back_is_the_identity(there, back, params):
    equal(back(there(params)), params)
    as_numpy = jax.tree.map(np.asarray, there(params))
    equal(back(as_numpy), params)


def test_tensorflow_back_and_there_is_the_identity_too():
    kernel = jax.random.normal(jax.random.key(0), (D + H, 4 * H), jnp.float64)
    weights = {"kernel": kernel, "bias": kernel[0]}
    equal(tensorflow.to_lstm(tensorflow.from_lstm(weights)), weights)


def test_the_names_of_a_state_dict():
    assert {*pytorch.to_lstm(both(LSTM(H)))} == {
        f"{name}_l{layer}{suffix}"
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        for layer in (0, 1)
        for suffix in ("", "_reverse")
    }


def zeros(*shapes):
    return [jnp.zeros(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: tensorflow.from_lstm({"kernel": jnp.zeros((5, 8)), "bias": jnp.zeros(4)}),
            r"LSTMCell: bias must have shape \(8,\) beside the other weights, got \(4,\)",
        ),
        (
            lambda: tensorflow.from_lstm({"kernel": jnp.zeros((5, 7)), "bias": jnp.zeros(7)}),
            r"LSTMCell: kernel must have shape \(5, 4\)",
        ),
        (
            lambda: tensorflow.from_basic_rnn({"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}),
            r"a kernel for 2 units must have more than 2 rows, .* got \(2, 2\)",
        ),
        (
            lambda: tensorflow.from_gru(
                tensorflow.to_gru(GRU_BEFORE) | {"gates/kernel": jnp.zeros((6, 4))}
            ),
            r"GRUCell: gates/kernel must have shape \(5, 4\)",
        ),
        (
            lambda: tensorflow.from_gru(tensorflow.to_lstm(LSTM_)),
            "GRUCell: expected the variables gates/kernel, gates/bias, .* got kernel, bias",
        ),
        (lambda: tensorflow.to_gru(GRU_AFTER), "TensorFlow's GRUCell resets before"),
        (lambda: keras.from_lstm(*zeros((3, 8), (3, 8))), r"LSTM: kernel must have shape \(3, 12"),
        (
            lambda: keras.from_gru(*zeros((3, 6), (2, 6), (6,))),
            r"GRU with reset_after=True: bias must have shape \(2, 6\)",
        ),
        (
            lambda: keras.from_gru(*zeros((3, 6), (2, 6), (2, 6)), reset_after=False),
            r"GRU with reset_after=False: bias must have shape \(6,\)",
        ),
        (lambda: pytorch.from_lstm({}), r"nn.LSTM: expected the names weight_ih_l0, .*got nothing"),
        (
            lambda: pytorch.from_lstm({"rnn.weight_ih_l0": jnp.zeros((8, 3))}),
            "got rnn.weight_ih_l0",
        ),
        (
            lambda: pytorch.from_gru(pytorch.to_lstm(layers(LSTM(H)))),
            r"nn.GRU: weight_ih_l0 must have shape \(6, 3\)",
        ),
        (lambda: pytorch.to_gru([GRU_BEFORE]), "PyTorch's GRU resets after the product"),
        (lambda: keras.to_lstm(PEEPHOLE_LSTM), "LSTM: has no peepholes and no projection_kernel"),
        (lambda: flax_linen.to_lstm(PEEPHOLE_LSTM), "LSTMCell: has no peepholes and no projecti"),
        (lambda: pytorch.to_lstm([PEEPHOLE_LSTM]), "nn.LSTM: has no peepholes, which these"),
        (
            lambda: tensorflow.to_lstm(draw(LSTM(H, layer_norm=LayerNorm()))),
            "LSTMCell: has no norm, which",
        ),
        (lambda: flax_linen.to_gru(GRU_BEFORE), "Flax's GRUCell resets after the product"),
        (
            lambda: flax_linen.from_lstm({"params": flax_linen.to_lstm(LSTM_)}),
            r"LSTMCell: expected the arrays ii/kernel, if/kernel, .* got params/ii/kernel, .*"
            r'Give the tree of the cell alone: variables\["params"\]',
        ),
        (
            lambda: flax_linen.from_simple(flax_linen.to_simple(RNN) | {"h": {}}),
            "SimpleCell: expected the arrays i/kernel, h/kernel, i/bias, got i/kernel, i/bias",
        ),
        (
            lambda: flax_linen.from_lstm(flax_linen.to_lstm(LSTM_) | flax_linen.to_gru(GRU_AFTER)),
            "LSTMCell: expected the arrays .* got .*, hz/kernel",
        ),
        (
            lambda: flax_linen.from_gru(
                flax_linen.to_gru(GRU_AFTER) | {"hz": {"kernel": jnp.zeros((2, 3))}}
            ),
            r"GRUCell: hz/kernel must have shape \(2, 2\) beside the other weights, got \(2, 3\)",
        ),
        (
            lambda: flax_linen.from_simple([RNN.input_kernel]),
            "SimpleCell: expected a mapping with the arrays i/kernel, .*, got a list. Give",
        ),
        (
            lambda: flax_linen.from_simple(
                flax_linen.to_simple(RNN) | {"h": {"kernel": jnp.zeros(2)}}
            ),
            r"SimpleCell: h/kernel must have 2 axes, got shape \(2,\)",
        ),
        (
            lambda: flax_linen.from_simple(flax_linen.to_simple(RNN) | {"h": {"kernel": None}}),
            "SimpleCell: h/kernel must be an array, got a NoneType",
        ),
        (lambda: flax_linen.to_lstm(GRU_BEFORE), "LSTMCell: params must be LSTMParams, got a GRUP"),
        (
            lambda: flax_nnx.from_optimized_lstm({"params": flax_nnx.to_optimized_lstm(LSTM_)}),
            "OptimizedLSTMCell: expected the arrays dense_i/kernel, dense_h/kernel, dense_h/bias, "
            "got params/dense_i/kernel, .* Give the recurrent cell itself",
        ),
        (
            lambda: flax_nnx.from_lstm(flax_nnx.to_optimized_lstm(LSTM_)),
            "LSTMCell: expected the arrays ii/kernel, if_/kernel, .*, got dense_i/kernel",
        ),
        (
            lambda: flax_nnx.from_gru(flax_nnx.to_optimized_lstm(LSTM_)),
            "GRUCell: expected the arrays dense_i/kernel, dense_h/kernel, dense_i/bias",
        ),
        (
            lambda: flax_nnx.from_gru(
                flax_nnx.to_gru(GRU_NNX) | {"dense_h": {"kernel": jnp.zeros((3, 6))}}
            ),
            r"GRUCell: dense_h/kernel must have shape \(2, 6\)",
        ),
        (
            lambda: flax_nnx.from_simple(None),
            "SimpleCell: expected a mapping with .*, got a NoneType. Give the recurrent cell",
        ),
        (lambda: flax_nnx.to_gru(GRU_BEFORE), "Flax's GRUCell resets after the product"),
        (
            lambda: flax_nnx.to_gru(GRU_AFTER),
            "GRUCell: flax.nnx has no bias inside the reset gate, .* candidate_bias that is not 0",
        ),
        (lambda: flax_nnx.to_optimized_lstm(PEEPHOLE_LSTM), "OptimizedLSTMCell: has no peepholes"),
    ],
)
def test_what_does_not_fit_is_a_clear_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("framework", [tensorflow, keras, flax_linen, flax_nnx, pytorch])
def test_variants_of_a_cell_are_not_given_out_as_the_cell(framework):
    def give(write, cell):
        params = draw(cell, input_size=4)
        return write([params] if framework is pytorch else params)

    for cell in (CoupledInputForgetGateLSTM(4), GLSTM(4, groups=2), IndyLSTM(4)):
        with pytest.raises(ValueError, match="must have shape"):
            give(framework.to_lstm, cell)
    with pytest.raises(ValueError, match="must have shape"):
        give(framework.to_gru, IndyGRU(4, reset_after=framework is not tensorflow))
    names = {tensorflow: "to_basic_rnn", keras: "to_simple_rnn", pytorch: "to_rnn"}
    write = getattr(framework, names.get(framework, "to_simple"))
    with pytest.raises(ValueError, match="must have shape"):
        give(write, IndRNN(4))


@pytest.mark.parametrize("layers", [LSTM_, Directions(LSTM_, LSTM_)])
def test_pytorch_takes_a_list_of_layers(layers):
    with pytest.raises(ValueError, match="layers must be a list of the parameters of each layer"):
        pytorch.to_lstm(layers)
