"""Combinations of cells and options that make no sense are refused, and say how to mend them."""

import re

import jax
import jax.numpy as jnp
import pytest

from seqjax import (
    GLSTM,
    LRU,
    LSTM,
    MLSTM,
    SLSTM,
    AttentionCell,
    ContextAttention,
    ConvLSTM,
    Dropout,
    GridLSTM,
    GridRNN,
    Highway,
    InputProjection,
    IntersectionRNN,
    Mogrifier,
    PhasedLSTM,
    Residual,
    Stack,
    TimeFreqLSTM,
    Zoneout,
    unroll,
)
from seqjax.attention import Dot
from seqjax.cells import LayerNorm, SLSTMState

CONV = ConvLSTM((4, 4, 1), 1, (3, 3))
TOKENS = jnp.zeros((2, 5), int)
ATTENDING = ContextAttention(LSTM(3), Dot(), memory_size=3)


def run(cell, input_size, xs):
    unroll(cell, cell.init(jax.random.key(0), input_size), xs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Zoneout(MLSTM(8), 0.5), "can change alone, got 0.5; drop inputs or outputs"),
        (
            lambda: Dropout(SLSTM(4), state_rate=SLSTMState(0.0, 0.1, 0.0, 0.1)),
            "state_rate must be 0 for c, n, m, which cannot change alone",
        ),
        (
            lambda: Dropout(ATTENDING, state_rate=jax.tree.map(lambda _: 0.1, ATTENDING.roles)),
            "state_rate must be 0 for alignment.weights, which cannot change alone",
        ),
        (lambda: PhasedLSTM(4, ratio_on=0.0), "with ratio_on=0 no unit ever opens"),
        (
            lambda: TimeFreqLSTM(GLSTM(4, groups=2), 8, 4, 2),
            "must be an LSTM with a dense input kernel",
        ),
        (lambda: GridRNN(IntersectionRNN(4)), "must hold its output as h"),
        (lambda: GridRNN(LRU(4, 4)), "must hold its output as h"),
        (lambda: GridRNN(LSTM(3), inputs=0), "inputs must be a list of dimensions, got 0"),
        (lambda: Mogrifier(LRU(4, 2)), "must have a real hidden vector"),
        (lambda: AttentionCell(LRU(4, 2), 3), "the state of the cell must be real"),
        (lambda: GridLSTM(4, 8, 2, 2, blocks=[0, 4]), "block must be a pair of numbers, got 0"),
        (lambda: GridLSTM(4, 8, 2, 2, blocks=[(0.0, 4.5)]), "must be a whole number"),
        (lambda: ConvLSTM((4, 4, 1), 2, 3), "window must be a tuple of sizes, got 3"),
        (lambda: Highway(CONV), "Highway: the outputs of the cell must have one feature axis"),
        (lambda: Mogrifier(CONV), "Mogrifier: the outputs of the cell must have one feature axis"),
        (lambda: LRU(4, 2, r_min="a"), "r_min must be a finite number, got 'a'"),
        (lambda: LSTM(3, forget_bias=float("nan")), "forget_bias must be a finite number, got nan"),
        (lambda: LayerNorm(gain="x"), "gain must be a finite number, got 'x'"),
        (lambda: Residual(LSTM(3), combine=None), "combine must be a function of input and output"),
        (lambda: run(TimeFreqLSTM(LSTM(4), 8, 4, 2), 8, TOKENS), "embed tokens first"),
        (lambda: run(GridLSTM(3, 8, 4, 2), 8, TOKENS), "embed tokens first"),
        (lambda: run(GridRNN(LSTM(3), inputs=(0, 1)), 4, TOKENS), "embed tokens first"),
        (
            lambda: run(Stack([LSTM(4), PhasedLSTM(4)]), 3, jnp.ones((2, 5, 3), "f4")),
            "inputs must be TimedInputs(times, features)",
        ),
        (
            lambda: run(InputProjection(PhasedLSTM(4), 3), 3, jnp.ones((2, 5, 3), "f4")),
            "inputs must be TimedInputs(times, features)",
        ),
        (lambda: run(CONV, (4, 4, 1), jnp.ones((2, 5, 4, 4, 1), bool)), "xs must hold floats, got"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()
