"""TensorFlow's bidirectional drivers."""

import jax
import jax.numpy as jnp

from seqjax import GRU, LSTM, Bidirectional, unroll
from seqjax.interop import tensorflow
from seqjax.wrappers import Directions
from tests.golden_cases.harness import Case, Inputs, state_leaves, unflatten_state, variables


def both(cell, scope, read, join=False, method="auto"):
    """One cell for each direction, with variables under ``fw`` and ``bw``."""

    def run(inputs: Inputs):
        named = variables(inputs)
        leaves = state_leaves(inputs)
        half = len(leaves) // 2
        params = [read(tensorflow.split_scope(named, f"{d}/{scope}")[0]) for d in ("fw", "bw")]
        state, ys = unroll(
            Bidirectional(cell, cell),
            Directions(*params),
            inputs["in.x"],
            lengths=inputs.get("in.sequence_length"),
            initial_state=Directions(
                unflatten_state(cell, leaves[:half]), unflatten_state(cell, leaves[half:])
            ),
            method=method,
        )
        forward, backward = jnp.split(ys, 2, axis=-1)
        outputs = {"cat": ys} if join else {"0": forward, "1": backward}
        return outputs, jax.tree.leaves(state)

    return Case(run)


LSTM_CELL = (LSTM(4), "basic_lstm_cell", tensorflow.from_lstm)
CASES = {
    "core_bidir_gru_noseqlen": both(GRU(3), "gru_cell", tensorflow.from_gru),
    "core_bidir_lstm": both(*LSTM_CELL),
    "core_bidir_lstm_static": both(*LSTM_CELL, join=True, method="static"),
}
