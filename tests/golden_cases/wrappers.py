"""TensorFlow's wrappers around a cell."""

import jax.numpy as jnp
import numpy as np

from seqjax import GRU, LSTM, Dropout, Highway, InputProjection, OutputProjection, Residual
from seqjax.wrappers import DropoutNoise, HighwayParams, ProjectionParams
from tests.golden_cases.core import gru_params, lstm_params, simple
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
        return run_unroll(cell, lstm_params(variables(inputs)), inputs, key=numbers)

    return Case(run)


def projection_params(get):
    def inside(name):
        return get("gru_cell__", name)

    return ProjectionParams(
        gru_params(inside), get("projection_wrapper__kernel"), get("projection_wrapper__bias")
    )


def highway_params(get):
    gates = ("carry", "transform")
    return HighwayParams(
        gru_params(get),
        jnp.concatenate([get(f"{gate}_w") for gate in gates], 1),
        jnp.concatenate([get(f"{gate}_b") for gate in gates]),
    )


def doubled_input(x, y):
    return 2 * x[..., :4] + y


CASES = {
    "contrib_highway_uncoupled": simple(Highway(GRU(5), coupled=False), highway_params),
    "contrib_inputprojection": simple(InputProjection(GRU(4), 3), projection_params),
    "contrib_outputprojection": simple(OutputProjection(GRU(4), 3), projection_params),
    "core_dropout_keep1": simple(Dropout(LSTM(4)), lstm_params),
    "core_dropout_variational_input": dropout(input_rate=1 - KEEP),
    "core_dropout_variational_output": dropout(output_rate=1 - KEEP),
    "core_residual_lstm_fn": simple(Residual(LSTM(4), combine=doubled_input), lstm_params),
}
