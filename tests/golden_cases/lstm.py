"""TensorFlow's LSTMs, those of its contrib package included, and its fused ways to run them."""

import functools

import jax
import jax.numpy as jnp

from seqjax import GLSTM, GRU, LSTM, CoupledInputForgetGateLSTM, IndyLSTM, WeightNorm
from seqjax.cells import LayerNorm
from seqjax.interop import tensorflow
from seqjax.interop.layout import permute_gates
from tests.golden_cases.core import simple
from tests.golden_cases.harness import Case, Inputs, run_unroll, unflatten_state, variables


def sharded(inputs: Inputs):
    """The kernel is stored in two parts, one over the other."""
    named = variables(inputs)
    parts = [named.pop(f"kernel/part_{n}") for n in (0, 1)]
    params = tensorflow.from_lstm(named | {"kernel": jnp.concatenate(parts)})
    return run_unroll(LSTM(4), params, inputs)


def concatenated_state(inputs: Inputs):
    cell = LSTM(4)
    state = unflatten_state(cell, jnp.split(inputs["in.state.0"], [4], axis=-1))
    ys, leaves = run_unroll(cell, tensorflow.from_lstm(variables(inputs)), inputs, state=state)
    return ys, [jnp.concatenate(leaves, axis=-1)]


def block(cell, order=(0, 1, 2, 3)):
    """The raw block op, which gives the memory of every step too; one step has no time axis."""

    def run(inputs: Inputs):
        named = {
            "kernel": permute_gates(inputs["in.w"], order),
            "bias": permute_gates(inputs["in.b"], order),
        }
        if cell.peepholes:
            named |= {f"w_{gate}_diag": inputs[f"in.wc{gate}"] for gate in "ifo"}
        params = tensorflow.from_lstm(named, forget_bias=cell.forget_bias)
        state = unflatten_state(cell, (inputs["in.cs_prev"], inputs["in.h_prev"]))
        xs = inputs["in.x"]
        if xs.ndim == 2:
            state, _ = cell.step(params, state, cell.project(params, xs))
            return {"cs": state.c, "h": state.h}, []

        def step(state, z):
            state, _ = cell.step(params, state, z)
            return state, state

        steps = int(inputs["in.seq_len_max"])
        _, states = jax.lax.scan(step, state, cell.project(params, xs[:steps]))
        pad = functools.partial(jnp.pad, pad_width=((0, len(xs) - steps), (0, 0), (0, 0)))
        return {"cs": pad(states.c), "h": pad(states.h)}, []

    return Case(run)


def block_v2(cell):
    """Columns i, f, ci, o, no forget bias; its gradient is not that of the operation."""
    return block(cell, order=(0, 2, 1, 3))._replace(gradients=False)


def reversed_gru(inputs: Inputs):
    params = tensorflow.from_gru(variables(inputs))
    return run_unroll(GRU(4), params, inputs, time_major=True, reverse=True)


PEEP = LSTM(4, peepholes=True)
FULL = {"peepholes": True, "cell_clip": 0.5, "projection_size": 3, "projection_clip": 0.3}
CLIP_3 = {"cell_clip": 3.0, "straight_through": True}
PEEP_CLIP = {"peepholes": True, "cell_clip": 0.3, "straight_through": True}

ALL = LSTM(6, forget_bias=0.7, peepholes=True, projection_size=4)
NORMED = LSTM(4, layer_norm=LayerNorm())
COUPLED = tensorflow.from_coupled_input_forget_gate_lstm

CASES = {
    "core_lstm": simple(LSTM(4), tensorflow.from_lstm),
    "core_lstm_all_noclip": simple(ALL, functools.partial(tensorflow.from_lstm, forget_bias=0.7)),
    "core_lstm_cellclip": simple(LSTM(4, cell_clip=0.3), tensorflow.from_lstm),
    "core_lstm_peep": simple(PEEP, tensorflow.from_lstm),
    "core_lstm_peep_static": simple(PEEP, tensorflow.from_lstm, method="static"),
    "core_lstm_proj": simple(LSTM(6, projection_size=4), tensorflow.from_lstm),
    "core_lstm_shards2": Case(sharded),
    "core_lstm_state_not_tuple": Case(concatenated_state),
    "core_lstmblockcell_plain": block(LSTM(4)),
    "core_lstmblockcell_clip_default3": block(LSTM(4, **CLIP_3)),
    "core_blocklstm_plain": block(LSTM(4)),
    "core_blocklstm_clip_default3": block(LSTM(4, **CLIP_3)),
    "core_blocklstm_peep_clip": block(LSTM(4, **PEEP_CLIP)),
    "core_blocklstmv2_plain": block_v2(LSTM(4, forget_bias=0.0)),
    "core_blocklstmv2_clip_default3": block_v2(LSTM(4, forget_bias=0.0, **CLIP_3)),
    "core_blocklstmv2_peep_clip": block_v2(LSTM(4, forget_bias=0.0, **PEEP_CLIP)),
    "contrib_cifg": simple(CoupledInputForgetGateLSTM(4), COUPLED),
    "contrib_cifg_peep": simple(CoupledInputForgetGateLSTM(4, peepholes=True), COUPLED),
    "contrib_fused_adaptor_dynamic": simple(LSTM(4), tensorflow.from_lstm, time_major=True),
    "contrib_fused_adaptor_static": simple(
        LSTM(4), tensorflow.from_lstm, time_major=True, method="static"
    ),
    "contrib_fused_timereversed": Case(reversed_gru),
    "contrib_fused_timereversed_noseq": Case(reversed_gru),
    "contrib_glstm": simple(GLSTM(4, groups=2), tensorflow.from_glstm),
    "contrib_indylstm": simple(IndyLSTM(4), tensorflow.from_indy_lstm),
    "contrib_layernormlstm_ln": simple(NORMED, tensorflow.from_layer_norm_lstm),
    "contrib_layernormlstm_off_all": simple(LSTM(4, **FULL), tensorflow.from_layer_norm_lstm),
    "contrib_lnbasiclstm": simple(NORMED, tensorflow.from_layer_norm_basic_lstm),
    "contrib_lstmblockcell": simple(LSTM(4), tensorflow.from_lstm),
    "contrib_lstmblockfused": simple(LSTM(4), tensorflow.from_lstm, time_major=True),
    "contrib_weightnormlstm_nonorm": simple(LSTM(4), tensorflow.from_lstm),
    "contrib_weightnormlstm_plain": simple(WeightNorm(LSTM(4)), tensorflow.from_weight_norm_lstm),
}
