"""True truncation against explicit loops, full backpropagation, and truncation by chunks.

What `chunks` does is tested in `test_training`.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import LSTM, BasicRNN, Dropout, OutputProjection, sequence_loss, unroll
from seqjax.cells.elman import BasicRNNParams
from seqjax.engine import unroll as module
from seqjax.training import init_train_state, train_step
from seqjax.truncation import truncated_chunk, truncated_unroll
from seqjax.types import HiddenState
from tests.cells.registry import EXAMPLES

B, T = 2, 6
RNN = BasicRNN(3)
# one cell of each build; the quick one has noise
SLOW = (
    "LRU", "MLSTM", "ConvLSTM", "GridLSTM", "PhasedLSTM", "AttentionCell", "Stack",
    "Dropout locked",
)  # fmt: skip
NAMES = ["Dropout", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def close(actual, expected, tolerance=1e-11):
    compare = functools.partial(np.testing.assert_allclose, rtol=tolerance, atol=tolerance)
    jax.tree.map(compare, actual, expected)


def rnn_example(seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    params = RNN.init(keys[0], 2, jnp.float64)._replace(bias=jax.random.normal(keys[1], 3))
    return (
        params,
        HiddenState(jax.random.normal(keys[2], (B, 3))),
        jax.random.normal(keys[3], (B, T, 2)),
    )


def elman_by_hand(params, h0, xs, errors, n):
    """Gradients of ``sum(ys * errors)``: each error sent back n steps, one loop within another."""
    w_x, w_h, _ = params
    hs = [h0]
    for x in xs:
        hs.append(np.tanh(x @ w_x + hs[-1] @ w_h + params[2]))
    grads = [np.zeros_like(p) for p in params]
    grad_xs = np.zeros_like(xs)
    for t in range(len(xs)):
        error = errors[t]
        for s in range(t, max(t - n, -1), -1):
            error = error * (1 - hs[s + 1] ** 2)
            grads[0] += np.outer(xs[s], error)
            grads[1] += np.outer(hs[s], error)
            grads[2] += error
            grad_xs[s] += w_x @ error
            error = w_h @ error
    return np.stack(hs[1:]), grads, grad_xs


@pytest.mark.parametrize("n", [1, 2, pytest.param(4, marks=pytest.mark.slow), 100])
def test_each_error_goes_back_n_steps_as_loops_by_hand_send_it(n):
    params, state, xs = rnn_example()
    errors = jax.random.normal(jax.random.key(9), (B, T, 3))

    @jax.jit
    def loss(params, xs):
        final, ys = truncated_unroll(RNN, params, xs, n, initial_state=state)
        return (ys * errors).sum(), (final, ys)

    grads, (final, ys) = jax.grad(loss, argnums=(0, 1), has_aux=True)(params, xs)
    host = [np.asarray(p) for p in params]
    rows = [
        elman_by_hand(host, *map(np.array, row), n) for row in zip(state.h, xs, errors, strict=True)
    ]
    close(ys, np.stack([row[0] for row in rows]))
    close(final.h, ys[:, -1])
    close(grads[0], BasicRNNParams(*(sum(g) for g in zip(*(r[1] for r in rows), strict=True))))
    close(grads[1], np.stack([row[2] for row in rows]))


def weigh(ys):
    """A number to which each output contributes differently."""
    return sum(
        (y * jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)).sum()
        for y in jax.tree.leaves(ys)
    )


def at(tree, t):
    return jax.tree.map(lambda a: a[t], tree)


@pytest.mark.parametrize("name", NAMES)
def test_every_cell_gives_the_values_of_unroll_and_the_gradient_of_single_windows(name):
    cell, input_size, *_ = EXAMPLES[name]
    length, n = 3, 2
    xs = EXAMPLES[name].draw_inputs(jax.random.key(1), (B, length))
    params = EXAMPLES[name].bind(cell.init(jax.random.key(0), input_size, jnp.float64), B)
    key = jax.random.key(2)

    def truncated(params):
        final, ys = truncated_unroll(cell, params, xs, n, key=key)
        return weigh(ys), (final, ys)

    def windows(params):
        constant = jax.lax.stop_gradient(params)
        noise = cell.draw_noise(key, (length, B), cell.input_size(params))
        time_major = jax.tree.map(lambda a: jnp.moveaxis(a, 1, 0), xs)
        zs, constant_zs = (cell.project(p, time_major, noise) for p in (params, constant))
        before, ys = [cell.first_state(params, (B,), jnp.float64)], []
        for t in range(length):
            start = max(0, t - n + 1)
            state = before[start]
            for s in range(start, t + 1):
                state, y = cell.step(params, state, at(zs, s))
            ys.append(y)
            before.append(cell.step(constant, before[t], at(constant_zs, t))[0])
        return weigh(jax.tree.map(lambda *y: jnp.stack(y, 1), *ys))

    grads, values = jax.jit(jax.grad(truncated, has_aux=True))(params)
    close(values, unroll(cell, params, xs, key=key))
    close(grads, jax.jit(jax.grad(windows))(params))


def test_over_all_steps_it_is_full_backpropagation():
    cell = LSTM(3)
    params, xs = cell.init(jax.random.key(0), 2, jnp.float64), rnn_example()[2]

    def gradient(run):
        return jax.jit(jax.grad(lambda params: weigh(run(params)[1])))(params)

    truncated = gradient(lambda params: truncated_unroll(cell, params, xs, T))
    close(truncated, gradient(lambda params: unroll(cell, params, xs)))


def test_every_error_sees_n_inputs_where_chunks_show_one_to_n():
    params, _, xs = rnn_example()

    def sees(ys_of):
        jacobian = jax.jit(jax.jacobian(ys_of))(xs[0])  # [T, H, T, D]
        return np.abs(jacobian).max((1, 3)) > 0

    def by_chunks(x, n):
        first, ys = unroll(RNN, params, x[:n])
        _, more = unroll(RNN, params, x[n:], initial_state=jax.lax.stop_gradient(first))
        return jnp.concatenate([ys, more])

    lag = np.arange(T)[:, None] - np.arange(T)
    same_chunk = np.arange(T)[:, None] // 3 == np.arange(T) // 3
    true = sees(lambda x: truncated_unroll(RNN, params, x, 3)[1])
    np.testing.assert_array_equal(true, (lag >= 0) & (lag < 3))
    np.testing.assert_array_equal(sees(lambda x: by_chunks(x, 3)), (lag >= 0) & same_chunk)


def test_a_dependency_that_a_cut_hides_from_chunks_is_in_the_true_gradient():
    # an error at step 3 alone, the first of its chunk, owed to the input one step before it
    params, _, xs = rnn_example()

    def error(ys):
        return ys[:, 3].sum()

    def by_chunks(params):
        state, _ = unroll(RNN, params, xs[:, :3])
        return unroll(RNN, params, xs[:, 3:], initial_state=jax.lax.stop_gradient(state))[1][
            :, 0
        ].sum()

    chunked = jax.jit(jax.grad(by_chunks))(params)
    one, two = (
        jax.jit(jax.grad(lambda p: error(truncated_unroll(RNN, p, xs, n)[1])))(params)  # noqa: B023
        for n in (1, 2)
    )
    close(chunked, one)
    assert optax.tree.norm(jax.tree.map(jnp.subtract, two, chunked)) > 0.1


def test_it_is_a_loss_for_train_step_and_the_state_carries_on():
    model = OutputProjection(RNN, 2)
    params = model.init(jax.random.key(0), 2, jnp.float64)
    xs, ys = jax.random.randint(jax.random.key(1), (2, 2, B, T), 0, 2)

    def loss_fn(params, carry, batch):
        carry, logits = truncated_unroll(model, params, batch[0], 2, initial_state=carry)
        return sequence_loss(logits, batch[1]), carry

    state = init_train_state(params, optax.sgd(0.0), model.initial_state((B,), jnp.float64))
    losses = []
    for batch in zip(xs, ys, strict=True):
        state, loss = jax.jit(functools.partial(train_step, loss_fn, optax.sgd(0.0)))(state, batch)
        losses.append(loss)
    final, logits = unroll(model, params, jnp.concatenate(list(xs), 1))
    close(state.carry, final)
    close(np.mean(losses), sequence_loss(logits, jnp.concatenate(list(ys), 1)))


def test_a_chunk_is_the_second_half_of_the_two_and_leaves_the_state_between_them():
    params, state, xs = rnn_example()
    xs = jnp.concatenate([xs, xs[:, ::-1]], 1)  # two chunks of T

    def chunk(params):
        between, ys = truncated_chunk(RNN, params, xs, T, initial_state=state)
        return weigh(ys), (between, ys)

    def half(params):
        _, ys = truncated_unroll(RNN, params, xs, T, initial_state=state)
        return weigh(ys[:, T:]), (unroll(RNN, params, xs[:, :T], initial_state=state)[0], ys[:, T:])

    for have, want in zip(*(jax.grad(f, has_aux=True)(params) for f in (chunk, half)), strict=True):
        close(have, want)
    with pytest.raises(ValueError, match=f"num_steps={T - 1} needs xs of {2 * T - 2} steps"):
        truncated_chunk(RNN, params, xs, T - 1, initial_state=state)


def test_no_batch_axis_or_two_and_vmap_give_the_same_numbers():
    params, state, xs = rnn_example()
    run = functools.partial(truncated_unroll, RNN, params, num_steps=3)
    expected = run(xs, initial_state=state)
    close(jax.vmap(lambda x, s: run(x, initial_state=s))(xs, state), expected)
    two_axes = run(xs[:, None], initial_state=jax.tree.map(lambda s: s[:, None], state))
    close(two_axes, jax.tree.map(lambda a: a[:, None], expected))
    final, ys = run(xs[:, :0], initial_state=state)
    assert ys.shape == (B, 0, 3)
    close(final, state)


def test_equal_cells_compile_once():
    module._run.clear_cache()
    for _ in range(2):
        cell = Dropout(LSTM(2), state_rate=0.5)
        params = cell.init(jax.random.key(0), 3)
        truncated_unroll(cell, params, jnp.ones((B, T), int), 2, key=jax.random.key(1))
    assert module._run._cache_size() == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "num_steps must be a whole number of at least 1, got 0"),
        ({"num_steps": 2.5}, "num_steps must be a whole number of at least 1, got 2.5"),
        ({"xs": jnp.ones((B, T, 5))}, "these parameters are for 2 input features"),
        ({"xs": jnp.full((B, T), 2)}, "xs must lie in"),
        ({"params": jnp.ones(3)}, r"params must have the structure that BasicRNN\(.\).init"),
        ({"initial_state": HiddenState(jnp.ones((B, 4)))}, "initial_state.h must be"),
        ({"cell": "LSTM"}, "cell must be a seqjax cell, such as .*, got 'LSTM'"),
    ],
)
def test_bad_arguments_are_clear_errors(changes, message):
    params, state, xs = rnn_example()
    given = {"cell": RNN, "params": params, "xs": xs, "num_steps": 2, "initial_state": state}
    with pytest.raises(ValueError, match=message):
        truncated_unroll(**given | changes)
