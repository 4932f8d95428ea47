"""Training steps against the same steps written out, and truncation against its definition."""

import functools
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import GRU, OutputProjection, sequence_loss, unroll
from seqjax.devices import data_mesh
from seqjax.training import (
    data_parallel_steps,
    init_train_state,
    train_step,
    train_steps,
)
from seqjax.truncation import chunks

MODEL = OutputProjection(GRU(3), 2)
OPTIMIZER = optax.adagrad(0.1)


def loss_fn(params, carry, batch):
    xs, ys = batch
    carry, logits = unroll(MODEL, params, xs, initial_state=carry)
    return sequence_loss(logits, ys), carry


@jax.jit
def start(key):
    params = MODEL.init(key, 2, jnp.float64)
    return init_train_state(params, OPTIMIZER, MODEL.initial_state((4,), jnp.float64))


def batches(key):
    xs, ys = jax.random.randint(key, (2, 4, 15), 0, 2)
    return chunks((xs, ys), 5)


def close(a, b, tolerance=1e-12):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, tolerance, tolerance), a, b)


def test_many_steps_in_one_program_equal_single_ones_written_out():
    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    final, losses = jax.jit(functools.partial(train_steps, loss_fn, OPTIMIZER))(state, data)

    params, opt_state, carry = state.params, state.opt_state, state.carry
    gradient = jax.jit(jax.value_and_grad(loss_fn, has_aux=True))
    for k in range(3):
        (loss, carry), grads = gradient(params, carry, jax.tree.map(lambda a: a[k], data))  # noqa: B023
        updates, opt_state = jax.jit(OPTIMIZER.update)(grads, opt_state, params)
        params = optax.apply_updates(params, updates)
        close(losses[k], loss)
    close((final.params, final.opt_state, final.carry), (params, opt_state, carry))
    assert final.step == 3


def test_vmap_over_seeds_equals_one_seed_at_a_time():
    keys = jax.random.split(jax.random.key(2), 3)
    data = [batches(key) for key in keys]
    step = jax.jit(functools.partial(train_steps, loss_fn, OPTIMIZER))
    together = jax.vmap(step)(jax.vmap(start)(keys), jax.tree.map(lambda *a: jnp.stack(a), *data))
    for n, key in enumerate(keys):
        alone = step(start(key), data[n])
        close(jax.tree.map(lambda a: a[n], together), alone)  # noqa: B023


@pytest.mark.parametrize("devices", [1, 2])
def test_rows_split_over_devices_equal_all_rows_on_one(devices):
    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    whole = jax.jit(functools.partial(train_steps, loss_fn, OPTIMIZER))(state, data)
    mesh = data_mesh(4) if devices == 2 else data_mesh(1)
    assert mesh.size == devices
    steps = data_parallel_steps(loss_fn, OPTIMIZER, mesh)
    split = steps(start(jax.random.key(0)), data)
    close(split, whole)
    assert len(split[0].carry.h.sharding.device_set) == devices
    # goes on where it was, whether in one call or in two
    first, rest = (jax.tree.map(lambda a: a[k], data) for k in (slice(1), slice(1, None)))  # noqa: B023
    after, _ = steps(start(jax.random.key(0)), first)
    close(steps(after, rest)[0], split[0], 0)


def noisy_loss_fn(params, carry, batch, key):
    loss, carry = loss_fn(params, carry, batch)
    noise = jax.random.normal(key, dtype=jnp.float64)
    return loss + 0 * noise, carry, {"noise": noise, "doubled": 2 * loss}


def test_each_step_draws_from_a_key_of_its_own_and_returns_its_metrics():
    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    key = jax.random.key(2)
    many = jax.jit(functools.partial(train_steps, noisy_loss_fn, OPTIMIZER))
    final, losses, metrics = many(state, data, key=key)
    close((final, losses), train_steps(loss_fn, OPTIMIZER, state, data))
    close(metrics["doubled"], 2 * losses)
    assert len({*metrics["noise"].tolist()}) == 3
    one = jax.jit(functools.partial(train_step, noisy_loss_fn, OPTIMIZER))
    for k in range(3):
        state, loss, measured = one(state, jax.tree.map(lambda a: a[k], data), key=key)  # noqa: B023
        close((loss, measured), jax.tree.map(lambda a: a[k], (losses, metrics)))  # noqa: B023
    close(state, final)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda loss, carry: loss, "must return .loss, next carry. or .* return None as the carry"),
        (lambda loss, carry: (loss, carry, {}, {}), "got 4 values"),
        (
            lambda loss, carry: (jnp.ones(3) * loss, carry),
            r"one number, got an array of shape \(3,\)",
        ),
    ],
)
def test_a_loss_function_that_returns_something_else_is_a_clear_error(result, message):
    def wrong(params, carry, batch):
        return result(*loss_fn(params, carry, batch))

    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    for step in (train_steps, data_parallel_steps(wrong, OPTIMIZER, data_mesh(4))):
        arguments = (wrong, OPTIMIZER) if step is train_steps else ()
        with pytest.raises(ValueError, match=message):
            step(*arguments, state, data)


def test_what_is_no_key_is_a_clear_error():
    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    with pytest.raises(ValueError, match="key must be one key"):
        train_steps(noisy_loss_fn, OPTIMIZER, state, data, key=7)


def test_gradients_meet_in_one_reduction_a_step():
    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    steps = data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(4))
    program = steps.lower(state, data).compile().as_text()
    reductions = [line for line in program.splitlines() if " all-reduce(" in line]
    assert len(reductions) == 1, reductions


