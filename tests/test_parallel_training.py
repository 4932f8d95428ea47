"""The same model on any number of devices: noise, sharded state, micro-batches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

import seqjax
from seqjax import GRU, LSTM, Dropout, LanguageModel, OutputProjection, Stack, sequence_loss, unroll
from seqjax.devices import data_mesh
from seqjax.regularization import drop_weights
from seqjax.training import (
    data_parallel_steps,
    init_train_state,
    mean_value_and_grad,
    state_shardings,
    train_step,
    train_steps,
)
from tests.processes import outputs, together

CELL = Stack([Dropout(LSTM(4), 0.0, 0.2, 0.3), Dropout(GRU(4), output_rate=0.3, locked=True)])
MODEL = LanguageModel(CELL, 5)
OPTIMIZER = optax.chain(optax.clip_by_global_norm(0.1), optax.adagrad(0.1), optax.trace(0.9))
B, T = 4, 6


def loss_fn(params, carry, batch, key=None):
    """The mean over all valid steps, of which devices have different numbers."""
    run, noise = key, {"deterministic": key is None}
    if key is not None:
        run, of_weights, of_rows = jax.random.split(key, 3)
        params = drop_weights(of_weights, params, 0.2)
        kept = jax.random.bernoulli(of_rows, 0.8, batch["tokens"].shape[:1])
        carry = jax.tree.map(lambda s: jnp.where(kept[:, None], s, 0), carry)
    carry, logits = unroll(
        MODEL, params, batch["tokens"], lengths=batch["lengths"], initial_state=carry, key=run,
        **noise,
    )  # fmt: skip
    loss = sequence_loss(logits, batch["targets"], lengths=batch["lengths"])
    return loss, carry, {"largest": jnp.abs(logits).max()}


def start():
    params = MODEL.init(jax.random.key(0), 5, jnp.float64)
    carry = MODEL.initial_state((B,), jnp.float64)
    return init_train_state(params, OPTIMIZER, carry)


def batches(steps, whole=False):
    draw = np.random.default_rng(steps)
    tokens, targets = draw.integers(0, 5, (2, steps, B, T))
    lengths = np.full((steps, B), T) if whole else draw.integers(1, T + 1, (steps, B))
    return {"tokens": tokens, "targets": targets, "lengths": lengths}


def close(a, b, tolerance=1e-10):
    a, b = jax.device_get((a, b))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, tolerance, tolerance), a, b)


def everything(path, shape, devices):
    """Split every array that the devices divide."""
    divided = [n for n, size in enumerate(shape) if size % devices == 0]
    return PartitionSpec(*[None] * divided[-1], "data") if divided else PartitionSpec()


def test_the_gradients_of_small_parameters_are_reduced_as_one_array():
    steps = data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(B))
    program = steps.lower(start(), batches(1), jax.random.key(1)).as_text()
    assert program.count("stablehlo.all_reduce") == 1


@pytest.fixture
def compilations():
    seen = []

    def listen(event, *_, **__):
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.slow
@pytest.mark.parametrize("sharded", [False, True])
def test_two_devices_train_the_model_of_one_with_all_its_noise(sharded, compilations):
    key, data = jax.random.key(1), batches(3)
    alone = jax.jit(functools.partial(train_steps, loss_fn, OPTIMIZER))(start(), data, key=key)
    steps, state = data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(B)), start()
    if sharded:
        state = jax.device_put(state, state_shardings(state, data_mesh(B), everything))
    layout = jax.tree.map(lambda a: a.sharding, state)
    together = steps(state, data, key)
    close(together, alone)
    compilations.clear()
    after, *_ = steps(together[0], data, key)
    assert not compilations
    assert after.step == 6
    if sharded:
        assert jax.tree.map(lambda a: a.sharding, after) == layout
        kernel = after.opt_state[2].trace.cell[0].recurrent_kernel
        assert kernel.addressable_shards[0].data.shape == (4, 8)


def test_a_device_draws_the_noise_of_its_own_rows_only():
    steps = data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(B))
    program = steps.lower(start(), batches(1), jax.random.key(1)).compile().as_text()
    assert "all-gather" not in program
    assert "all-to-all" not in program
    assert "collective-permute" not in program


@pytest.mark.parametrize("optimizer", [optax.adam(0.1), optax.adafactor(0.1), optax.lbfgs(0.1)])
def test_shardings_split_parameters_and_what_has_their_shapes(optimizer):
    params = OutputProjection(GRU(256), 10).init(jax.random.key(0), 64)
    state = init_train_state(params, optimizer, GRU(256).initial_state((4,)))
    mesh = data_mesh(4)
    placed = jax.device_put(state, state_shardings(state, mesh))
    assert jax.tree.structure(placed) == jax.tree.structure(state)

    def on_one(tree):
        shards = [leaf.addressable_shards[0].data for leaf in jax.tree.leaves(tree)]
        return sum(shard.nbytes for shard in shards)

    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
    assert on_one(placed.params) < 0.52 * whole
    assert on_one(placed.carry) == 0.5 * on_one(state.carry)
    if optimizer.init(params)[0].__class__.__name__ == "ScaleByAdamState":
        assert on_one(placed.opt_state) < 0.52 * 2 * whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": None}, "state must be a TrainState"),
        ({"mesh": None}, "mesh must have one axis, 'data'"),
        ({"rule": "largest"}, "rule must be a function"),
        ({"rule": lambda *_: None}, r"rule must return a PartitionSpec .* got None for params"),
        ({"rule": lambda *_: PartitionSpec("model")}, "devices divide over 'data'"),
        ({"rule": lambda *_: PartitionSpec(None, None, "data")}, "splits one axis"),
    ],
)
def test_shardings_that_cannot_be_are_clear_errors(changes, message):
    given = {"state": jax.eval_shape(start), "mesh": data_mesh(B), "rule": everything}
    with pytest.raises(ValueError, match=message):
        state_shardings(**given | changes)


@pytest.mark.parametrize("devices", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_micro_batches_give_the_step_of_the_whole_batch(devices):
    def mean_of_rows(params, carry, batch):
        loss, carry, _ = loss_fn(params, carry, batch)
        return loss, carry, {"loss": loss}

    data = batches(3, whole=True)
    whole = jax.jit(functools.partial(train_steps, mean_of_rows, OPTIMIZER))(start(), data)
    if devices == 1:
        steps = jax.jit(functools.partial(train_steps, mean_of_rows, OPTIMIZER, accumulate=4))
    else:
        steps = data_parallel_steps(mean_of_rows, OPTIMIZER, data_mesh(B), accumulate=2)
    close(steps(start(), data), whole)


def test_each_micro_batch_has_rows_and_a_key_of_its_own():
    def seen(w, carry, batch, key):
        return w * 0, carry + batch, {"rows": batch.sum(), "draw": jax.random.uniform(key)}

    gradient = mean_value_and_grad(seen, accumulate=2)
    key, rows = jax.random.key(0), jnp.arange(4, dtype=jnp.int32)
    (_, carry, metrics), _ = gradient(jnp.float32(1), 10 * rows, rows, key)
    assert carry.tolist() == [0, 11, 22, 33]
    assert metrics["rows"] == ((0 + 2) + (1 + 3)) / 2
    draws = [jax.random.uniform(jax.random.fold_in(key, n)) for n in (0, 1)]
    close(metrics["draw"], np.mean(draws), 1e-6)


def test_micro_batches_of_each_device_meet_in_one_reduction():
    def run(params, rows):
        params = jax.lax.pcast(params, "data", to="varying")
        gradient = mean_value_and_grad(lambda w, carry, x: ((w * x).mean(), carry), accumulate=2)
        return jax.lax.pmean(gradient(params, None, rows), "data")

    whole, rows = PartitionSpec(), PartitionSpec("data")
    mapped = jax.jit(jax.shard_map(run, mesh=data_mesh(4), in_specs=(whole, rows), out_specs=whole))
    arguments = jnp.float32(2), jnp.arange(4, dtype=jnp.float32)
    (loss, _), slope = mapped(*arguments)
    assert (loss, slope) == (3.0, 1.5)
    assert mapped.lower(*arguments).compile().as_text().count(" all-reduce(") == 1


def test_micro_batches_take_less_memory():
    model = OutputProjection(LSTM(32), 2)
    params = model.init(jax.random.key(0), 2)

    def of_rows(params, carry, xs):
        return (unroll(model, params, xs)[1] ** 2).mean(), carry

    state = init_train_state(params, optax.sgd(0.1), None)
    xs = jnp.ones((64, 50, 2), jnp.float32)

    def temporary(accumulate):
        step = functools.partial(train_step, of_rows, optax.sgd(0.1), accumulate=accumulate)
        return jax.jit(step).lower(state, xs).compile().memory_analysis().temp_size_in_bytes

    assert temporary(8) < 0.2 * temporary(1)


@pytest.mark.parametrize("accumulate", [0, 1.5, True, None])
def test_a_number_of_micro_batches_that_is_none_is_a_clear_error(accumulate):
    state = start()
    for make in (
        lambda: mean_value_and_grad(loss_fn, accumulate),
        lambda: train_step(loss_fn, OPTIMIZER, state, None, accumulate=accumulate),
        lambda: train_steps(loss_fn, OPTIMIZER, state, batches(1), accumulate=accumulate),
        lambda: data_parallel_steps(loss_fn, OPTIMIZER, data_mesh(B), accumulate=accumulate),
    ):
        with pytest.raises(ValueError, match="accumulate must be a whole number of at least 1"):
            make()


def test_micro_batches_that_rows_do_not_fill_are_clear_errors():
    with pytest.raises(ValueError, match="got accumulate=3 and 4 rows"):
        train_steps(loss_fn, OPTIMIZER, start(), batches(1), accumulate=3)
    mesh = data_mesh(B)
    with pytest.raises(ValueError, match="got accumulate=3 and 4 rows"):
        data_parallel_steps(loss_fn, OPTIMIZER, mesh, accumulate=3)(start(), batches(1))
    with pytest.raises(ValueError, match="the accumulate=4 micro-batches, got 1"):
        data_parallel_steps(loss_fn, OPTIMIZER, mesh, accumulate=4)(start(), batches(1))


def test_a_decoder_attends_to_the_context_of_its_own_rows():
    cell = seqjax.ContextAttention(GRU(4), seqjax.attention.Additive(3), memory_size=2)
    params = cell.init(jax.random.key(0), 3, jnp.float64)
    optimizer = optax.sgd(0.1)

    def attend(params, carry, batch):
        memory, xs, lengths = batch
        bound = seqjax.with_context(cell, params, memory, lengths=lengths)
        return (unroll(cell, bound, xs)[1] ** 2).mean(), carry

    draw = np.random.default_rng(0)
    lengths = np.array([[5, 1, 3, 2]])
    data = draw.normal(size=(1, B, 5, 2)), draw.normal(size=(1, B, T, 3)), lengths
    alone = train_steps(attend, optimizer, init_train_state(params, optimizer, None), data)
    steps = data_parallel_steps(attend, optimizer, data_mesh(B))
    close(steps(init_train_state(params, optimizer, None), data), alone)


def trained(path, processes, devices):
    """The parameters after 50 steps on so many devices of so many processes."""
    path = path / f"{processes}-{devices}.npz"
    command, each = ("-m", "tests.parallel_program", path), devices // processes
    outputs(together(*command, processes=processes, devices=each), timeout=300)
    results = dict(np.load(path))
    assert results.pop("devices") == devices
    return results


@pytest.mark.slow
def test_any_number_of_devices_and_processes_trains_the_same_model(tmp_path):
    alone = trained(tmp_path, 1, 1)
    for processes, devices in ((1, 4), (2, 2), (4, 4)):
        for name, params in trained(tmp_path, processes, devices).items():
            tolerance = 1e-5 if name.startswith("float32") else 1e-10
            np.testing.assert_allclose(params, alone[name], tolerance, tolerance, err_msg=name)
