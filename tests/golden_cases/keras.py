"""Keras 3's layers, and what they put out at masked steps."""

import functools
import operator

import jax
import jax.numpy as jnp

from seqjax import GRU, LSTM, BasicRNN, Bidirectional, unroll
from seqjax.interop import keras
from seqjax.wrappers import Directions
from tests.golden_cases.harness import Case, Inputs, state_leaves, unflatten_state


def weights(inputs: Inputs, scope=""):
    """As ``get_weights`` orders them; the bias may be missing."""
    names = "__kernel", "__recurrent_kernel", "__bias"
    return [inputs[key] for name in names for key in inputs if key.endswith(name) and scope in key]


def repeat_last(ys, mask):
    """Put the output of the last step that counts in the place of each one that does not."""
    steps = jnp.broadcast_to(jnp.arange(mask.shape[1]), mask.shape)
    last = jax.lax.cummax(jnp.where(mask, steps, -1), axis=1)
    repeated = jnp.take_along_axis(ys, jnp.maximum(last, 0)[..., None], axis=1)
    return jnp.where(last[..., None] >= 0, repeated, 0)


def layer(cell, from_weights, zero_output_for_mask=False, method="auto"):
    """States come as h before c, or not at all."""

    def run(inputs: Inputs):
        leaves, mask = state_leaves(inputs)[::-1], inputs.get("in.mask")
        state, ys = unroll(
            cell,
            from_weights(*weights(inputs)),
            inputs["in.x"],
            mask=mask,
            initial_state=unflatten_state(cell, leaves) if leaves else None,
            method=method,
        )
        if mask is not None and not zero_output_for_mask:
            ys = repeat_last(ys, mask)
        return ys, jax.tree.leaves(state)[::-1]

    return Case(run)


def both(cell, from_weights, merge):
    """``Bidirectional``, whose outputs at masked steps are zero."""

    def run(inputs: Inputs):
        leaves = state_leaves(inputs)
        half = len(leaves) // 2
        state, ys = unroll(
            Bidirectional(cell, cell),
            Directions(*(from_weights(*weights(inputs, s)) for s in ("forward_", "backward_"))),
            inputs["in.x"],
            mask=inputs.get("in.mask"),
            initial_state=Directions(
                unflatten_state(cell, leaves[:half][::-1]),
                unflatten_state(cell, leaves[half:][::-1]),
            ),
        )
        return merge(*jnp.split(ys, 2, axis=-1)), [
            leaf for one in state for leaf in jax.tree.leaves(one)[::-1]
        ]

    return Case(run)


def concatenate(forward, backward):
    return jnp.concatenate([forward, backward], axis=-1)


GRU_AFTER = layer(GRU(4, reset_after=True), keras.from_gru)
GRU_BEFORE = layer(GRU(4), functools.partial(keras.from_gru, reset_after=False))
LSTM_LAYER = layer(LSTM(4), keras.from_lstm)
LSTM_ZERO_OUTPUT = layer(LSTM(4), keras.from_lstm, zero_output_for_mask=True)
CASES = {
    "keras_bidir_gru_sum_nomask": both(GRU(4, reset_after=True), keras.from_gru, operator.add),
    "keras_bidir_lstm_concat_nomask": both(LSTM(4), keras.from_lstm, concatenate),
    "keras_bidir_lstm_concat_right": both(LSTM(4), keras.from_lstm, concatenate),
    "keras_gru_reset_after_nomask": GRU_AFTER,
    "keras_gru_reset_after_right": GRU_AFTER,
    "keras_gru_reset_before_left": GRU_BEFORE,
    "keras_gru_reset_before_nomask": GRU_BEFORE,
    "keras_gru_reset_before_right": GRU_BEFORE,
    "keras_lstm_left": LSTM_LAYER,
    "keras_lstm_nobias_nomask": LSTM_LAYER,
    "keras_lstm_noinit_right": LSTM_LAYER,
    "keras_lstm_nomask": LSTM_LAYER,
    "keras_lstm_right": LSTM_LAYER,
    "keras_lstm_unroll_right": layer(LSTM(4), keras.from_lstm, method="static"),
    "keras_lstm_zero_output_for_mask_right": LSTM_ZERO_OUTPUT,
    "keras_rnn_lstmcell_zero_output_for_mask_right": LSTM_ZERO_OUTPUT,
    "keras_simplernn_right": layer(BasicRNN(4), keras.from_simple_rnn),
}
