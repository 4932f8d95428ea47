"""What dropout, zoneout and the connections past a cell do, step by step; and their bad options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import (
    GRU,
    LSTM,
    Dropout,
    Ensemble,
    Highway,
    InputProjection,
    LanguageModel,
    LearnedState,
    OutputProjection,
    Reset,
    Residual,
    ResidualBlock,
    Stack,
    WithState,
    Zoneout,
    unroll,
)
from seqjax.cells import LSTMState
from seqjax.wrappers import ResetInputs
from tests.cells.plain import check
from tests.oracle import gru_step, sigmoid

B, T, D, H = 3, 6, 2, 4
XS = jax.random.normal(jax.random.key(1), (T, B, D), jnp.float64)
KEY = jax.random.key(2)


def at(tree, t):
    return jax.tree.map(lambda a: a[t], tree)


def close(actual, expected):
    jax.tree.map(
        lambda a, e: np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12), actual, expected
    )


def draw_masks(cell, leading_shape=(T, B), input_size=D):
    """The noise of a cell as zeros and ones."""
    noise = cell.draw_noise(KEY, leading_shape, input_size)
    return jax.tree.map(lambda mask: mask.astype(float), noise)


def run(cell, params, xs=XS):
    return unroll(cell, params, xs, key=KEY, time_major=True)


@pytest.mark.parametrize("locked", [False, True])
def test_dropout_written_out(locked):
    lstm = LSTM(H)
    cell = Dropout(lstm, input_rate=0.3, state_rate=0.4, output_rate=0.5, locked=locked)
    params = cell.init(jax.random.key(0), D, jnp.float64)
    noise = draw_masks(cell)
    assert noise.state.c is None
    state, outputs = lstm.initial_state((B,), jnp.float64), []
    for t in range(T):
        z = lstm.project(params, noise.input[t] * XS[t] / 0.7)
        state, y = lstm.step(params, state, z)
        state = state._replace(h=noise.state.h[t] * state.h / 0.6)
        outputs.append(noise.output[t] * y / 0.5)
    close(run(cell, params), (state, jnp.stack(outputs)))


def test_locked_masks_stay_and_fresh_ones_change_and_every_row_has_its_own():
    for locked in (False, True):
        noise = draw_masks(Dropout(GRU(30), 0.3, 0.3, 0.3, locked=locked), (50, 20), 30)
        for kept in (noise.input, noise.state.h, noise.output):
            assert kept.shape == (50, 20, 30)
            assert (kept[:1] == kept).all() == locked
            assert (kept[:, :1] != kept).any()
            assert abs(kept.mean() - 0.7) < 0.05


def test_each_array_of_a_state_has_a_rate_of_its_own():
    cell = Dropout(Stack([LSTM(H), GRU(H)]), state_rate=0.3)
    (lower, upper) = cell.draw_noise(KEY, (T, B), D).state
    assert (lower.c is None, lower.h.shape, upper.h.shape) == (True, (T, B, H), (T, B, H))
    assert (lower.h != upper.h).any()
    noise = Dropout(LSTM(H), state_rate=LSTMState(c=0.3, h=0.0)).draw_noise(KEY, (T, B), D)
    assert (noise.state.c.shape, noise.state.h) == ((T, B, H), None)


def test_zoneout_written_out_and_its_expectation_in_evaluation():
    lstm = LSTM(H)
    cell = Zoneout(lstm, rate=LSTMState(c=0.5, h=0.05))
    params = cell.init(jax.random.key(0), D, jnp.float64)
    updated = draw_masks(cell).updated

    def expected(c_kept, h_kept):
        state, outputs = lstm.initial_state((B,), jnp.float64), []
        for t in range(T):
            new, _ = lstm.step(params, state, lstm.project(params, XS[t]))
            c, h = c_kept[t], h_kept[t]
            state = LSTMState(c * state.c + (1 - c) * new.c, h * state.h + (1 - h) * new.h)
            outputs.append(state.h)
        return state, jnp.stack(outputs)

    close(run(cell, params), expected(1 - updated.c, 1 - updated.h))
    silent = unroll(cell, params, XS, time_major=True, deterministic=True)
    close(silent, expected([0.5] * T, [0.05] * T))


def test_zoneout_leaves_an_output_that_is_no_part_of_the_state():
    projected = OutputProjection(GRU(H), 2)
    params = projected.init(jax.random.key(0), D, jnp.float64)
    _, after_zoneout = run(OutputProjection(Zoneout(GRU(H), 0.5), 2), params)
    _, before_zoneout = run(Zoneout(projected, 0.5), params)
    close(
        before_zoneout[0],
        projected.step(
            params, projected.initial_state((B,), jnp.float64), projected.project(params, XS[0])
        )[1],
    )
    assert (after_zoneout[0] != before_zoneout[0]).any()


def test_zoneout_of_a_dropped_output_puts_out_the_same_in_training_as_in_evaluation():
    """The output is the dropped one of the cell, in training and in evaluation, never the zoned."""
    inner = Dropout(LSTM(H), output_rate=0.5)
    cell = Zoneout(inner, 0.3)
    assert not cell.outputs_hidden
    assert Zoneout(Dropout(LSTM(H), input_rate=0.5), 0.3).outputs_hidden
    params = cell.init(jax.random.key(0), D, jnp.float64)
    state = cell.initial_state((B,), jnp.float64)
    new, _ = LSTM(H).step(params, state, LSTM(H).project(params, XS[0]))
    _, silent = unroll(cell, params, XS[:1], time_major=True, deterministic=True)
    close(silent[0], new.h)
    _, loud = unroll(cell, params, XS[:1], time_major=True, key=KEY)
    assert (jnp.isclose(loud[0], 2 * new.h) | (loud[0] == 0)).all()


def test_shared_masks_are_the_same_for_all_rows():
    noise = draw_masks(Dropout(LSTM(H), 0.5, 0.5, 0.5, shared=True))
    for mask in (noise.input, noise.state.h, noise.output):
        assert (mask == mask[:, :1]).all()
        assert (mask[0] != mask[1]).any()
    noise = draw_masks(Dropout(LSTM(H), 0.5, 0.5, 0.5, shared=True, locked=True))
    assert (noise.output == noise.output[:1, :1]).all()


def test_a_learned_state_is_where_rows_and_resets_start():
    cell = LearnedState(LSTM(H))
    params = cell.init(KEY, D, jnp.float64)
    assert not any(leaf.any() for leaf in jax.tree.leaves(params.state))
    learned = jax.tree.map(lambda a: a + jnp.arange(1.0, H + 1), params.state)
    params = params._replace(state=learned)
    first = jax.tree.map(lambda a: jnp.broadcast_to(a, (B, H)), learned)
    expected = unroll(LSTM(H), params.cell, XS, initial_state=first, time_major=True)
    close(unroll(cell, params, XS, time_major=True), expected)
    starts = jnp.zeros((T, B), bool).at[2].set(True)
    _, ys = unroll(Reset(cell), params, ResetInputs(starts, XS), time_major=True)
    _, after = unroll(cell, params, XS[2:], time_major=True)
    close(ys[2:], after)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_states_put_out_are_those_that_each_prefix_ends_in(reverse):
    cell = Stack([LSTM(H), GRU(H)])
    params = cell.init(jax.random.key(0), D, jnp.float64)
    xs, lengths = jnp.moveaxis(XS, 0, 1), jnp.array([T, 4, 0])
    final, (ys, states) = unroll(WithState(cell), params, xs, lengths=lengths, reverse=reverse)
    close((final, ys), unroll(cell, params, xs, lengths=lengths, reverse=reverse))
    for b, length in enumerate([T, 4, 0]):
        for t in range(length):
            part = xs[b, t:length] if reverse else xs[b, : t + 1]
            close(at(at(states, b), t), unroll(cell, params, part, reverse=reverse)[0])
        assert not any(s[b, length:].any() for s in jax.tree.leaves(states))


def test_dropout_has_the_parameters_of_its_cell_and_none_of_its_noise_in_evaluation():
    params = LSTM(H).init(jax.random.key(0), D, jnp.float64)
    close(
        unroll(Dropout(LSTM(H), 0.2, 0.3, 0.4), params, XS, time_major=True, deterministic=True),
        unroll(LSTM(H), params, XS, time_major=True),
    )


def test_an_input_projection_embeds_tokens():
    cell = InputProjection(GRU(H), 2)
    params = cell.init(jax.random.key(0), 7, jnp.float64)
    tokens = jnp.array([[6, 0, 3]])
    close(
        unroll(cell, params, tokens),
        unroll(cell, params, jax.nn.one_hot(tokens, 7, dtype=jnp.float64)),
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dropout(LSTM), "Dropout: cell must be a cell, got <class"),
        (lambda: OutputProjection("GRU", 2), "OutputProjection: cell must be a cell"),
        (lambda: OutputProjection(GRU(H), 0), "OutputProjection: size must be a whole number"),
        (lambda: InputProjection(GRU(H), 1.5), "InputProjection: size must be a whole number"),
        (lambda: Dropout(GRU(H), input_rate=1.0), r"input_rate must be a probability in \[0, 1\)"),
        (lambda: Dropout(GRU(H), output_rate=-0.1), "Dropout: output_rate must be a probability"),
        (lambda: Dropout(GRU(H), state_rate=2), "Dropout: state_rate must be a probability"),
        (lambda: Dropout(GRU(H), state_rate=(0.1, 0.1)), "must be one number or a state of"),
        (lambda: Dropout(GRU(H), state_rate=LSTMState(0.1, 0.1)), "must be one number or a state"),
        (lambda: Zoneout(LSTM(H), rate=LSTMState(0.1, 1.0)), "Zoneout: rate must be a probability"),
        (lambda: Zoneout(LSTM(H), rate=True), "Zoneout: rate must be a probability"),
        (
            lambda: Residual(GRU(H)).init(KEY, D),
            "Residual: inputs and outputs must have the same size",
        ),
        (
            lambda: ResidualBlock(GRU(H)).init(KEY, D),
            "ResidualBlock: inputs and outputs must have the same size",
        ),
        (lambda: ResidualBlock(GRU(H), 0), "ResidualBlock: feed_forward_size must be a whole num"),
        (
            lambda: Highway(GRU(H)).init(KEY, D),
            "Highway: inputs and outputs must have the same size",
        ),
    ],
)
def test_bad_options_are_clear_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "wrap", [Residual, Highway, ResidualBlock, lambda cell: Dropout(cell, input_rate=0.5)]
)
def test_tokens_have_no_features_to_drop_or_to_add(wrap):
    cell = wrap(GRU(H))
    params = cell.init(KEY, H)
    with pytest.raises(ValueError, match=r"features, got tokens of shape \(3, 2\); embed tokens"):
        unroll(cell, params, jnp.zeros((2, 3), int), deterministic=True)


def normalised(norm, x):
    centred = x - x.mean()
    return centred / np.sqrt((centred**2).mean() + 1e-6) * norm.gain + norm.shift


@pytest.mark.parametrize("activation", [jax.nn.gelu, jax.nn.silu], ids=lambda a: a.__name__)
def test_a_residual_block_equals_a_plain_loop(activation):
    def gelu(x):
        return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2

    def step(p, state, x):
        leaves, o = gru_step(jax.tree.leaves(p.cell), list(state), normalised(p.norm, x))
        a = x + o
        hidden = normalised(p.feed_forward_norm, a) @ p.input_kernel + p.input_bias
        g, u = np.split(hidden, 2)
        g = gelu(g) if activation is jax.nn.gelu else g * sigmoid(g)
        return leaves, a + (g * u) @ p.output_kernel + p.output_bias

    check(ResidualBlock(GRU(3), 5, activation=activation), step)


def test_the_feed_forward_part_is_three_times_as_wide_as_the_block_as_in_griffin():
    params = ResidualBlock(GRU(H)).init(KEY, H)
    assert params.input_kernel.shape == (H, 2 * 3 * H)
    assert params.output_kernel.shape == (3 * H, H)


@pytest.mark.parametrize("tied", [False, True])
def test_a_language_model_equals_a_plain_loop(tied):
    options = {"embedding_size": 4, "layer_norm": True, "tied": True} if tied else {}
    cell = LanguageModel(GRU(4), 3, **options)

    def step(p, state, x):
        embedding = p.embedding_kernel if tied else np.eye(3)
        leaves, h = gru_step(jax.tree.leaves(p.cell), list(state), x @ embedding)
        if tied:
            h = normalised(p.norm, h)
        kernel = p.embedding_kernel.T if tied else p.readout_kernel
        return leaves, h @ kernel + p.readout_bias

    check(cell, step)


def test_a_tied_readout_needs_an_embedding_of_the_output_width():
    with pytest.raises(ValueError, match="tied readout needs embedding_size=4"):
        LanguageModel(GRU(4), 3, tied=True)


def test_an_ensemble_averages_log_probabilities():
    members = [
        Dropout(LanguageModel(GRU(units), vocabulary_size=5), output_rate=0.4) for units in (3, 4)
    ]
    ensemble = Ensemble(members)
    params = ensemble.init(jax.random.key(0), 5, jnp.float64)
    tokens = jnp.array([[1, 4, 0, 2], [3, 0, 0, 1]])
    state, found = unroll(ensemble, params, tokens, deterministic=True)
    expected = np.zeros((2, 4, 5))
    for member, p, s in zip(members, params, state, strict=True):
        end, logits = unroll(member, p, tokens, deterministic=True)
        close(s, end)
        shifted = np.exp(logits - np.max(logits, -1, keepdims=True))
        expected += np.log(shifted / shifted.sum(-1, keepdims=True)) / 2
    close(found, expected)


def test_the_members_of_an_ensemble_draw_different_noise():
    cell = Dropout(LSTM(H), output_rate=0.5)
    first, second = draw_masks(Ensemble([cell, cell]))
    assert (first.output != second.output).any()


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "members must be a list of at least 1 cell, got \\[\\]"),
        ([GRU(3), None], "Ensemble: cell must be a cell, .*got None"),
        ([GRU(3), GRU(4)], "logits of the same classes, got \\[3, 4\\] classes"),
    ],
)
def test_members_that_do_not_make_an_ensemble(members, message):
    with pytest.raises(ValueError, match=message):
        Ensemble(members)
