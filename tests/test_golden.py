"""Equality, in value and gradient, with vectors computed by the original implementations.

Each case differentiates through the mapping of weights, so that gradients compare in the layout of
the original. ``grad.*`` is the gradient of ``sum(outputs * cot.outputs)``; ``gradall.*`` adds
``sum(final state * cot.state)``.
"""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import sequence_loss
from tests.golden_cases import CASES, NOT_EXPRESSED

FOLDER = pathlib.Path(__file__).parent / "golden"
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
LOSSES = {
    "seq2seq_loss_default": {},
    "seq2seq_loss_default_realweights": {},
    "seq2seq_loss_avg_batch": {"average_over_time": False},
    "seq2seq_loss_avg_time": {"average_over_batch": False},
    "seq2seq_loss_avg_time_zero_row": {"average_over_batch": False},
    "seq2seq_loss_none": {"average_over_time": False, "average_over_batch": False},
}


def load(name):
    with np.load(FOLDER / f"{name}.npz") as data:
        return {key: jnp.asarray(data[key]) for key in data}


def part(data, prefix):
    return {key: value for key, value in data.items() if key.startswith(prefix)}


def close(actual, expected):
    tolerance = TOLERANCE[str(expected.dtype)]
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


def test_every_vector_has_its_case():
    named = [*CASES, *LOSSES]
    vectors = {path.stem for path in FOLDER.glob("*.npz")}
    # those of data are tested in tests/data
    assert {*named} == {name for name in vectors if not name.startswith("data_")}


def compare(name):
    """Compare a case with its vector."""
    case, data = CASES[name], load(name)
    inputs = {**part(data, "var."), **part(data, "in.")}
    floats = {k: v for k, v in inputs.items() if jnp.issubdtype(v.dtype, jnp.floating)}
    constants = {k: v for k, v in inputs.items() if k not in floats} | part(data, "aux.")

    def run(floats):
        ys, state = case.run({**floats, **constants})
        ys = {f"outputs.{k}": y for k, y in (ys if isinstance(ys, dict) else {"": ys}).items()}
        state = {f"state.{n}": leaf for n, leaf in enumerate(state)}
        return {key.rstrip("."): value for key, value in (ys | state).items()}

    @jax.jit  # compiled once and run for both gradients
    def run_with_gradient(floats, cots):
        out, pull_back = jax.vjp(run, floats)
        return out, pull_back(cots)[0]

    cots = {key.removeprefix("cot."): value for key, value in part(data, "cot.").items()}
    cots = {**part(cots, "outputs"), **part(cots, "state.")}
    of_outputs = {k: v if k.startswith("outputs") else np.zeros_like(v) for k, v in cots.items()}

    def run_with_gradients(floats):
        if not case.gradients:
            return jax.jit(run)(floats), {}, {}
        out, grad = run_with_gradient(floats, of_outputs)
        return out, grad, run_with_gradient(floats, cots)[1]

    out, grad, gradall = run_with_gradients(floats)
    expected = {**part(data, "out.outputs"), **part(data, "out.state.")}
    for key, value in expected.items():
        close(out[key.removeprefix("out.")], value)
    clean = {**floats, **{k: jnp.nan_to_num(v) for k, v in part(floats, "in.x").items()}}
    clean_grads = run_with_gradients(clean)[1:] if case.nan_padding else ({}, {})
    aux = bool(part(data, "out.aux."))  # gradall has cotangents for these too
    for prefix, grads, of_clean in zip(
        ("grad.", "gradall."), (grad, gradall), clean_grads, strict=True
    ):
        expected = part(data, prefix)
        if not case.gradients or (prefix == "gradall." and aux):
            continue
        assert len(expected) == len(floats) or prefix == "gradall."
        if case.nan_padding:
            assert any(jnp.isnan(value).any() for value in expected.values())
            for key, value in grads.items():
                assert jnp.isfinite(value).all()
                np.testing.assert_array_equal(value, of_clean[key])
        else:
            for key, value in expected.items():
                close(grads[key.removeprefix(prefix)], value)


# what takes long to compile: loops unrolled in Python, and grids of many windows and blocks; and
# cells of PyTorch and Keras, which are those of TensorFlow
SLOW = re.compile("static|unroll|gridlstm|timefreq|attn_lstm|conv2d|blocks|^torch|^keras")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * bool(SLOW.search(name))) for name in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_cell_equals_the_original(name):
    if name not in NOT_EXPRESSED:
        compare(name)
    else:
        with pytest.raises(AssertionError):
            compare(name)


@pytest.mark.parametrize("name", LOSSES)
def test_sequence_loss_equals_the_original(name):
    data = load(name)

    @jax.jit
    def loss_and_gradients(logits, weights):
        def loss(logits, weights):
            return sequence_loss(logits, data["in.targets"], weights=weights, **LOSSES[name])

        value, pull_back = jax.vjp(loss, logits, weights)
        return value, *pull_back(data["cot.outputs"])

    actual = loss_and_gradients(data["in.logits"], data["in.weights"])
    for value, key in zip(
        actual, ("out.outputs", "grad.in.logits", "grad.in.weights"), strict=True
    ):
        close(value, data[key])
