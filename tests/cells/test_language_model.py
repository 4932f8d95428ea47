"""A language model merges its embedding with the first product where that changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GLSTM,
    GRU,
    LSTM,
    MGU,
    BasicRNN,
    Bidirectional,
    CoupledInputForgetGateLSTM,
    Dropout,
    IndyLSTM,
    LanguageModel,
    Residual,
    Stack,
    unroll,
)
from seqjax.cells import LayerNorm
from seqjax.operations.affine import affine

V, E, B, T = 7, 4, 3, 6
MERGED = [
    LSTM(4, peepholes=True),
    LSTM(4, layer_norm=LayerNorm()),
    CoupledInputForgetGateLSTM(4),
    IndyLSTM(4),
    GRU(4),
    GRU(4, reset_after=True),
    BasicRNN(4),
    Dropout(LSTM(4, recurrent_dropout=0.5), output_rate=0.5),
    Bidirectional(GRU(4), MGU(3)),
    Dropout(GRU(4), state_rate=0.5),
    Stack([Dropout(GRU(4), output_rate=0.5), Residual(LSTM(4))]),
]
APART = [Residual(LSTM(4)), Dropout(GRU(4), input_rate=0.5), GLSTM(4, groups=2)]


def model_and_data(cell, dtype=jnp.float64):
    model = LanguageModel(cell, V, E)
    params = model.init(jax.random.key(0), V, dtype)
    return model, params, jax.random.randint(jax.random.key(1), (B, T), 0, V)


def loss(logits):
    return (
        logits * jnp.sin(jnp.arange(logits.size, dtype=logits.dtype)).reshape(logits.shape)
    ).sum()


@pytest.mark.slow
@pytest.mark.parametrize("cell", [*MERGED, *APART], ids=lambda cell: type(cell).__name__)
def test_merged_or_not_values_and_gradients_are_those_of_embedded_features(cell):
    model, params, tokens = model_and_data(cell)
    merged = cell.merge_embedding(params.cell, params.embedding_kernel)
    assert (merged is None) == (cell in APART)
    lengths, key = jnp.array([6, 2, 0]), jax.random.key(2)

    def by_model(params):
        return loss(unroll(model, params, tokens, lengths=lengths, key=key)[1])

    def by_features(params):
        xs = affine(tokens, params.embedding_kernel)
        _, hs = unroll(cell, params.cell, xs, lengths=lengths, key=key)
        logits = affine(hs, params.readout_kernel, params.readout_bias)
        counts = jnp.arange(T)[None] < lengths[:, None]
        return loss(jnp.where(counts[..., None], logits, 0))

    ours, expected = (jax.jit(jax.value_and_grad(f))(params) for f in (by_model, by_features))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-11, 1e-11), ours, expected)


def test_the_merged_product_does_not_grow_with_the_tokens():
    model, params, _ = model_and_data(LSTM(4))

    def products(T):
        tokens = jax.ShapeDtypeStruct((B, T), "int32")
        jaxpr = str(jax.make_jaxpr(lambda p, t: unroll(model, p, t))(params, tokens))
        return [line for line in jaxpr.splitlines() if "dot_general" in line]

    with_table = f"f64[{V},16] = dot_general"
    assert any(with_table in line for line in products(T))
    # one token a row: fewer than there are kinds of, so the rows are multiplied
    assert not any(with_table in line for line in products(1))


@pytest.mark.parametrize("method", ["auto", "scan"])
def test_a_bfloat16_model_keeps_its_float32_state(method):
    model, params, tokens = model_and_data(Stack([LSTM(4), GRU(4)]), jnp.bfloat16)
    state, logits = unroll(model, params, tokens, method=method)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {"float32"}
    _, plain = unroll(model, jax.tree.map(lambda p: p.astype(jnp.float32), params), tokens)
    np.testing.assert_allclose(logits, plain, atol=0.03)
    grads = jax.grad(lambda p: loss(unroll(model, p, tokens, method=method)[1]))(params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(grads)} == {"bfloat16"}
