"""TensorFlow's core cells and `MultiRNNCell`."""

import jax
import jax.numpy as jnp

from seqjax import GRU, LSTM, BasicRNN, BasicRNNParams, GRUParams, LSTMParams, Stack
from tests.golden_cases.harness import Case, Inputs, run_unroll, unflatten_state, variables


def rnn_params(get, units=4):
    """``kernel`` has the input rows over the recurrent ones."""
    kernel = get("kernel")
    return BasicRNNParams(kernel[:-units], kernel[-units:], get("bias"))


def gru_params(get, units=4):
    """Gates are r, u; the candidate has a kernel of its own."""
    gates, candidate = get("gates__kernel"), get("candidate__kernel")
    return GRUParams(
        jnp.concatenate([gates[:-units], candidate[:-units]], 1),
        gates[-units:],
        candidate[-units:],
        jnp.concatenate([get("gates__bias"), get("candidate__bias")]),
    )


def lstm_params(get, units=4, forget_bias=1.0):
    """Columns are i, j, f, o, and the forget bias is added at run time."""

    def reorder(a):
        i, j, f, o = jnp.split(a, 4, axis=-1)
        return jnp.concatenate([i, f, j, o], axis=-1)

    kernel, bias = reorder(get("kernel")), reorder(get("bias"))
    return LSTMParams(kernel[:-units], kernel[-units:], bias.at[units : 2 * units].add(forget_bias))


def simple(cell, params, method="scan", **options):
    """A case that is one call of `unroll`."""

    def run(inputs: Inputs):
        return run_unroll(cell, params(variables(inputs)), inputs, method=method, **options)

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
    params = (
        gru_params(lambda name: get("cell_0__", name)),
        gru_params(lambda name: get("cell_1__", name), units=3),
    )
    state = unflatten_state(cell, jnp.split(inputs["in.state.0"], [4], axis=-1))
    ys, leaves = run_unroll(cell, params, inputs, state=state)
    return ys, [jnp.concatenate(leaves, axis=-1)]


def gru_block_cell(inputs: Inputs):
    """One step of the raw op."""
    names = {
        "gates__kernel": "in.w_ru",
        "candidate__kernel": "in.w_c",
        "gates__bias": "in.b_ru",
        "candidate__bias": "in.b_c",
    }
    units = inputs["in.h_prev"].shape[-1]
    cell = GRU(units)
    params = gru_params(lambda name: inputs[names[name]], units)
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