def test_steps_on_several_devices_refuse_to_be_traced():
    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    steps = data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(4))
    for traced in (
        lambda: jax.jit(steps)(state, data),
        lambda: jax.jit(lambda: steps(state, data))(),
        lambda: jax.eval_shape(steps, state, data),
        lambda: jax.jit(lambda x: steps(state, jax.tree.map(lambda a: a + x, data)))(0),
    ):
        with pytest.raises(ValueError, match=r"was traced, for example by an outer jax\.jit"):
            traced()
    steps(state, data)
    one = data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(1))
    jax.jit(one)(start(jax.random.key(0)), data)  # which waits for no other device


def test_rows_that_devices_do_not_divide_are_a_clear_error():
    steps = data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(4))
    state, (xs, ys) = start(jax.random.key(0)), batches(jax.random.key(1))
    with pytest.raises(ValueError, match=r"B=3 rows of batches"):
        steps(state, (xs[:, :3], ys[:, :3]))
    with pytest.raises(ValueError, match=r"2 devices of mesh must divide the rows .* got 3"):
        steps(state._replace(carry=None), (xs[:, :3], ys[:, :3]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss_fn": None}, "loss_fn must be a function"),
        ({"optimizer": 0.1}, "optimizer must be an optax transformation, .*got 0.1"),
        ({"state": None}, "state must be a TrainState from init_train_state, got None"),
        ({"optimizer": optax.adam(0.1)}, "for another optimizer or other parameters"),
        ({"batches": ()}, r"batches must be arrays \[K, ...\] with the same K, got no array"),
    ],
)
def test_what_cannot_be_trained_is_a_clear_error(changes, message):
    given = {"loss_fn": loss_fn, "optimizer": OPTIMIZER, "batches": batches(jax.random.key(1))}
    given["state"] = start(jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        train_steps(**given | changes)


@pytest.mark.slow
def test_ten_thousand_calls_on_two_devices_do_not_wait_for_each_other_for_ever():
    code = """
import jax, jax.numpy as jnp, optax
from seqjax import GRU, OutputProjection, unroll
from seqjax.devices import data_mesh
from seqjax.training import data_parallel_steps, init_train_state
jax.config.update("jax_num_cpu_devices", 2)
model = OutputProjection(GRU(8), 2)
def loss_fn(params, carry, xs):
    carry, ys = unroll(model, params, xs, initial_state=carry)
    return (ys**2).mean(), carry
params = model.init(jax.random.key(0), 2)
state = init_train_state(params, optax.sgd(0.01), model.initial_state((8,)))
steps = data_parallel_steps(loss_fn, optax.sgd(0.01), data_mesh(8))
xs = jax.random.normal(jax.random.key(1), (1, 8, 20, 2))
for _ in range(10_000):
    state, losses = steps(state, xs)
print(int(state.step), len(losses.sharding.device_set))
"""
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.split() == ["10000", "2"]


def test_no_error_flows_back_into_the_chunk_before():
    state, data = start(jax.random.key(0)), batches(jax.random.key(1))
    first, second = (jax.tree.map(lambda a: a[k], data) for k in (0, 1))  # noqa: B023
    state = state._replace(opt_state=optax.sgd(0.0).init(state.params))
    step = jax.jit(train_step, static_argnums=(0, 1))
    middle, _ = step(loss_fn, optax.sgd(0.0), state, first)  # moves the carry alone
    after, _ = step(loss_fn, optax.sgd(1.0), middle, second)

    def truncated(params):
        return loss_fn(params, middle.carry, second)[0]

    def through(params):
        _, carry = loss_fn(params, state.carry, first)
        return loss_fn(params, carry, second)[0]

    moved = jax.tree.map(jnp.subtract, middle.params, after.params)
    close(moved, jax.jit(jax.grad(truncated))(middle.params), 1e-9)
    through_both = jax.jit(jax.grad(through))(middle.params)
    difference = jax.tree.map(jnp.subtract, moved, through_both)
    assert optax.tree.norm(difference) > 1e-3


def test_the_same_seed_gives_the_same_run_bit_for_bit():
    runs = []
    for _ in range(2):
        state, data = start(jax.random.key(0)), batches(jax.random.key(1))
        runs.append(train_steps(loss_fn, OPTIMIZER, state, data))
    close(*runs, 0)


def test_chunks_leave_the_order_of_each_stream():
    streams = np.arange(2 * 11).reshape(2, 11), np.arange(2 * 11 * 3).reshape(2, 11, 3)
    tokens, features = chunks(streams, 4)
    assert tokens.shape == (2, 2, 4)
    assert features.shape == (2, 2, 4, 3)
    np.testing.assert_array_equal(np.concatenate(list(tokens), 1), streams[0][:, :8])
    np.testing.assert_array_equal(np.concatenate(list(features), 1), streams[1][:, :8])


@pytest.mark.parametrize(
    ("streams", "num_steps", "message"),
    [
        (np.zeros((2, 3)), 4, "num_steps must be at most 3, .* got 4"),
        (np.zeros((2, 3)), 0, "num_steps must be a whole number of at least 1, got 0"),
        (np.zeros(3), 1, r"streams must be arrays \[B, N, ...\]"),
        ((np.zeros((2, 3)), np.zeros((2, 4))), 1, "with the same B and N"),
    ],
)
def test_bad_chunks_are_clear_errors(streams, num_steps, message):
    with pytest.raises(ValueError, match=message):
        chunks(streams, num_steps)
