"""The n-gram targets of the character model."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from experiments.char_model import train as training
from experiments.char_model.config import Config, build_model
from experiments.char_model.rows import make_rows
from experiments.char_model.text import read_text
from seqjax import sequence_loss, unroll
from seqjax.data.ngram_targets import ngram_targets
from seqjax.devices import data_mesh

CONFIG = Config(cell="gru", units=8, embedding_size=4, batch_size=4, num_steps=10,
                ngram_targets=0.25, ngram_order=3)  # fmt: skip


def test_soft_targets_are_those_of_the_same_characters(corpus):
    """The loss that is minimised mixes in the loss under the distribution at each place."""
    config = dataclasses.replace(CONFIG, corpus=corpus)
    text = read_text(config)
    rows = make_rows(config, text, Console(quiet=True))
    soft = ngram_targets(text.train, 3, text.vocabulary.size)
    length = rows.targets.shape[1]
    for row, place in ((0, 0), (2, 31), (3, length - 1)):
        at = row * length + place + 1
        assert rows.targets[row, place] == text.train[at]
        np.testing.assert_array_equal(rows.soft.tokens[row, place], soft.tokens[at])
        np.testing.assert_array_equal(rows.soft.probabilities[row, place], soft.probabilities[at])

    model = build_model(config, text.vocabulary.size)
    mesh = data_mesh(config.batch_size)
    start = training.spread(mesh, training.init_state(config, model))
    params = jax.tree.map(jnp.copy, start.params)
    data = training.spread_block(mesh, config, rows, 1, 1)._replace(
        weight=np.full(1, 0.25, np.float32)
    )
    block = training.make_block(config, model, mesh)
    after, losses = block(start, data, np.ones(1, np.float32), np.int32(1))

    span = slice(config.num_steps, 2 * config.num_steps)
    xs, ys = (jnp.asarray(a[:, span]) for a in (rows.inputs, rows.targets))
    places = np.arange(4)[:, None] * length + np.arange(span.start, span.stop) + 1
    whole = np.zeros((*places.shape, text.vocabulary.size), np.float32)
    np.put_along_axis(whole, soft.tokens[places], soft.probabilities[places], axis=-1)
    mixed = 0.75 * jax.nn.one_hot(ys, text.vocabulary.size) + 0.25 * whole

    def loss_fn(params):
        _, logits = unroll(model, params, xs, deterministic=True)
        return optax.softmax_cross_entropy(logits, mixed).mean(), sequence_loss(logits, ys)

    gradient, of_characters = jax.grad(loss_fn, has_aux=True)(params)
    assert losses[0] == pytest.approx(float(of_characters), rel=1e-5)
    optimizer = config.optimizer_chain
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    jax.tree.map(
        lambda p, u, new: np.testing.assert_allclose(new, p - u, rtol=1e-3, atol=1e-3),
        params, updates, after.params,
    )  # fmt: skip


def test_a_text_too_large_for_soft_targets_is_learned_as_it_is(corpus, monkeypatch, capsys):
    config = dataclasses.replace(CONFIG, corpus=corpus)
    monkeypatch.setattr("experiments.char_model.rows.LARGEST", 1000)
    assert make_rows(config, read_text(config), Console()).soft is None
    assert "are too many for n-gram targets" in capsys.readouterr().out
