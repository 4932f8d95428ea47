"""The training step of the character model: which rows, states and rates it takes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.char_model import train as training
from experiments.char_model.config import Config, build_model
from experiments.char_model.evaluation import token_losses
from experiments.char_model.rows import make_rows
from experiments.char_model.text import read_text
from experiments.char_model.train import learning_rate
from seqjax import (
    GRU,
    LanguageModel,
    LearnedState,
    sequence_loss,
    unroll,
)
from seqjax.devices import data_mesh
from tests.experiments.small_char_model import SMALL


def test_with_true_truncation_a_step_reads_two_chunks_and_scores_the_second():
    config = Config(cell="gru", units=8, batch_size=2, num_steps=5, truncation="true")
    rows = np.random.default_rng(1).integers(0, 7, (2, 22)).astype(np.int32)
    data = training.block_data(config, training.Rows(rows[:, :-1], rows[:, 1:]), 0, 2)
    assert training.steps_per_epoch(config, 21) == 3
    model = build_model(config, 7)
    state = training.init_state(config, model)
    between, _ = unroll(model, state.params, rows[:, :5])
    _, logits = unroll(model, state.params, rows[:, :10])
    block = training.make_block(config, model, data_mesh(2))
    state = training.spread(data_mesh(2), state)
    after, losses = block(state, data, jnp.zeros(2), jnp.int32(1))
    np.testing.assert_allclose(after.carry.h, between.h, rtol=1e-5)
    np.testing.assert_allclose(losses[0], sequence_loss(logits[:, 5:], rows[:, 6:11]), rtol=1e-5)


def test_a_fresh_state_is_zero_and_comes_to_each_row_by_itself():
    config = Config(cell="gru", units=8, batch_size=16, num_steps=5, fresh_state=0.5)
    rows = np.random.default_rng(1).integers(0, 7, (16, 21)).astype(np.int32)
    model, mesh = build_model(config, 7), data_mesh(16)

    def step(config, carry):
        data = training.block_data(config, training.Rows(rows[:, :-1], rows[:, 1:]), 1, 1)
        state = training.init_state(config, model)
        # the second chunk, of which no row would be fresh by itself
        state = state._replace(step=state.step + 1, carry=carry)
        block = training.make_block(config, model, mesh)
        return block(training.spread(mesh, state), data, jnp.zeros(1), jnp.int32(1))

    ones = jax.tree.map(jnp.ones_like, model.initial_state((16,)))
    zeros = jax.tree.map(jnp.zeros_like, ones)
    given, fresh, carried = (
        step(config, ones)[0].carry.h,
        step(config, zeros)[0].carry.h,
        step(dataclasses.replace(config, fresh_state=0.0), ones)[0].carry.h,
    )
    is_fresh = (given == fresh).all(1)
    assert 0 < is_fresh.sum() < 16
    np.testing.assert_array_equal(given, jnp.where(is_fresh[:, None], fresh, carried))


def test_rows_start_from_a_learned_state_which_is_trained():
    config = Config(cell="gru", units=8, batch_size=4, num_steps=5)
    rows = np.random.default_rng(1).integers(0, 7, (4, 11)).astype(np.int32)
    model, mesh = LanguageModel(LearnedState(GRU(3)), 7), data_mesh(4)
    start = training.init_state(config, model)
    start = start._replace(
        params=jax.tree.map(lambda p: p + 0.5, start.params),
        carry=jax.tree.map(jnp.ones_like, start.carry),  # of an epoch before
    )
    params = jax.tree.map(jnp.copy, start.params)
    _, logits = unroll(model, params, rows[:, :5])
    data = training.block_data(config, training.Rows(rows[:, :-1], rows[:, 1:]), 0, 1)
    block = training.make_block(config, model, mesh)
    after, losses = block(training.spread(mesh, start), data, jnp.full(1, 0.1), jnp.int32(1))
    assert losses[0] == pytest.approx(float(sequence_loss(logits, rows[:, 1:6])), rel=1e-5)
    assert np.abs(after.params.cell.state.h - params.cell.state.h).min() > 1e-4

    _, logits = unroll(model, params, rows[:1, :-1])
    expected = sequence_loss(logits, rows[:1, 1:], average_over_time=False)
    found = token_losses(model, params, rows[0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_learning_rate_warms_up_and_cools_down():
    config = dataclasses.replace(SMALL, learning_rate=1.0, warm_up=10)
    rates = [learning_rate(config, step, step / 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1, rel=1e-3)
    assert rates[4] == pytest.approx(0.5, rel=1e-2)
    assert np.argmax(rates) == 9
    assert rates[55] == pytest.approx((1 + 0.01) / 2 - 0.495 * np.sin(0.05 * np.pi))
    assert rates[100] == pytest.approx(0.01)
    assert np.all(np.diff(rates[9:]) < 0)
    constant = dataclasses.replace(config, schedule="constant", warm_up=0)
    assert {learning_rate(constant, step, step / 100) for step in range(101)} == {1.0}


def test_the_members_of_an_ensemble_train_as_if_alone(corpus):
    config = dataclasses.replace(
        SMALL, corpus=corpus, input_dropout=0.0, weight_dropout=0.0, clip=0.05, members=2
    )
    alone = dataclasses.replace(config, members=1)
    text = read_text(config)
    rows = make_rows(config, text, Console(quiet=True))
    rates = np.full(5, 0.01, np.float32)

    def after_five_steps(config, state, model):
        mesh = data_mesh(config.batch_size)
        data = training.spread_block(mesh, config, rows, 0, 5)._replace(
            weight=np.full(5, 0.5, np.float32)
        )
        block = training.make_block(config, model, mesh)
        return block(training.spread(mesh, state), data, rates, np.int32(5))

    ensemble = build_model(config, text.vocabulary.size)
    start = training.init_state(config, ensemble)
    copies = jax.tree.map(np.asarray, (start.params, start.carry))
    together, losses = after_five_steps(config, start, ensemble)
    each = []
    for n, member in enumerate(ensemble.members):
        params, carry = (jax.tree.map(jnp.asarray, part[n]) for part in copies)
        state = training.init_state(alone, member)._replace(
            params=params, average=jax.tree.map(jnp.copy, params), carry=carry
        )
        end, own = after_five_steps(alone, state, member)
        each.append(own)
        for ours, theirs in ((together.params[n], end.params), (together.average[n], end.average)):
            jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), ours, theirs)
    np.testing.assert_allclose(losses, np.mean(each, 0), rtol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 1e-3
