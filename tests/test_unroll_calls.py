"""Calls of `unroll` with bad input, and the errors that say what to do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LSTM, Cell, Dropout, Stack, unroll

B, T, D, H = 2, 4, 2, 3


class WithMore(LSTM):
    """Not a dataclass of its own, so that all with so many units compare equal."""

    def __init__(self, units):
        super().__init__(units)
        object.__setattr__(self, "extra", units)


class Plain(Cell):
    """A cell that is no dataclass."""

    init = initial_state = input_size = output_size = project = step = None

    def __init__(self, units):
        self.units = units


@dataclasses.dataclass
class Thawed(Plain):
    """A dataclass that is not frozen."""

    units: int


GOOD = LSTM(H)
GOOD_PARAMS = GOOD.init(jax.random.key(0), D, jnp.float64)
GOOD_STATE = GOOD.initial_state((B,), jnp.float64)
GOOD_XS = jnp.zeros((B, T, D))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xs": jnp.zeros(D)}, r"expected features \[..., T, 2\] with a time axis, got xs of shap"),
        ({"xs": jnp.zeros((), int)}, r"expected tokens \[..., T\] with a time axis"),
        ({"xs": jnp.zeros((B, T, 7))}, "are for 2 input features, got xs of shape \\(2, 4, 7\\)"),
        ({"xs": jnp.zeros((B, T), bool)}, "must hold floats or integer tokens"),
        ({"xs": [[1.0, 2.0]]}, "must be one array, got a list"),
        ({"xs": jnp.zeros((0, T, D))}, "the batch must not be empty"),
        ({"xs": jnp.array([[0, 2]])}, r"xs must lie in \[0, 1\], the vocabulary, got 2 at index"),
        ({"xs": jnp.array([[-1, 0]])}, r"got -1 at index \(0, 0\)"),
        ({"lengths": np.array([5, 0])}, r"lengths must lie in \[0, 4\].*got 5 at index 0"),
        ({"lengths": np.array([0, -1])}, r"got -1 at index 1"),
        ({"lengths": np.array([1, 2, 3])}, r"lengths must be integers of shape \(2,\)"),
        ({"lengths": np.array([1.0, 2.0])}, "lengths must be integers"),
        ({"mask": np.ones((B, T))}, "mask must be bool of shape"),
        ({"mask": np.ones((T, B), bool)}, "mask must be bool of shape"),
        (
            {"lengths": np.array([1, 2]), "mask": np.ones((B, T), bool)},
            "lengths and mask were both given",
        ),
        (
            {"params": GRU(H).init(jax.random.key(0), D)},
            r"must have the structure that LSTM\(3\).init returns: ",
        ),
        ({"params": None}, r"params must have the structure that LSTM\(3\).init returns, got"),
        (
            {"params": LSTM(H + 1).init(jax.random.key(0), D)},
            r"params\.input_kernel must have shap",
        ),
        ({"cell": Stack([GOOD, GOOD]), "params": (GOOD_PARAMS,)}, "must have the structure"),
        (
            {"cell": LSTM(H, peepholes=True)},
            "params are for a cell with peepholes=False, but the cell is",
        ),
        (
            {"cell": GRU(H, reset_after=True), "params": GRU(H).init(jax.random.key(0), D)},
            "params are for a cell with reset_after=False",
        ),
        ({"xs": jnp.zeros((B, T, D), int)}, "integers are tokens .*; cast .* 2 features"),
        ({"key": 0}, r"key must be one key, such as jax.random.key\(0\), got 0"),
        ({"cell": Dropout(GOOD, 0.5)}, "draws noise: give key=.* in training, or deterministic=T"),
        ({"key": jax.random.key(0), "deterministic": True}, "were both given; give key in train"),
        ({"cell": Plain(H)}, r"Plain must be a frozen dataclass; put @dataclasses"),
        ({"cell": Thawed(H)}, "Thawed must be a frozen dataclass; add frozen=True"),
        ({"cell": WithMore(H)}, "WithMore has attributes that are not fields: extra"),
        ({"initial_state": GOOD_STATE[0]}, "initial_state must have the structure"),
        ({"initial_state": GOOD.initial_state((3,), jnp.float64)}, r"initial_state\.c must be"),
        ({"initial_state": GOOD.initial_state((B,), jnp.float32)}, "must be float64 of shape"),
        ({"method": "fast"}, "must be one of 'auto', 'scan', 'static', 'associative', 'cudnn'"),
        ({"method": "associative"}, r"needs a linear cell, but LSTM\(3"),
        ({"cell": LSTM}, "cell must be a seqjax cell"),
    ],
)
def test_bad_input_is_a_clear_error(changes, message):
    arguments = {"cell": GOOD, "params": GOOD_PARAMS, "xs": GOOD_XS, **changes}
    with pytest.raises(ValueError, match=message):
        unroll(**arguments)
