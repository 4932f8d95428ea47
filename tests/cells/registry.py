"""The cells that the battery runs: at least one of every class in `seqjax.cells`."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqjax import (
    GRU,
    LSTM,
    BasicRNN,
    Cell,
    Dropout,
    Highway,
    InputProjection,
    LSTMState,
    OutputProjection,
    Residual,
    Stack,
    Zoneout,
)


class Example(NamedTuple):
    """A cell and inputs that it takes."""

    cell: Cell
    input_size: int | tuple[int, ...] = 3

    def draw_inputs(self, key, leading_shape):
        """Draw batch-major inputs ``[*leading_shape, ...]``, float64."""
        size = self.input_size
        features = size if isinstance(size, tuple) else (size,)
        return jax.random.normal(key, (*leading_shape, *features), jnp.float64)


def first_plus_output(x, y):
    return x[..., :1] + y


EXAMPLES = {
    "BasicRNN": Example(BasicRNN(4)),
    "BasicRNN relu": Example(BasicRNN(4, activation=jax.nn.relu)),
    "GRU": Example(GRU(4)),
    "GRU reset_after": Example(GRU(4, reset_after=True)),
    "LSTM": Example(LSTM(4)),
    "Dropout": Example(Dropout(LSTM(4), input_rate=0.2, state_rate=0.3, output_rate=0.4)),
    "Dropout locked": Example(Dropout(Stack([LSTM(3), GRU(4)]), 0.2, 0.3, 0.4, locked=True)),
    "Dropout of inputs and outputs": Example(
        Dropout(Stack([LSTM(3), GRU(4)]), input_rate=0.2, output_rate=0.4)
    ),
    "Dropout of a state's arrays": Example(Dropout(LSTM(4), state_rate=LSTMState(0.2, 0.0))),
    "Highway": Example(Highway(GRU(3))),
    "Highway uncoupled": Example(Highway(Dropout(LSTM(3), state_rate=0.2), coupled=False)),
    "InputProjection": Example(InputProjection(Dropout(GRU(4), input_rate=0.2), 2)),
    "InputProjection relu": Example(InputProjection(GRU(4), 2, activation=jax.nn.relu)),
    "OutputProjection": Example(OutputProjection(GRU(4), 2)),
    "OutputProjection tanh": Example(OutputProjection(GRU(4), 2, activation=jnp.tanh)),
    "Residual": Example(Residual(Dropout(GRU(3), input_rate=0.2))),
    "Residual combine": Example(Residual(LSTM(4), combine=first_plus_output)),
    "Stack": Example(Stack([LSTM(4), GRU(5)])),
    "Zoneout": Example(Zoneout(LSTM(4), rate=LSTMState(c=0.5, h=0.05))),
    "Zoneout of some": Example(Zoneout(Dropout(LSTM(4), 0.2), rate=LSTMState(c=0.5, h=0.0))),
}
