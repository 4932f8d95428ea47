"""TensorFlow's structured contrib cells: over frequencies, grids, attention, phases and space."""

import functools

import jax
import jax.numpy as jnp

from seqjax import (
    GRU,
    LSTM,
    AttentionCell,
    BasicRNN,
    BidirectionalGridLSTM,
    ConvLSTM,
    GridLSTM,
    GridRNN,
    PhasedLSTM,
    TimeFreqLSTM,
)
from seqjax.cells import LSTMState, TimedInputs
from seqjax.interop import tensorflow
from tests.golden_cases.core import simple
from tests.golden_cases.harness import Case, run_unroll, state_leaves, unflatten_state, variables


def windowed(cell, params, inputs):
    """Run a cell whose states are LSTMs' with a window axis.

    The original has an array for each c and h of each window, or joins them all into one.
    """
    leaves = state_leaves(inputs)
    joined = len(leaves) == 1
    of_lstms, structure = jax.tree.flatten(cell.initial_state(), lambda s: isinstance(s, LSTMState))
    if joined:
        leaves = jnp.split(leaves[0], sum(len(a) for s in of_lstms for a in s), axis=-1)
    states = []
    for lstm in of_lstms:
        own, leaves = leaves[: 2 * len(lstm.c)], leaves[2 * len(lstm.c) :]
        states.append(LSTMState(jnp.stack(own[::2], -2), jnp.stack(own[1::2], -2)))
    ys, final = run_unroll(cell, params, inputs, state=jax.tree.unflatten(structure, states))
    final = [
        a[..., q, :]
        for c, h in zip(final[::2], final[1::2], strict=True)
        for q in range(c.shape[-2])
        for a in (c, h)
    ]
    return ys, [jnp.concatenate(final, -1)] if joined else final


def over_frequencies(cell, read):
    def run(inputs):
        return windowed(cell, read(variables(inputs)), inputs)

    return Case(run)


def time_freq(cell):
    return over_frequencies(cell, tensorflow.from_time_freq_lstm)


def grid_lstm(*blocks, units=3, **options):
    cell = GridLSTM(units, blocks=blocks, **options)
    read = functools.partial(
        tensorflow.from_grid_lstm, coupled=cell.coupled, forget_bias=cell.forget_bias
    )
    return over_frequencies(cell, read)


def bidirectional(*blocks, units=3, offset=0, **options):
    cell = BidirectionalGridLSTM(GridLSTM(units, blocks=blocks, **options), offset)
    return over_frequencies(cell, tensorflow.from_bidirectional_grid_lstm)


def grid_rnn(cell, scope, read):
    def run(inputs):
        params = tensorflow.from_grid_rnn(variables(inputs), cell, scope, read)
        ys, state = run_unroll(cell, params, inputs)
        return {"0": ys}, state

    return Case(run)


def attention(cell, scope, read):
    def run(inputs):
        inner, own = tensorflow.split_scope(variables(inputs), scope)
        params = tensorflow.from_attention_cell(own, read(inner))
        size = cell.output_size
        leaves = state_leaves(inputs)
        joined = len(leaves) == 1
        if joined:
            leaves = jnp.split(leaves[0], [cell.cell.units, cell.cell.units + size], axis=-1)
        memory = leaves[-1].reshape(*leaves[-1].shape[:-1], cell.length, size)
        state = unflatten_state(cell, [*leaves[:-1], memory])
        ys, leaves = run_unroll(cell, params, inputs, state=state)
        leaves[-1] = leaves[-1].reshape(*leaves[-1].shape[:-2], -1)
        return ys, [jnp.concatenate(leaves, -1)] if joined else leaves

    return Case(run)


def phased(cell):
    def run(inputs):
        timed = TimedInputs(inputs["in.x.0"][..., 0], inputs["in.x.1"])
        params = tensorflow.from_phased_lstm(variables(inputs))
        return run_unroll(cell, params, {**inputs, "in.x": timed})

    return Case(run)


SPECTRUM = {"frequencies": 8, "window": 4, "stride": 2}
LEFTOVER = {"frequencies": 8, "window": 3, "stride": 3}
BLOCKS = {"frequencies": 9, "window": 2, "stride": 2, "peepholes": True}
PEEP = LSTM(3, peepholes=True)
LSTM_CELL = ("lstm_cell", tensorflow.from_lstm)
BASIC_LSTM_CELL = ("basic_lstm_cell", tensorflow.from_lstm)
RNN_CELL = ("basic_rnn_cell", tensorflow.from_basic_rnn)
GRU_CELL = ("gru_cell", tensorflow.from_gru)

CASES = {
    "contrib_timefreq_oneblock": time_freq(TimeFreqLSTM(LSTM(4, peepholes=True), 5, 5, 1)),
    "contrib_timefreq_plain": time_freq(TimeFreqLSTM(LSTM(4), 6, 2, 2)),
    "contrib_timefreq_static_noseq": time_freq(TimeFreqLSTM(LSTM(4, peepholes=True), 8, 4, 2)),
    "contrib_gridlstm": grid_lstm(**SPECTRUM),
    "contrib_gridlstm_peep": grid_lstm(**SPECTRUM, peepholes=True, forget_bias=0.8),
    "contrib_gridlstm_coupled": grid_lstm(**SPECTRUM, peepholes=True, coupled=True),
    "contrib_gridlstm_leftover": grid_lstm(**LEFTOVER, peepholes=True),
    "contrib_gridlstm_state_not_tuple": grid_lstm(**SPECTRUM, peepholes=True),
    "contrib_gridlstm_blocks_state_not_tuple_bug": grid_lstm((0, 4), (3, 9), **BLOCKS),
    "contrib_bigridlstm": bidirectional(**SPECTRUM, peepholes=True),
    "contrib_bigridlstm_blocks": bidirectional((0, 4), (3, 9), **BLOCKS),
    "contrib_bigridlstm_offset_pos": bidirectional(**SPECTRUM, peepholes=True, offset=1),
    "contrib_grid1lstm": grid_rnn(GridRNN(LSTM(3), 1), *LSTM_CELL),
    "contrib_grid2lstm": grid_rnn(GridRNN(LSTM(3), 2), *LSTM_CELL),
    "contrib_grid2lstm_peepholes": grid_rnn(GridRNN(PEEP, 2), *LSTM_CELL),
    "contrib_grid2basiclstm": grid_rnn(GridRNN(LSTM(3), 2), *BASIC_LSTM_CELL),
    "contrib_grid2basicrnn": grid_rnn(GridRNN(BasicRNN(3), 2), *RNN_CELL),
    "contrib_grid2gru": grid_rnn(GridRNN(GRU(3), 2), *GRU_CELL),
    "contrib_attn_lstm": attention(AttentionCell(LSTM(4), 3), *BASIC_LSTM_CELL),
    "contrib_attn_lstm_f32": attention(AttentionCell(LSTM(4), 3), *BASIC_LSTM_CELL),
    "contrib_attn_len1_zeroinit_noseq": attention(AttentionCell(LSTM(4), 1), *BASIC_LSTM_CELL),
    "contrib_attn_gru_state_not_tuple": attention(AttentionCell(GRU(4), 3), *GRU_CELL),
    "contrib_phased": phased(PhasedLSTM(4, leak=0.05)),
    "contrib_conv2dlstm": simple(ConvLSTM((4, 4, 2), 3, (3, 3)), tensorflow.from_conv_lstm),
}

NOT_EXPRESSED = {
    "contrib_gridlstm_blocks_state_not_tuple_bug": "with its states joined into one array, the "
    "original lets every block read the states of the first windows in that array, so of block 0 "
    "and not its own",
}
