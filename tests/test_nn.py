"""The nnx layers are `unroll` with parameters inside."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import seqjax
from seqjax import GRU, LSTM, Dropout, Stack, sequence_loss, unroll
from seqjax.nn import Bidirectional, Recurrent, SequenceModel
from seqjax.wrappers import Directions

B, T, D = 3, 5, 2
XS = jax.random.normal(jax.random.key(1), (B, T, D), jnp.float64)
LENGTHS = jnp.array([T, 2, 0])


@pytest.fixture(autouse=True, params=["trees", "graphs"])
def _both_modes_of_nnx(request):
    """Modules as trees, to be the default of NNX, and as graphs, its default so far."""
    graphs = request.param == "graphs"
    with nnx.set_graph_mode(graphs), nnx.set_graph_updates(graphs):
        yield


def close(actual, expected):
    compare = functools.partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-12)
    jax.tree.map(compare, actual, expected)


def test_recurrent_is_unroll_jitted_and_differentiated():
    cell = Stack([LSTM(4), Dropout(GRU(3), input_rate=0.5)])
    layer = Recurrent(cell, D, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    options = {"lengths": LENGTHS, "key": jax.random.key(2), "reverse": True}
    params = nnx.as_pure(layer.params)
    expected = unroll(cell, params, XS, **options)
    close(layer(XS, **options), expected)
    close(nnx.jit(lambda layer: layer(XS, **options))(layer), expected)
    # the layer's stream of keys is not differentiable: split it off, as for `nnx.Dropout`
    graph, variables, rest = nnx.split(layer, nnx.Param, ...)
    grads = nnx.grad(lambda p: (nnx.merge(graph, p, rest)(XS, **options)[1] ** 2).sum())(variables)
    nnx.update(layer, grads)
    close(
        nnx.as_pure(layer.params),
        jax.grad(lambda p: (unroll(cell, p, XS, **options)[1] ** 2).sum())(params),
    )


def test_bidirectional_is_a_bidirectional_cell():
    layer = Bidirectional(LSTM(4), GRU(3), D, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    params = nnx.as_pure(layer.params)
    assert isinstance(params, Directions)
    expected = unroll(seqjax.Bidirectional(LSTM(4), GRU(3)), params, XS, lengths=LENGTHS)
    close(nnx.jit(lambda layer: layer(XS, lengths=LENGTHS))(layer), expected)


def test_a_noisy_layer_obeys_train_and_eval():
    cell = Dropout(GRU(3), input_rate=0.5)
    layer = Recurrent(cell, D, param_dtype=jnp.float64, rngs=nnx.Rngs(0, dropout=1))
    silent = unroll(cell, nnx.as_pure(layer.params), XS, deterministic=True)[1]
    run = nnx.jit(lambda layer: layer(XS)[1])
    first, second = run(layer), run(layer)
    assert (first != silent).any()
    assert (first != second).any(), "each call draws from the stream"
    layer.eval()
    close(run(layer), silent)
    layer.train()
    assert (run(layer) != silent).any()
    close(layer(XS, deterministic=True)[1], silent)
    again = Recurrent(cell, D, param_dtype=jnp.float64, rngs=nnx.Rngs(0, dropout=1))
    close(run(again), first)


def test_a_sequence_model_learns_and_keeps_padding_out():
    model = SequenceModel(
        GRU(16), vocabulary_size=5, embedding_size=8, num_classes=5, rngs=nnx.Rngs(0)
    )
    tokens = jnp.array([[0, 1, 2, 3, 4], [3, 4, -7, 99, 0]])
    lengths = jnp.array([5, 2])
    assert not model(tokens, lengths=lengths)[1][1, 2:].any()
    optimizer = nnx.Optimizer(model, optax.adagrad(0.5), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            _, logits = model(tokens, lengths=lengths)
            return sequence_loss(logits, (tokens + 1) % 5, lengths=lengths)

        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads)
        return value

    losses = [step(model, optimizer) for _ in range(40)]
    assert losses[0] > 1
    assert losses[-1] < 0.1


def test_layers_of_one_model_draw_parameters_of_their_own():
    rngs = nnx.Rngs(0)
    first, second = Recurrent(GRU(3), D, rngs=rngs), Recurrent(GRU(3), D, rngs=rngs)
    assert (first.params.input_kernel[...] != second.params.input_kernel[...]).any()


def test_bad_sizes_are_clear_errors():
    with pytest.raises(ValueError, match="GRU: input_size must be a whole number"):
        Recurrent(GRU(3), 0, rngs=nnx.Rngs(0))
    with pytest.raises(
        ValueError, match=r"rngs must be flax.nnx.Rngs, such as nnx.Rngs\(0\), got 0"
    ):
        Recurrent(GRU(3), D, rngs=0)
