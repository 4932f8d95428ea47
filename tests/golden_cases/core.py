"""TensorFlow's core cells and `MultiRNNCell`."""

import jax
import jax.numpy as jnp

from seqjax import GRU, LSTM, BasicRNN, Stack
from seqjax.interop import tensorflow
from tests.golden_cases.harness import Case, Inputs, run_unroll, unflatten_state, variables


def simple(cell, read, **options):
    """A case that is one call of `unroll`, with the function that takes the variables."""

    def run(inputs: Inputs):
        return run_unroll(cell, read(variables(inputs)), inputs, **options)

    return Case(run)


def stacked(cell, layer):
    def read(named):
        return tensorflow.from_multi_rnn(named, [layer] * len(cell.layers))

    return simple(cell, read)


def concatenated_state(inputs: Inputs):
    cell = Stack([GRU(4), GRU(3)])
    params = tensorflow.from_multi_rnn(variables(inputs), [("gru_cell", tensorflow.from_gru)] * 2)
    state = unflatten_state(cell, jnp.split(inputs["in.state.0"], [4], axis=-1))
    ys, leaves = run_unroll(cell, params, inputs, state=state)
    return ys, [jnp.concatenate(leaves, axis=-1)]


def gru_block_cell(inputs: Inputs):
    """One step of the raw op."""
    cell = GRU(inputs["in.h_prev"].shape[-1])
    names = {
        "gates/kernel": "in.w_ru",
        "gates/bias": "in.b_ru",
        "candidate/kernel": "in.w_c",
        "candidate/bias": "in.b_c",
    }
    params = tensorflow.from_gru({name: inputs[key] for name, key in names.items()})
    state = cell.initial_state()._replace(h=inputs["in.h_prev"])
    _, y = cell.step(params, state, cell.project(params, inputs["in.x"]))
    return {"h": y}, []


BASIC_LSTM = simple(LSTM(4), tensorflow.from_lstm)
CASES = {
    "core_basic_lstm": BASIC_LSTM,
    "core_basic_lstm_f32": BASIC_LSTM,
    "core_basic_lstm_nan_padding_dynamic": BASIC_LSTM._replace(nan_padding=True),
    "core_basic_lstm_nan_padding_static": simple(
        LSTM(4), tensorflow.from_lstm, method="static"
    )._replace(nan_padding=True),
    "core_basic_lstm_noseqlen_zeroinit": BASIC_LSTM,
    "core_basic_lstm_relu": simple(LSTM(4, activation=jax.nn.relu), tensorflow.from_lstm),
    "core_basic_lstm_seq_max_lt_T": BASIC_LSTM,
    "core_basic_lstm_static": simple(LSTM(4), tensorflow.from_lstm, method="static"),
    "core_basic_rnn": simple(BasicRNN(4), tensorflow.from_basic_rnn),
    "core_basic_rnn_noseqlen_zeroinit": simple(BasicRNN(4), tensorflow.from_basic_rnn),
    "core_gru": simple(GRU(4), tensorflow.from_gru),
    "core_gru_static": simple(GRU(4), tensorflow.from_gru, method="static"),
    "core_grublockcell": Case(gru_block_cell),
    "core_multi_2xlstm": stacked(
        Stack([LSTM(4), LSTM(4)]), ("basic_lstm_cell", tensorflow.from_lstm)
    ),
    "core_multi_state_not_tuple": Case(concatenated_state),
}
