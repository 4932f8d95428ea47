"""The cells that the battery runs: at least one of every class in `seqjax.cells`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax import (
    CFN,
    GLSTM,
    GRU,
    LRU,
    LSTM,
    MGU,
    MLSTM,
    NAS,
    RGLRU,
    SLSTM,
    SRU,
    UGRNN,
    AttentionCell,
    BasicRNN,
    Bidirectional,
    BidirectionalGridLSTM,
    Cell,
    ContextAttention,
    ConvLSTM,
    CoupledInputForgetGateLSTM,
    Dropout,
    GridLSTM,
    GridRNN,
    Highway,
    IndRNN,
    IndyGRU,
    IndyLSTM,
    InputProjection,
    IntersectionRNN,
    LanguageModel,
    LearnedState,
    MinGRU,
    MinimalRNN,
    MinLSTM,
    Mogrifier,
    OutputProjection,
    PhasedLSTM,
    Reset,
    Residual,
    ResidualBlock,
    Stack,
    TimeFreqLSTM,
    WeightNorm,
    WithState,
    Zoneout,
    with_context,
)
from seqjax.attention import Additive, Dot, General, LocationSensitive, Monotonic
from seqjax.catalogue import CATALOGUE
from seqjax.cells import LayerNorm, LSTMState, TimedInputs
from seqjax.wrappers import KeepFeatures, ResetInputs


class Example(NamedTuple):
    """A cell and inputs that it takes."""

    cell: Cell
    input_size: int | tuple[int, ...] = 3
    wrap: Callable[..., Any] | None = None  # makes its inputs of a key and features
    memory_size: int | None = None

    def draw_inputs(self, key, leading_shape):
        """Draw batch-major inputs ``[*leading_shape, ...]``, float64."""
        size = self.input_size
        features = size if isinstance(size, tuple) else (size,)
        xs = jax.random.normal(key, (*leading_shape, *features), jnp.float64)
        return self.wrap(key, xs) if self.wrap else xs

    def bind(self, params, batch):
        """Bind a random context to the parameters of a cell that attends."""
        if self.memory_size is None:
            return params
        memory = jax.random.normal(jax.random.key(9), (batch, 3, self.memory_size), jnp.float64)
        return with_context(self.cell, params, memory)


def timed(key, xs):
    return TimedInputs(jax.random.uniform(key, xs.shape[:-1], jnp.float64, 0, 9), xs)


def with_starts(key, xs):
    return ResetInputs(jax.random.bernoulli(key, 0.4, xs.shape[:-1]), xs)


LSTM_OPTIONS = {
    "peepholes": True,
    "cell_clip": 1.5,
    "projection_size": 4,
    "projection_clip": 0.6,
    "layer_norm": LayerNorm(),
    "recurrent_dropout": 0.3,
}

SPECTRUM = {"frequencies": 5, "window": 3, "stride": 2}
GRID_OPTIONS = {**SPECTRUM, "blocks": [(0, 5), (2, 5)], "peepholes": True, "cell_clip": 1.5}
PHASED_OPTIONS = {"ratio_on": 0.6, "period_range": (5.0, 50.0)}


def first_plus_output(x, y):
    return x[..., :1] + y


UNITS, FEATURES = 4, 3


def from_catalogue(entry):
    """The cell of an entry, and inputs for it."""
    cell = entry.make(UNITS)
    memory_size = UNITS if cell.attends else None
    return Example(cell, entry.size(UNITS, FEATURES), entry.wrap, memory_size)


# every cell of the catalogue, then smaller ones of its classes and their options
EXAMPLES = {entry.name: from_catalogue(entry) for entry in CATALOGUE if not entry.variant} | {
    "Bidirectional": Example(Bidirectional(LSTM(3), GRU(2))),
    "Bidirectional of a noisy stack": Example(
        Stack([Bidirectional(Dropout(LSTM(3), 0.2, 0.3, 0.4), Stack([GRU(2), GRU(2)])), LSTM(3)])
    ),
    "LearnedState": Example(LearnedState(LSTM(4))),
    "LearnedState of a complex state": Example(LearnedState(LRU(4, 2))),
    "LearnedState of a stack": Example(LearnedState(Stack([LSTM(3), GRU(2)]))),
    "Reset of a learned state": Example(Reset(LearnedState(GRU(4))), wrap=with_starts),
    "Reset of both directions": Example(Reset(Bidirectional(GRU(3), LSTM(2))), wrap=with_starts),
    "GRU gate_activation": Example(GRU(4, gate_activation=jax.nn.hard_sigmoid)),
    "LSTM gate_activation": Example(LSTM(4, gate_activation=jax.nn.hard_sigmoid)),
    "Dropout shared": Example(Dropout(LSTM(4), 0.2, 0.3, 0.4, locked=True, shared=True)),
    "Zoneout of a dropped output": Example(Zoneout(Dropout(LSTM(4), output_rate=0.5), 0.3)),
    "AttentionCell": Example(AttentionCell(LSTM(4), length=3)),
    "AttentionCell every size": Example(
        AttentionCell(
            Stack([GRU(4), LSTM(3, recurrent_dropout=0.3)]),
            length=2,
            size=5,
            vector_size=6,
            inner_input_size=7,
        )
    ),
    "ContextAttention": Example(
        ContextAttention(LSTM(4), Additive(5), memory_size=6, size=3), memory_size=6
    ),
    "ContextAttention every option": Example(
        ContextAttention(
            Stack([Dropout(LSTM(4), 0.2), GRU(3)]),
            Additive(5, weight_norm=True),
            memory_size=6,
            size=3,
            heads=2,
            value_size=2,
            activation=jnp.tanh,
            outputs="both",
        ),
        memory_size=6,
    ),
    "ContextAttention to all steps at once": Example(
        ContextAttention(
            Dropout(GRU(4), 0.2), General(scaled=True), 6, heads=2, input_feeding=False
        ),
        memory_size=6,
    ),
    "ContextAttention dot": Example(ContextAttention(GRU(6), Dot(scaled=True), 6), memory_size=6),
    "ContextAttention location": Example(
        ContextAttention(
            GRU(3), LocationSensitive(4, filters=2, width=3), 6, heads=2, input_feeding=False
        ),
        memory_size=6,
    ),
    "ContextAttention cumulative location": Example(
        ContextAttention(GRU(3), LocationSensitive(4, 2, 5, cumulative=True), 6, outputs="cell"),
        memory_size=6,
    ),
    "ContextAttention monotonic": Example(
        ContextAttention(LSTM(3), Monotonic(Additive(4), noise=0.5, score_bias=-1.0), 6, heads=2),
        memory_size=6,
    ),
    "ContextAttention in every wrapper": Example(
        LanguageModel(
            WeightNorm(
                Zoneout(
                    Stack(
                        [
                            Highway(ContextAttention(LSTM(3), Additive(4), 6, size=3)),
                            ContextAttention(GRU(3), General(), 6),
                        ]
                    ),
                    0.3,
                )
            ),
            3,
            embedding_size=3,
        ),
        memory_size=6,
    ),
    "BidirectionalGridLSTM": Example(
        BidirectionalGridLSTM(GridLSTM(2, **GRID_OPTIONS), backward_offset=-1), input_size=5
    ),
    "ConvLSTM": Example(ConvLSTM((4, 2), 3, window=(3,)), input_size=(4, 2)),
    "ConvLSTM images": Example(ConvLSTM((3, 4, 2), 2, window=(2, 3)), input_size=(3, 4, 2)),
    "ConvLSTM volumes, skip_connection": Example(
        ConvLSTM((2, 2, 3, 1), 2, window=(2, 1, 3), skip_connection=True), input_size=(2, 2, 3, 1)
    ),
    "GridLSTM": Example(GridLSTM(2, **SPECTRUM), input_size=5),
    "GridLSTM every option": Example(GridLSTM(2, **GRID_OPTIONS), input_size=5),
    "GridLSTM coupled": Example(GridLSTM(2, **GRID_OPTIONS, coupled=True), input_size=5),
    "GridLSTM shared": Example(GridLSTM(2, **GRID_OPTIONS, shared=True), input_size=5),
    "GridRNN": Example(GridRNN(LSTM(4, peepholes=True))),
    "GridRNN of 1 dimension": Example(GridRNN(BasicRNN(4), 1)),
    "GridRNN of 3 tied dimensions": Example(
        GridRNN(LSTM(4, recurrent_dropout=0.3), 3, tied=True, inputs=(0, 2), outputs=(1, 2)),
        input_size=4,
    ),
    "GridRNN non_recurrent": Example(GridRNN(GRU(4), non_recurrent=(0,))),
    "PhasedLSTM": Example(PhasedLSTM(4, **PHASED_OPTIONS), wrap=timed),
    "PhasedLSTM peepholes": Example(
        PhasedLSTM(4, peepholes=True, leak=0.1, trainable_ratio_on=False, **PHASED_OPTIONS),
        wrap=timed,
    ),
    "TimeFreqLSTM": Example(TimeFreqLSTM(LSTM(3), **SPECTRUM), input_size=5),
    "TimeFreqLSTM every option": Example(
        TimeFreqLSTM(LSTM(5, **LSTM_OPTIONS), **SPECTRUM), input_size=5
    ),
    "BasicRNN": Example(BasicRNN(4)),
    "BasicRNN relu": Example(BasicRNN(4, activation=jax.nn.relu)),
    "GRU": Example(GRU(4)),
    "GRU reset_after": Example(GRU(4, reset_after=True)),
    "LSTM": Example(LSTM(4)),
    "LSTM relu": Example(LSTM(4, activation=jax.nn.relu)),
    "LSTM every option": Example(LSTM(5, **LSTM_OPTIONS)),
    "LSTM straight_through": Example(LSTM(4, cell_clip=0.2, straight_through=True)),
    "CoupledInputForgetGateLSTM": Example(CoupledInputForgetGateLSTM(4)),
    "CoupledInputForgetGateLSTM every option": Example(
        CoupledInputForgetGateLSTM(5, **LSTM_OPTIONS)
    ),
    "IndyLSTM": Example(IndyLSTM(4)),
    "GLSTM": Example(GLSTM(4, groups=2), input_size=6),
    "GLSTM projection": Example(GLSTM(6, groups=3, projection_size=3)),
    "WeightNorm": Example(WeightNorm(LSTM(4))),
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
    "UGRNN": Example(UGRNN(4)),
    "IntersectionRNN": Example(IntersectionRNN(3)),
    "NAS": Example(NAS(4)),
    "NAS every option": Example(NAS(4, projection_size=3, use_bias=True)),
    "SRU": Example(SRU(4)),
    "IndRNN": Example(IndRNN(4)),
    "IndyGRU": Example(IndyGRU(4)),
    "MinimalRNN": Example(MinimalRNN(4)),
    "CFN": Example(CFN(4)),
    "MGU": Example(MGU(4)),
    "MinGRU": Example(MinGRU(4)),
    "MinLSTM": Example(MinLSTM(4, activation=jnp.tanh)),
    "LRU": Example(LRU(4, 2)),
    "RGLRU": Example(RGLRU(3)),
    "SLSTM": Example(SLSTM(4)),
    "SLSTM every option": Example(SLSTM(4, heads=2, exponential_forget=True)),
    "MLSTM": Example(MLSTM(4)),
    "MLSTM every option": Example(MLSTM(4, heads=2, exponential_forget=True, chunk_size=3)),
    "LanguageModel": Example(LanguageModel(Dropout(GRU(4), 0.2), 3, embedding_size=5)),
    "LanguageModel tied": Example(
        LanguageModel(LSTM(4), 3, embedding_size=4, layer_norm=True, tied=True)
    ),
    "LanguageModel without an embedding": Example(LanguageModel(Stack([LSTM(4), GRU(3)]), 3)),
    "Mogrifier": Example(Mogrifier(LSTM(4, recurrent_dropout=0.3))),
    "Mogrifier one round": Example(Mogrifier(GRU(4), rounds=1)),
    "OutputProjection": Example(OutputProjection(GRU(4), 2)),
    "OutputProjection tanh": Example(OutputProjection(GRU(4), 2, activation=jnp.tanh)),
    "Reset": Example(Reset(LSTM(4)), wrap=with_starts),
    "Reset of a linear cell": Example(Reset(RGLRU(3)), wrap=with_starts),
    "Reset of a stack": Example(
        Reset(Dropout(Stack([LRU(3, 2), GRU(4)]), 0.2, 0.3, 0.4)), wrap=with_starts
    ),
    "KeepFeatures": Example(KeepFeatures(Dropout(GRU(4), input_rate=0.2), 2)),
    "KeepFeatures in Google's decoder": Example(
        Stack(
            [
                ContextAttention(LSTM(3), Additive(4), 6, outputs="both"),
                KeepFeatures(LSTM(4), 6),
                Residual(LSTM(3), combine=first_plus_output),
            ]
        ),
        memory_size=6,
    ),
    "ResidualBlock": Example(ResidualBlock(Dropout(GRU(3), input_rate=0.2))),
    "ResidualBlock of every option in a language model": Example(
        LanguageModel(
            Stack([ResidualBlock(LRU(4, 3), 5, activation=jax.nn.silu), ResidualBlock(MinGRU(3))]),
            3,
            embedding_size=3,
            layer_norm=True,
        )
    ),
    "Residual": Example(Residual(Dropout(GRU(3), input_rate=0.2))),
    "Residual combine": Example(Residual(LSTM(4), combine=first_plus_output)),
    "Stack": Example(Stack([LSTM(4), GRU(5)])),
    "WithState": Example(WithState(Stack([LSTM(4), GRU(5)]))),
    "Zoneout": Example(Zoneout(LSTM(4), rate=LSTMState(c=0.5, h=0.05))),
    "Zoneout of some": Example(Zoneout(Dropout(LSTM(4), 0.2), rate=LSTMState(c=0.5, h=0.0))),
}

# one example of each class, and those of all its options: for proofs that depend on no single one
BROAD = [name for name in EXAMPLES if " " not in name or "every option" in name]
