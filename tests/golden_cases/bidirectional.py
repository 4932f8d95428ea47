"""TensorFlow's bidirectional drivers."""

import jax
import jax.numpy as jnp

from seqjax import GRU, LSTM, bidirectional_unroll
from seqjax.wrappers import Directions
from tests.golden_cases.core import gru_params, lstm_params
from tests.golden_cases.harness import Case, Inputs, state_leaves, unflatten_state, variables


def both(cell, params, join=False, method="auto"):
    """One cell for each direction, with variables under ``fw`` and ``bw``."""

    def run(inputs: Inputs):
        get = variables(inputs)
        leaves = state_leaves(inputs)
        half = len(leaves) // 2
        state, ys = bidirectional_unroll(
            cell,
            cell,
            Directions(*(params(lambda name, d=d: get(f"__{d}__", name)) for d in ("fw", "bw"))),
            inputs["in.x"],
            lengths=inputs.get("in.sequence_length"),
            initial_state=Directions(
                unflatten_state(cell, leaves[:half]), unflatten_state(cell, leaves[half:])
            ),
            method=method,
        )
        outputs = {"cat": jnp.concatenate(ys, -1)} if join else {"0": ys[0], "1": ys[1]}
        return outputs, jax.tree.leaves(state)

    return Case(run)


CASES = {
    "core_bidir_gru_noseqlen": both(GRU(3), gru_params),
    "core_bidir_lstm": both(LSTM(4), lstm_params),
    "core_bidir_lstm_static": both(LSTM(4), lstm_params, join=True, method="static"),
}
