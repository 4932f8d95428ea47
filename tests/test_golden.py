"""Equality, in value and gradient, with vectors computed by the original implementations.

Each case differentiates through the mapping of weights, so that gradients compare in the layout of
the original. ``grad.*`` is the gradient of ``sum(outputs * cot.outputs)``; ``gradall.*`` adds
``sum(final state * cot.state)``.
"""

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GRU,
    LSTM,
    BasicRNN,
    BasicRNNParams,
    Cell,
    GRUParams,
    LSTMParams,
    Stack,
    sequence_loss,
    unroll,
)

FOLDER = pathlib.Path(__file__).parent / "golden"
TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def rnn_params(get, units=4):
    kernel = get("kernel")
    return BasicRNNParams(kernel[:-units], kernel[-units:], get("bias"))


def gru_params(get, units=4):
    gates, candidate = get("gates__kernel"), get("candidate__kernel")
    return GRUParams(
        jnp.concatenate([gates[:-units], candidate[:-units]], 1),
        gates[-units:],
        candidate[-units:],
        jnp.concatenate([get("gates__bias"), get("candidate__bias")]),
    )


def lstm_params(get, units=4, forget_bias=1.0):
    """TensorFlow's columns are i, j, f, o, and its forget bias is added at run time."""

    def reorder(a):
        i, j, f, o = jnp.split(a, 4, axis=-1)
        return jnp.concatenate([i, f, j, o], axis=-1)

    kernel, bias = reorder(get("kernel")), reorder(get("bias"))
    return LSTMParams(kernel[:-units], kernel[-units:], bias.at[units : 2 * units].add(forget_bias))


def stacked(*layers):
    def params(get):
        return tuple(
            layer(lambda name, n=n: get(f"cell_{n}__", name)) for n, layer in enumerate(layers)
        )

    return params


class Case(NamedTuple):
    cell: Cell
    params: Callable[[Callable], Any]
    method: str = "scan"
    concatenated: bool = False  # the state is one array


LSTM4 = Case(LSTM(4), lstm_params)
CASES = {
    "core_basic_lstm": LSTM4,
    "core_basic_lstm_f32": LSTM4,
    "core_basic_lstm_nan_padding_dynamic": LSTM4,
    "core_basic_lstm_nan_padding_static": LSTM4._replace(method="static"),
    "core_basic_lstm_noseqlen_zeroinit": LSTM4,
    "core_basic_lstm_relu": Case(LSTM(4, activation=jax.nn.relu), lstm_params),
    "core_basic_lstm_seq_max_lt_T": LSTM4,
    "core_basic_lstm_static": LSTM4._replace(method="static"),
    "core_basic_rnn": Case(BasicRNN(4), rnn_params),
    "core_basic_rnn_noseqlen_zeroinit": Case(BasicRNN(4), rnn_params),
    "core_gru": Case(GRU(4), gru_params),
    "core_gru_static": Case(GRU(4), gru_params, method="static"),
    "core_multi_2xlstm": Case(Stack([LSTM(4), LSTM(4)]), stacked(lstm_params, lstm_params)),
    "core_multi_state_not_tuple": Case(
        Stack([GRU(4), GRU(3)]),
        stacked(gru_params, lambda get: gru_params(get, 3)),
        concatenated=True,
    ),
}
OPS = {"core_grublockcell"}  # a single step, tested on its own
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


def test_every_vector_here_is_used():
    assert {path.stem for path in FOLDER.glob("*.npz")} == {*CASES, *OPS, *LOSSES}


@pytest.mark.parametrize("name", CASES)
def test_cell_equals_the_original(name):
    case, data = CASES[name], load(name)
    inputs = {**part(data, "var."), **part(data, "in.x"), **part(data, "in.state.")}
    cots = [*part(data, "cot.state.").values()]

    def run(inputs):
        def get(*parts):
            (key,) = (k for k in inputs if all(p in k for p in parts) and k.endswith(parts[-1]))
            return inputs[key]

        like = case.cell.initial_state((3,), inputs["in.x"].dtype)
        leaves = [*part(inputs, "in.state.").values()]
        if case.concatenated:
            widths = [leaf.shape[-1] for leaf in jax.tree.leaves(like)]
            leaves = jnp.split(leaves[0], np.cumsum(widths)[:-1], axis=-1)
        state, ys = unroll(
            case.cell,
            case.params(get),
            inputs["in.x"],
            lengths=data.get("in.sequence_length"),
            initial_state=jax.tree.unflatten(jax.tree.structure(like), leaves),
            method=case.method,
        )
        leaves = jax.tree.leaves(state)
        return ys, [jnp.concatenate(leaves, axis=-1)] if case.concatenated else leaves

    def loss(inputs, with_state):
        ys, state = run(inputs)
        total = (ys * data["cot.outputs"]).sum()
        if with_state:
            total += sum((s * cot).sum() for s, cot in zip(state, cots, strict=True))
        return total

    ys, state = run(inputs)
    close(ys, data["out.outputs"])
    for leaf, expected in zip(state, part(data, "out.state.").values(), strict=True):
        close(leaf, expected)
    clean = {**inputs, "in.x": jnp.nan_to_num(inputs["in.x"])}
    for prefix, with_state in (("grad.", False), ("gradall.", True)):
        expected = part(data, prefix)
        assert len(expected) == len(inputs)
        grads = jax.grad(loss)(inputs, with_state)
        grads_of_clean = jax.grad(loss)(clean, with_state)
        for key, value in grads.items():
            if "nan_padding" in name:  # the original's gradient is NaN there, ours is that of 0
                assert jnp.isnan(expected[prefix + key]).any()
                np.testing.assert_array_equal(value, grads_of_clean[key])
                assert jnp.isfinite(value).all()
            else:
                close(value, expected[prefix + key])


def test_gru_block_cell_is_a_step_of_the_gru():
    data = load("core_grublockcell")

    def run(inputs):
        params = gru_params(
            {
                "gates__kernel": inputs["in.w_ru"],
                "candidate__kernel": inputs["in.w_c"],
                "gates__bias": inputs["in.b_ru"],
                "candidate__bias": inputs["in.b_c"],
            }.get,
            units=inputs["in.h_prev"].shape[-1],
        )
        cell = GRU(inputs["in.h_prev"].shape[-1])
        state = cell.initial_state()._replace(h=inputs["in.h_prev"])
        return cell.step(params, state, cell.project(params, inputs["in.x"]))[1]

    inputs = part(data, "in.")
    close(run(inputs), data["out.outputs.h"])
    grads = jax.grad(lambda inputs: (run(inputs) * data["cot.outputs.h"]).sum())(inputs)
    for key, value in grads.items():
        close(value, data["grad." + key])


@pytest.mark.parametrize("name", LOSSES)
def test_sequence_loss_equals_the_original(name):
    data = load(name)

    def loss(logits, weights):
        return sequence_loss(logits, data["in.targets"], weights=weights, **LOSSES[name])

    close(loss(data["in.logits"], data["in.weights"]), data["out.outputs"])
    grads = jax.grad(lambda *args: (loss(*args) * data["cot.outputs"]).sum(), argnums=(0, 1))(
        data["in.logits"], data["in.weights"]
    )
    close(grads[0], data["grad.in.logits"])
    close(grads[1], data["grad.in.weights"])
