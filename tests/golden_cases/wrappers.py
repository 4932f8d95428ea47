"""TensorFlow's wrappers around a cell."""

import jax.numpy as jnp
import numpy as np

from seqjax import GRU, LSTM, Dropout, Highway, InputProjection, OutputProjection, Residual
from seqjax.interop import tensorflow
from seqjax.wrappers import DropoutNoise
from tests.golden_cases.core import simple
from tests.golden_cases.harness import Case, Inputs, run_unroll, variables

KEEP = float(np.float32(0.6))  # the original holds it in 32 bits


class GivenDropout(Dropout):
    """Dropout whose key is the uniform numbers that the original drew: ``[1, size]`` each."""

    def draw_noise(self, key, leading_shape, input_size):
        def kept(name, rate):
            if not rate:
                return None
            mask = jnp.floor(KEEP + key[f"aux.{name}_noise.0"]) == 1
            return jnp.broadcast_to(mask, (*leading_shape, mask.shape[-1]))

        return DropoutNoise(
            input=kept("input", self.input_rate), output=kept("output", self.output_rate)
        )


def dropout(**rates):
    cell = GivenDropout(LSTM(4), **rates)

    def run(inputs: Inputs):
        numbers = {key: value for key, value in inputs.items() if key.startswith("aux.")}
        return run_unroll(cell, tensorflow.from_lstm(variables(inputs)), inputs, key=numbers)

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
