"""TensorFlow's core cells and `MultiRNNCell`."""

import jax
import jax.numpy as jnp

from seqjax import GRU, LSTM, BasicRNN, Stack
from seqjax.interop import tensorflow
from tests.golden_cases.harness import Case, Inputs, run_unroll, unflatten_state, variables


def take(get, *names):
    """The variables of a cell, by their TensorFlow names."""
    return {name: get(name.replace("/", "__")) for name in names}


def rnn_params(get):
    return tensorflow.from_basic_rnn(take(get, "kernel", "bias"))


def gru_params(get):
    names = "gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias"
    return tensorflow.from_gru(take(get, *names))


def lstm_params(get):
    return tensorflow.from_lstm(take(get, "kernel", "bias"))


def simple(cell, params, method="scan"):
    """A case that is one call of `unroll`."""

    def run(inputs: Inputs):
        return run_unroll(cell, params(variables(inputs)), inputs, method=method)

    return Case(run)


def stacked(cell, *layers):
    def params(get):
        return tuple(
            layer(lambda name, n=n: get(f"cell_{n}__", name)) for n, layer in enumerate(layers)
        )

    return simple(cell, params)


def concatenated_state(inputs: Inputs):
    cell = Stack([GRU(4), GRU(3)])
    get = variables(inputs)
    params = tuple(gru_params(lambda name, n=n: get(f"cell_{n}__", name)) for n in range(2))
    state = unflatten_state(cell, jnp.split(inputs["in.state.0"], [4], axis=-1))
    ys, leaves = run_unroll(cell, params, inputs, state=state)
    return ys, [jnp.concatenate(leaves, axis=-1)]


def gru_block_cell(inputs: Inputs):
    """One step of the raw op."""
    cell = GRU(inputs["in.h_prev"].shape[-1])
    names = {
        "gates__kernel": "in.w_ru",
        "gates__bias": "in.b_ru",
        "candidate__kernel": "in.w_c",
        "candidate__bias": "in.b_c",
    }
    params = gru_params(lambda name: inputs[names[name]])
    state = cell.initial_state()._replace(h=inputs["in.h_prev"])
    _, y = cell.step(params, state, cell.project(params, inputs["in.x"]))
    return {"h": y}, []


BASIC_LSTM = simple(LSTM(4), lstm_params)
CASES = {
    "core_basic_lstm": BASIC_LSTM,
    "core_basic_lstm_f32": BASIC_LSTM,
    "core_basic_lstm_nan_padding_dynamic": BASIC_LSTM._replace(nan_padding=True),
    "core_basic_lstm_nan_padding_static": simple(LSTM(4), lstm_params, "static")._replace(
        nan_padding=True
    ),
    "core_basic_lstm_noseqlen_zeroinit": BASIC_LSTM,
    "core_basic_lstm_relu": simple(LSTM(4, activation=jax.nn.relu), lstm_params),
    "core_basic_lstm_seq_max_lt_T": BASIC_LSTM,
    "core_basic_lstm_static": simple(LSTM(4), lstm_params, "static"),
    "core_basic_rnn": simple(BasicRNN(4), rnn_params),
    "core_basic_rnn_noseqlen_zeroinit": simple(BasicRNN(4), rnn_params),
    "core_gru": simple(GRU(4), gru_params),
    "core_gru_static": simple(GRU(4), gru_params, "static"),
    "core_grublockcell": Case(gru_block_cell),
    "core_multi_2xlstm": stacked(Stack([LSTM(4), LSTM(4)]), lstm_params, lstm_params),
    "core_multi_state_not_tuple": Case(concatenated_state),
}
