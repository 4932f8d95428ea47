"""What ``--cell`` takes: the names of the catalogue, and a user's own class or function."""

import dataclasses
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tyro

from experiments.cells import NAMES, make_cell
from experiments.char_model.config import Config, build_model, check_model
from experiments.memory_tasks import experiment as memory_tasks
from experiments.stored_config import config_from_json
from seqjax import LSTM, Bidirectional, Cell, Dropout, unroll
from seqjax.operations.affine import affine
from seqjax.operations.initializers import glorot_uniform
from seqjax.types import HiddenState

HERE = __name__


class JanetParams(NamedTuple):
    kernel: Any  # [D, 2H]
    recurrent_kernel: Any  # [H, 2H]
    bias: Any  # [2H]


@dataclasses.dataclass(frozen=True)
class Janet(Cell):
    """A user's cell: an LSTM of which the forget gate alone is left (van der Westhuizen, 2018)."""

    units: int

    @property
    def output_size(self):
        return self.units

    def init(self, key, input_size, dtype=jnp.float32):
        keys, width = jax.random.split(key), 2 * self.units
        return JanetParams(
            glorot_uniform(keys[0], (input_size, width), dtype=dtype),
            glorot_uniform(keys[1], (self.units, width), dtype=dtype),
            jnp.zeros(width, dtype),
        )

    def input_size(self, params):
        return params.kernel.shape[0]

    def initial_state(self, batch_shape=(), dtype=jnp.float32):
        return HiddenState(jnp.zeros((*batch_shape, self.units), dtype))

    def project(self, params, xs, noise=None):
        return affine(xs, params.kernel, params.bias)

    def step(self, params, state, z):
        forget, new = jnp.split(z + affine(state.h, params.recurrent_kernel), 2, axis=-1)
        keep = jax.nn.sigmoid(forget)
        h = keep * state.h + (1 - keep) * jnp.tanh(new)
        return HiddenState(h), h


def noisy_lstm(units):
    return Dropout(LSTM(units), output_rate=0.5)


def no_cell(units):
    return units * "cell"


JANET = f"{HERE}:Janet"


@pytest.mark.parametrize("name", NAMES)
def test_every_name_makes_a_cell_of_so_many_units_on_inputs_of_any_size(name):
    cell = make_cell(name, 6)
    assert cell.output_size == 6
    params = cell.init(jax.random.key(0), 5)
    _, ys = unroll(cell, params, jnp.ones((2, 3, 5), jnp.float32))
    assert ys.shape == (2, 3, 6)


def test_the_names_that_runs_were_made_with_are_still_there():
    assert set(NAMES) >= {
        "rnn", "gru", "lstm", "layer_norm_lstm", "peephole_lstm", "coupled_lstm", "ugrnn", "nas",
        "sru", "indrnn", "indygru", "indylstm", "minimal", "cfn", "mgu", "mingru", "minlstm", "lru",
        "rglru", "slstm", "mlstm", "mogrifier_lstm",
    }  # fmt: skip
    assert len(set(NAMES)) == len(NAMES)


def test_the_command_line_takes_a_users_cell_for_the_character_model():
    config = tyro.cli(Config, args=["--cell", JANET, "--units", "4", "--layers", "2"])
    model = build_model(config, vocabulary_size=5)
    assert model.cell.layers == (Janet(4), Janet(4))
    check_model(config)
    plain = json.loads(json.dumps(dataclasses.asdict(config)))
    assert config_from_json(Config, plain) == config


@pytest.mark.parametrize("cell", ["Janet", pytest.param("noisy_lstm", marks=pytest.mark.slow)])
def test_a_users_cell_is_trained_and_tested(run_module, tmp_path, cell):
    name, out = f"{HERE}:{cell}", tmp_path / "new"
    run_module(
        memory_tasks, "--tasks", "adding", "--cells", name, "--lengths", 3, "--longer", 2,
        "--seeds", 1, "--units", 2, "--steps", 2, "--out", out,
    )  # fmt: skip
    (run,) = json.loads((out / "result.json").read_text())["runs"]
    assert run["cell"] == name
    assert np.isfinite([test["loss"]["mean"] for test in run["tests"]]).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("transformer", "--cell transformer is unknown; give one of rnn, gru, .*package.module:Na"),
        (":Janet", "--cell :Janet is unknown; give one of rnn"),
        ("no.such.module:Janet", "No module named 'no'; run the .* on PYTHONPATH"),
        (f"{HERE}.more:Janet", f"{HERE}.more cannot be imported: ModuleNotFoundError"),
        (f"{HERE}:Jordan", f"{HERE} has no class or function Jordan"),
        (f"{HERE}:JANET", "has no class or function JANET"),
        (f"{HERE}:Janet2", r"--cell .*Janet2 with 2 units: TypeError: .*'gates'"),
        (f"{HERE}:no_cell", r"no_cell with 2 units made 'cellcell', which is not a seqjax.Cell"),
    ],
)
def test_what_names_no_cell_is_a_value_error(name, message):
    with pytest.raises(ValueError, match=message):
        check_model(Config(cell=name, units=2))


def test_what_a_users_module_lacks_itself_is_named(tmp_path, monkeypatch):
    (tmp_path / "needs_more.py").write_text("import a_module_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ValueError, match=r"needs_more cannot .* 'a_module_that_nobody_has'"
    ) as info:
        make_cell("needs_more:Janet", 2)
    assert isinstance(info.value.__cause__, ModuleNotFoundError)


def test_a_language_model_must_not_see_what_it_predicts():
    with pytest.raises(ValueError, match="reads the characters that it has to predict"):
        check_model(Config(cell=f"{HERE}:both_ways"))


def Janet2(units, gates):  # noqa: N802, the cell after a change of its arguments
    return Janet(units)


def both_ways(units):
    return Bidirectional(LSTM(units), LSTM(units))


def test_the_help_lists_the_names(capsys):
    with pytest.raises(SystemExit):
        tyro.cli(Config, args=["--help"])
    printed = "".join(capsys.readouterr().out.split())
    assert all(name in printed for name in (*NAMES, "PACKAGE.MODULE:NAME"))
