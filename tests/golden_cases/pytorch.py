"""PyTorch's modules, one layer or two in both directions."""

import jax.numpy as jnp

from seqjax import GRU, LSTM, BasicRNN, Bidirectional, Stack, unroll
from seqjax.interop import pytorch
from seqjax.wrappers import Directions
from tests.golden_cases.harness import Case, Inputs, state_leaves, unflatten_state


def module(cell, from_state_dict):
    """States come as h before c, each ``[layers * directions, B, H]``."""

    def run(inputs: Inputs):
        variables = {key: value for key, value in inputs.items() if key.startswith("var.")}
        params = from_state_dict({k.removeprefix("var."): v for k, v in variables.items()})
        lengths = inputs.get("in.sequence_length")
        leaves = zip(*state_leaves(inputs)[::-1], strict=True)
        states = [unflatten_state(cell, leaf) for leaf in leaves]
        if isinstance(params[0], Directions):
            states = [Directions(*pair) for pair in zip(states[::2], states[1::2], strict=True)]
            stack = Stack([Bidirectional(cell, cell)] * len(params))
        else:
            stack = Stack([cell] * len(params))
        final, ys = unroll(
            stack, params, inputs["in.x"], lengths=lengths, initial_state=tuple(states)
        )
        if isinstance(params[0], Directions):
            final = [state for pair in final for state in pair]
        return ys, [jnp.stack(arrays) for arrays in zip(*final, strict=True)][::-1]

    return Case(run)


GRU_CASE = module(GRU(4, reset_after=True), pytorch.from_gru)
LSTM_CASE = module(LSTM(4), pytorch.from_lstm)
RNN_CASE = module(BasicRNN(4), pytorch.from_rnn)
CASES = {
    "torch_gru_1l": GRU_CASE,
    "torch_gru_1l_nobias_zeroinit": GRU_CASE,
    "torch_gru_1l_packed": GRU_CASE,
    "torch_gru_1l_packed_unsorted": GRU_CASE,
    "torch_gru_2l_bidir_nopack": GRU_CASE,
    "torch_lstm_1l": LSTM_CASE,
    "torch_lstm_1l_nobias_zeroinit": LSTM_CASE,
    "torch_lstm_1l_packed": LSTM_CASE,
    "torch_lstm_2l_bidir_nopack": LSTM_CASE,
    "torch_lstm_2l_bidir_packed": LSTM_CASE,
    "torch_rnn_1l": RNN_CASE,
    "torch_rnn_1l_nobias_zeroinit": RNN_CASE,
    "torch_rnn_1l_packed": RNN_CASE,
    "torch_rnn_1l_packed_unsorted": RNN_CASE,
    "torch_rnn_2l_bidir_nopack": RNN_CASE,
    "torch_rnn_2l_bidir_packed": RNN_CASE,
}
