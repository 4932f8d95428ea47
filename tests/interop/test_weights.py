"""There and back is the identity, wherever a framework can express the parameters."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import (
    CFN,
    GLSTM,
    GRU,
    LSTM,
    NAS,
    SLSTM,
    SRU,
    UGRNN,
    AttentionCell,
    BasicRNN,
    BidirectionalGridLSTM,
    ConvLSTM,
    CoupledInputForgetGateLSTM,
    GridLSTM,
    GridRNN,
    Highway,
    IndRNN,
    IndyGRU,
    IndyLSTM,
    InputProjection,
    IntersectionRNN,
    MinimalRNN,
    OutputProjection,
    PhasedLSTM,
    Stack,
    TimeFreqLSTM,
    WeightNorm,
    unroll,
)
from seqjax.cells import LayerNorm
from seqjax.interop import flax_linen, flax_nnx, keras, pytorch, tensorflow
from seqjax.wrappers import Directions

D, H = 3, 2


def draw(cell, seed=0, input_size=D):
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size, jnp.float64))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape)), shapes)


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


NORM = {"layer_norm": LayerNorm()}
ALL = {"peepholes": True, "projection_size": 3}
SPECTRUM = {"frequencies": 8, "window": 3, "stride": 2}
BLOCKS = {"blocks": [(0, 4), (3, 8)], "peepholes": True}
PROJECTED = InputProjection(IntersectionRNN(H), H)


def size_of(cell):
    """The input width of a cell that accepts no other, else D."""
    if isinstance(cell, ConvLSTM):
        return cell.input_shape
    frequencies = dict.fromkeys((TimeFreqLSTM, GridLSTM, BidirectionalGridLSTM), 8)
    return ({IntersectionRNN: H, GLSTM: 6} | frequencies).get(type(cell), D)


@pytest.mark.slow
@pytest.mark.parametrize("forget_bias", [{}, {"forget_bias": 0.3}])
@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("coupled_input_forget_gate_lstm", CoupledInputForgetGateLSTM(H)),
        ("coupled_input_forget_gate_lstm", CoupledInputForgetGateLSTM(H, **ALL, **NORM)),
        ("layer_norm_lstm", LSTM(H)),
        ("layer_norm_lstm", LSTM(H, **ALL, **NORM)),
        ("layer_norm_basic_lstm", LSTM(H)),
        ("layer_norm_basic_lstm", LSTM(H, **NORM)),
        ("weight_norm_lstm", WeightNorm(LSTM(H))),
        ("weight_norm_lstm", WeightNorm(LSTM(H, **ALL))),
        ("indy_lstm", IndyLSTM(H)),
        ("glstm", GLSTM(4, groups=2)),
        ("glstm", GLSTM(4, groups=2, projection_size=6)),
        ("conv_lstm", ConvLSTM((5, 2), 3, (3,))),
        ("conv_lstm", ConvLSTM((4, 4, 2), 3, (3, 2), use_bias=False)),
        ("conv_lstm", ConvLSTM((4, 4, 4, 1), 2, (1, 2, 3))),
        ("time_freq_lstm", TimeFreqLSTM(LSTM(H), **SPECTRUM)),
        ("time_freq_lstm", TimeFreqLSTM(LSTM(H, peepholes=True), **SPECTRUM)),
        ("grid_lstm", GridLSTM(H, **SPECTRUM)),
        ("grid_lstm", GridLSTM(H, **SPECTRUM, **BLOCKS)),
        ("grid_lstm", GridLSTM(H, **SPECTRUM, **BLOCKS, shared=True)),
        ("bidirectional_grid_lstm", BidirectionalGridLSTM(GridLSTM(H, **SPECTRUM, **BLOCKS))),
        ("ugrnn", UGRNN(H)),
        ("intersection_rnn", IntersectionRNN(H)),
    ],
)
def test_there_and_back_with_a_forget_bias_is_the_identity(name, cell, forget_bias):
    params = draw(cell, input_size=size_of(cell))
    write, read = (getattr(tensorflow, f"{way}_{name}") for way in ("to", "from"))
    variables = write(params, **forget_bias)
    equal(read(variables, **forget_bias), params)
    equal(read(jax.tree.map(np.asarray, variables), **forget_bias), params)
    equal(write(read(variables, **forget_bias), **forget_bias), variables)


@pytest.mark.parametrize("shared", [False, True])
def test_there_and_back_of_coupled_grids_is_the_identity(shared):
    for cell in (
        GridLSTM(H, **SPECTRUM, coupled=True, shared=shared),
        BidirectionalGridLSTM(GridLSTM(H, **SPECTRUM, **BLOCKS, coupled=True, shared=shared)),
    ):
        params = draw(cell, input_size=8)
        name = "grid_lstm" if isinstance(cell, GridLSTM) else "bidirectional_grid_lstm"
        variables = getattr(tensorflow, f"to_{name}")(params)
        assert not any("W_F" in key for key in variables)
        equal(getattr(tensorflow, f"from_{name}")(variables, coupled=True), params)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("nas", NAS(H)),
        ("nas", NAS(H, projection_size=3, use_bias=True)),
        ("sru", SRU(H)),
        ("ind_rnn", IndRNN(H)),
        ("indy_gru", IndyGRU(H)),
        ("minimal_rnn", MinimalRNN(H)),
        ("cfn", CFN(H)),
        ("phased_lstm", PhasedLSTM(H)),
        ("phased_lstm", PhasedLSTM(H, peepholes=True)),
    ],
)
def test_there_and_back_of_contributed_cells_is_the_identity(name, cell):
    params = draw(cell)
    write, read = (getattr(tensorflow, f"{way}_{name}") for way in ("to", "from"))
    equal(read(write(params)), params)
    equal(read(jax.tree.map(np.asarray, write(params))), params)


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("highway", Highway(GRU(D))),
        ("highway", Highway(GRU(D), coupled=False)),
        ("projection", InputProjection(GRU(H), 4)),
        ("projection", OutputProjection(GRU(H), 4)),
        ("attention_cell", AttentionCell(GRU(H), 3)),
        ("attention_cell", AttentionCell(GRU(H), 3, size=4, vector_size=5, inner_input_size=6)),
    ],
)
def test_there_and_back_of_wrappers_is_the_identity(name, cell):
    params = draw(cell)
    own, inner = getattr(tensorflow, f"to_{name}")(params)
    named = own | tensorflow.join_scope("gru_cell", tensorflow.to_gru(inner))
    inner, own = tensorflow.split_scope(named, "gru_cell")
    equal(getattr(tensorflow, f"from_{name}")(own, tensorflow.from_gru(inner)), params)


def test_there_and_back_of_several_cells_is_the_identity():
    params = draw(Stack([LSTM(H), Highway(GRU(H))]))

    def read_highway(variables):
        inner, own = tensorflow.split_scope(variables, "gru_cell")
        return tensorflow.from_highway(own, tensorflow.from_gru(inner))

    def write_highway(params):
        own, inner = tensorflow.to_highway(params)
        return own | tensorflow.join_scope("gru_cell", tensorflow.to_gru(inner))

    cells = [("basic_lstm_cell", tensorflow.to_lstm), ("", write_highway)]
    variables = tensorflow.to_multi_rnn(params, cells)
    assert {"cell_0/basic_lstm_cell/kernel", "cell_1/carry_w", "cell_1/gru_cell/gates/bias"} < {
        *variables
    }
    cells = [("basic_lstm_cell", tensorflow.from_lstm), ("", read_highway)]
    equal(tensorflow.from_multi_rnn(variables, cells), params)


@pytest.mark.parametrize(
    ("grid", "scope", "name"),
    [
        (GridRNN(LSTM(H, peepholes=True), 3, inputs=(0, 2)), "lstm_cell", "lstm"),
        (GridRNN(LSTM(H), 2, tied=True), "basic_lstm_cell", "lstm"),
        (GridRNN(LSTM(H), 3, inputs=(0, 1), non_recurrent=(0, 1)), "lstm_cell", "lstm"),
        (GridRNN(GRU(H), 2, non_recurrent=(0,)), "gru_cell", "gru"),
        (GridRNN(GRU(H), 2, inputs=(0, 1), non_recurrent=(0, 1), tied=True), "gru_cell", "gru"),
        (GridRNN(BasicRNN(H), 2), "basic_rnn_cell", "basic_rnn"),
    ],
)
def test_there_and_back_of_grids_of_cells_is_the_identity(grid, scope, name):
    params = draw(grid, input_size=4)
    write, read = (getattr(tensorflow, f"{way}_{name}") for way in ("to", "from"))
    variables = tensorflow.to_grid_rnn(params, grid, scope, write)
    equal(tensorflow.from_grid_rnn(variables, grid, scope, read), params)


def test_a_grid_of_one_dimension_has_no_rows_for_its_input():
    grid = GridRNN(GRU(H), 1)
    variables = tensorflow.to_grid_rnn(draw(grid), grid, "gru_cell", tensorflow.to_gru)
    assert variables["recurrent/cell_0/gru_cell/candidate/kernel"].shape == (H, H)
    params = tensorflow.from_grid_rnn(variables, grid, "gru_cell", tensorflow.from_gru)
    assert not params.cells[0].input_kernel.any()
    equal(tensorflow.to_grid_rnn(params, grid, "gru_cell", tensorflow.to_gru), variables)


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def cfn_step(v, x, h):
    size = h.shape[-1]
    gates = sigmoid(x @ v["kernel"][:, : 2 * size] + h @ v["recurrent_kernel"] + v["bias"])
    theta, eta = np.split(gates, 2, axis=-1)
    return theta * np.tanh(h) + (1 - eta) * np.tanh(x @ v["kernel"][:, 2 * size :])


def indy_gru_step(v, x, h):
    z = x @ v["gates/kernel_w"] + np.tile(h, 2) * v["gates/kernel_u"] + v["gates/bias"]
    r, u = np.split(sigmoid(z), 2, axis=-1)
    z = x @ v["candidate/kernel"] + r * h * v["candidate/kernel_u"] + v["candidate/bias"]
    return u * h + (1 - u) * np.tanh(z)


@pytest.mark.parametrize(
    ("cell", "name", "step"),
    [(CFN(H), "cfn", cfn_step), (IndyGRU(H), "indy_gru", indy_gru_step)],
)
def test_cells_without_a_golden_vector_follow_tensorflow(cell, name, step):
    params = draw(cell)
    variables = jax.tree.map(np.asarray, getattr(tensorflow, f"to_{name}")(params))
    xs = np.random.default_rng(1).normal(size=(2, 4, D))
    h, expected = np.zeros((2, H)), []
    for t in range(4):
        h = step(variables, xs[:, t], h)
        expected.append(h)
    _, ys = unroll(cell, getattr(tensorflow, f"from_{name}")(variables), jnp.asarray(xs))
    np.testing.assert_allclose(ys, np.stack(expected, 1), rtol=1e-12, atol=1e-12)


def test_the_input_projection_of_an_intersection_rnn():
    params = draw(PROJECTED)
    own, inner = tensorflow.to_projection(params)
    named = tensorflow.to_intersection_rnn(inner) | tensorflow.join_scope("in_projection", own)
    own, rest = tensorflow.split_scope(named, "in_projection")
    equal(tensorflow.from_projection(own, tensorflow.from_intersection_rnn(rest)), params)


def test_arrays_that_tensorflow_has_and_does_not_use():
    variables = tensorflow.to_layer_norm_lstm(draw(LSTM(H, **NORM)))
    assert not variables["bias"].any()
    given = variables | {"bias": jnp.ones(4 * H)}
    equal(tensorflow.to_layer_norm_lstm(tensorflow.from_layer_norm_lstm(given)), variables)
    grid = GridRNN(LSTM(H), 2, non_recurrent=(0,))
    named = tensorflow.to_grid_rnn(draw(grid), grid, "lstm_cell", tensorflow.to_lstm)
    assert not named["project_c_0"].any()


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
            r"LSTMCell: bias must have shape \(8,\) to match the other weights, got \(4,\)",
        ),
        (
            lambda: tensorflow.from_lstm({"kernel": jnp.zeros((5, 7)), "bias": jnp.zeros(7)}),
            r"LSTMCell: kernel must have shape \(5, 4\)",
        ),
        (
            lambda: tensorflow.from_basic_rnn({"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}),
            r"a kernel for 2 units must have more than 2 rows .* got \(2, 2\)",
        ),
        (
            lambda: tensorflow.from_gru(
                tensorflow.to_gru(GRU_BEFORE) | {"gates/kernel": jnp.zeros((6, 4))}
            ),
            r"GRUCell: gates/kernel must have shape \(5, 4\)",
        ),
        (
            lambda: tensorflow.from_gru(tensorflow.to_lstm(LSTM_)),
            "GRUCell: expected the arrays gates/kernel, gates/bias, .* got kernel, bias",
        ),
        (lambda: tensorflow.to_gru(GRU_AFTER), "TensorFlow's GRUCell resets before"),
        (
            lambda: tensorflow.from_lstm({"rnn/lstm_cell/kernel": jnp.zeros((5, 8))}),
            r"LSTMCell: expected the arrays kernel, bias \(optionally w_i_diag, .*\), got rnn/lst"
            ".* Give all variables of the cell by their names in its scope; split_scope",
        ),
        (
            lambda: tensorflow.from_lstm(tensorflow.to_lstm(LSTM_) | {"w_i_diag": jnp.zeros(H)}),
            "expected the arrays kernel, bias, w_i_diag, w_f_diag, w_o_diag .*, got kernel, bias",
        ),
        (
            lambda: tensorflow.split_scope(tensorflow.to_gru(GRU_BEFORE), "rnn"),
            "split_scope: no variable is in the scope rnn/, got gates/kernel",
        ),
        (lambda: tensorflow.split_scope(None, "rnn"), "no variable is in the scope rnn/, got none"),
        (lambda: tensorflow.from_grid_lstm(None), "GridLSTMCell: expected a mapping with the arr"),
        (
            lambda: tensorflow.from_grid_lstm(
                tensorflow.to_grid_lstm(draw(GridLSTM(H, **SPECTRUM), input_size=8)), coupled=True
            ),
            r"GridLSTMCell: W_t_0_0 must have shape \(7, 6\)",
        ),
        (
            lambda: tensorflow.from_glstm(tensorflow.to_lstm(LSTM_)),
            "GLSTMCell: expected the arrays group0/kernel, bias_i",
        ),
        (
            lambda: tensorflow.from_intersection_rnn(
                {"kernel": jnp.zeros((5, 8)), "bias": jnp.ones(8)}
            ),
            r"IntersectionRNNCell: kernel must have shape \(4, 8\)",
        ),
        (
            lambda: tensorflow.from_conv_lstm({"kernel": jnp.zeros((3, 2, 8))}),
            "ConvLSTMCell: a kernel for 2 filters must have more than 2 channels",
        ),
        (
            lambda: tensorflow.from_conv_lstm({"kernel": jnp.zeros((4, 8))}),
            r"ConvLSTMCell: kernel must have 3 axes, got shape \(4, 8\)",
        ),
        (
            lambda: tensorflow.from_multi_rnn(
                {"cell_0/a/kernel": 0, "cell_1/a/kernel": 1}, [("a", lambda v: v)]
            ),
            "MultiRNNCell of 1 cells: expected the arrays none, got cell_1/a/kernel",
        ),
        (
            lambda: tensorflow.to_multi_rnn((), [("a", lambda v: v)]),
            "MultiRNNCell: expected a list of the parameters of each layer, got none",
        ),
        (
            lambda: tensorflow.to_layer_norm_basic_lstm(PEEPHOLE_LSTM),
            "LayerNormBasicLSTMCell has no peepholes and no projection_kernel",
        ),
        (
            lambda: tensorflow.to_indy_gru(draw(IndyGRU(H, reset_after=True))),
            "TensorFlow's IndyGRUCell resets before the product",
        ),
        (
            lambda: tensorflow.from_grid_rnn({}, GridRNN(UGRNN(H)), "ugrnn_cell", lambda v: v),
            "split_scope: no variable is in the scope recurrent/cell_0/ugrnn_cell/",
        ),
        (
            lambda: tensorflow.from_grid_rnn({}, GridRNN(SLSTM(H)), "slstm_cell", lambda v: v),
            r"GridRNNCell: contrib.grid_rnn projects the input to .*, whose state is a SLSTMState",
        ),
        (lambda: keras.from_lstm(*zeros((3, 8), (3, 8))), r"LSTM: kernel must have shape \(3, 12"),
        (
            lambda: keras.from_gru(*zeros((3, 6), (2, 6), (6,))),
            r"GRU with reset_after=True: bias must have shape \(2, 6\)",
        ),
        (
            lambda: keras.from_gru(*zeros((3, 6), (2, 6), (2, 6)), reset_after=False),
            r"GRU with reset_after=False: bias must have shape \(6,\)",
        ),
        (
            lambda: pytorch.from_lstm({}),
            "nn.LSTM: expected the arrays weight_ih_l0, weight_hh_l0, got none",
        ),
        (
            lambda: pytorch.from_lstm({"rnn.weight_ih_l0": jnp.zeros((8, 3))}),
            "got rnn.weight_ih_l0",
        ),
        (
            lambda: pytorch.from_gru(pytorch.to_lstm(layers(LSTM(H)))),
            r"nn.GRU: weight_ih_l0 must have shape \(6, 3\)",
        ),
        (lambda: pytorch.to_gru([GRU_BEFORE]), "PyTorch's GRU resets after the product"),
        (lambda: keras.to_lstm(PEEPHOLE_LSTM), "LSTM has no peepholes and no projection_kernel"),
        (lambda: flax_linen.to_lstm(PEEPHOLE_LSTM), "LSTMCell has no peepholes and no projection"),
        (lambda: pytorch.to_lstm([PEEPHOLE_LSTM]), "nn.LSTM has no peepholes, got params"),
        (
            lambda: tensorflow.to_lstm(draw(LSTM(H, layer_norm=LayerNorm()))),
            "LSTMCell has no norm, got",
        ),
        (lambda: flax_linen.to_gru(GRU_BEFORE), "Flax's GRUCell resets after the product"),
        (
            lambda: flax_linen.from_lstm({"params": flax_linen.to_lstm(LSTM_)}),
            r"LSTMCell: expected the arrays ii/kernel, if/kernel, .* got params/ii/kernel, .*"
            r'Give the tree of the cell itself: variables\["params"\]',
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
            r"GRUCell: hz/kernel must have shape \(2, 2\) to match the other weights, got \(2, 3\)",
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
            "SimpleCell: h/kernel must be an array of numbers, got None",
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
            "GRUCell: candidate_bias must be 0, .* got another value",
        ),
        (lambda: flax_nnx.to_optimized_lstm(PEEPHOLE_LSTM), "OptimizedLSTMCell has no peepholes"),
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
    message = (
        "nn.LSTM: expected a list of the parameters of each layer, got a .*; put it into a list"
    )
    with pytest.raises(ValueError, match=message):
        pytorch.to_lstm(layers)


CONVERSIONS = [
    getattr(framework, name)
    for framework in (tensorflow, keras, flax_linen, flax_nnx, pytorch)
    for name in dir(framework)
    if name.startswith(("from_", "to_"))
]


JUNK = [
    None, 3, "lstm", [], {}, {1: 2}, [1, 2], {"params": 3}, {"kernel": "x"},
    {"params": {"ii": {"kernel": jnp.zeros((3, 2))}}}, {"weight_ih_l0": jnp.zeros(3)},
    jnp.zeros(3), seqjax.cells.LSTMParams("a", "b", "c"),
]  # fmt: skip


@pytest.mark.parametrize("convert", CONVERSIONS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_every_conversion_refuses_what_it_cannot_read(convert):
    required = [p for p in inspect.signature(convert).parameters.values() if p.default is p.empty]
    for given in JUNK:
        with pytest.raises(ValueError, match=r"must|expected|no variable is below|split_scope"):
            convert(*[given] * len(required))
