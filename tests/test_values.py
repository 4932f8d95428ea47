"""Cells are plain values, and what makes no sense is refused by a clear error."""

import copy
import pickle
import pkgutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import seqjax
from seqjax import GRU, LSTM, Dropout, LearnedState, Residual, Stack
from seqjax.cells import LayerNorm, LSTMState
from tests.cells.registry import first_plus_output

CELLS = [
    LSTM(4),
    LSTM(4, activation=jax.nn.relu, layer_norm=LayerNorm(gain=0.5)),
    Residual(LSTM(4), combine=first_plus_output),
    Stack([LearnedState(GRU(3)), Dropout(LSTM(2), state_rate=LSTMState(0.1, 0.2))]),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_copies_and_pickles_equal_the_original(cell):
    for twin in (copy.copy(cell), copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert twin == cell
        assert hash(twin) == hash(cell)
        assert repr(twin) == repr(cell)


def test_a_pickle_is_read_by_another_process(tmp_path):
    path = tmp_path / "cell.pickle"
    path.write_bytes(pickle.dumps(CELLS[1]))
    code = f"import pickle; print(pickle.load(open({str(path)!r}, 'rb')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == repr(CELLS[1])


def test_a_repr_shows_what_differs_from_the_defaults():
    assert repr(LSTM(4)) == "LSTM(4)"
    assert repr(LSTM(4, activation=jnp.sin, peepholes=True)) == (
        "LSTM(4, activation=sin, peepholes=True)"
    )
    assert repr(Stack([GRU(3), GRU(2, reset_after=True)])) == (
        "Stack((GRU(3), GRU(2, reset_after=True)))"
    )


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(seqjax.__path__)])
def test_submodules_are_there_when_they_are_used(name):
    assert getattr(seqjax, name).__name__ == f"seqjax.{name}"
    assert name in dir(seqjax)


def test_there_are_few_names_at_the_top():
    assert len(seqjax.__all__) <= 55
    with pytest.raises(AttributeError, match="has no attribute 'lstm'"):
        _ = seqjax.lstm


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LSTM(4).init(0, 3), r"key must be one key, such as jax.random.key\(0\), got 0"),
        (lambda: LSTM(4).init(jax.random.split(jax.random.key(0)), 3), "key must be one key"),
        (lambda: LSTM(4).init(jax.random.key(0), 0), "input_size must be a whole number"),
        (lambda: GRU(4).init(jax.random.key(0), 3, int), "dtype must be floating"),
        (lambda: Stack([GRU(4)]).initial_state(2), r"such as \(32,\), got 2"),
        (lambda: GRU(4).initial_state((-1,)), "batch_shape must be a tuple of sizes"),
        (lambda: LSTM(4, peepholes="no"), "peepholes must be True or False, got 'no'"),
        (lambda: GRU(4, gate_activation="relu"), "gate_activation must be a function"),
        (lambda: LSTM(4, forget_bias=float("nan")), "forget_bias must be a finite number"),
    ],
)
def test_bad_arguments_are_clear_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: seqjax.LSTM(10, 20),  # not as in PyTorch: features, units
        lambda: seqjax.UGRNN(10, 20),
        lambda: seqjax.NAS(10, 20),
        lambda: seqjax.SLSTM(10, 20),
        lambda: seqjax.GLSTM(10, 20),
        lambda: seqjax.MinLSTM(10, 20),
        lambda: seqjax.GRU(10, 20),
    ],
)
def test_options_of_a_cell_are_given_by_name(make):
    with pytest.raises(TypeError, match="takes 2 positional arguments"):
        make()
