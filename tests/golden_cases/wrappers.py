"""TensorFlow's wrappers around a cell."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import GRU, LSTM, Dropout, Highway, InputProjection, OutputProjection, Residual
from seqjax.engine.loop import SequenceLoop
from seqjax.interop import tensorflow
from seqjax.operations.masking import lengths_to_mask, zero_outside
from seqjax.wrappers import DropoutNoise
from tests.golden_cases.core import simple
from tests.golden_cases.harness import Case, Inputs, state_leaves, unflatten_state, variables

KEEP = float(np.float32(0.6))  # the original holds it in 32 bits


def dropout(**rates):
    """Dropout by the uniform numbers that the original drew, ``[1, size]`` each, for all rows."""
    cell = Dropout(LSTM(4), **rates, locked=True, shared=True)

    def run(inputs: Inputs):
        params = tensorflow.from_lstm(variables(inputs))
        xs = jnp.moveaxis(inputs["in.x"], 1, 0)
        mask = lengths_to_mask(inputs["in.sequence_length"], xs.shape[0]).T

        def kept(name, rate):
            if not rate:
                return None
            mask = jnp.floor(KEEP + inputs[f"aux.{name}_noise.0"]) == 1
            return jnp.broadcast_to(mask, (*xs.shape[:2], mask.shape[-1]))

        noise = DropoutNoise(kept("input", cell.input_rate), None, kept("output", cell.output_rate))
        state = unflatten_state(cell, state_leaves(inputs))
        loop = SequenceLoop("auto", mask)
        state, ys = cell.sequence(loop, params, state, zero_outside(mask, xs), noise)
        return jnp.moveaxis(zero_outside(mask, ys), 0, 1), jax.tree.leaves(state)

    return Case(run)


def around_gru(read):
    """A wrapper whose own variables stand beside those of a GRU."""

    def read_both(named):
        cell, own = tensorflow.split_scope(named, "gru_cell")
        return read(own, tensorflow.from_gru(cell))

    return read_both


PROJECTION = around_gru(tensorflow.from_projection)
HIGHWAY = around_gru(tensorflow.from_highway)


def doubled_input(x, y):
    return 2 * x[..., :4] + y


CASES = {
    "contrib_highway_uncoupled": simple(Highway(GRU(5), coupled=False), HIGHWAY),
    "contrib_inputprojection": simple(InputProjection(GRU(4), 3), PROJECTION),
    "contrib_outputprojection": simple(OutputProjection(GRU(4), 3), PROJECTION),
    "core_dropout_keep1": simple(Dropout(LSTM(4)), tensorflow.from_lstm),
    "core_dropout_variational_input": dropout(input_rate=1 - KEEP),
    "core_dropout_variational_output": dropout(output_rate=1 - KEEP),
    "core_residual_lstm_fn": simple(Residual(LSTM(4), combine=doubled_input), tensorflow.from_lstm),
}
