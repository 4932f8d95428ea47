"""Train on all devices of all processes: a program that tests/test_parallel_training.py starts.

Its argument is a file for the parameters.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from seqjax import LSTM, Dropout, LanguageModel, sequence_loss, unroll
from seqjax.devices import data_mesh
from seqjax.hosts import join
from seqjax.regularization import drop_weights
from seqjax.training import data_parallel_steps, init_train_state, state_shardings

B, T, CALLS, K = 8, 7, 5, 10
CELL = Dropout(LSTM(8), 0.0, 0.2, 0.3)
MODEL = LanguageModel(CELL, 5)
RUNS = {"replicated": jnp.float32, "sharded": jnp.float64, "accumulated": jnp.float64}


def loss_fn(params, carry, batch, key):
    """The loss of all valid steps, with noise for all rows and for each row."""
    key, of_weights = jax.random.split(key)
    params = drop_weights(of_weights, params, 0.2)
    tokens, targets, lengths = batch
    carry, logits = unroll(MODEL, params, tokens, lengths=lengths, initial_state=carry, key=key)
    return sequence_loss(logits, targets, lengths=lengths), carry


def split_all(path, shape, devices):
    """Split the last axis that the devices divide."""
    divided = [n for n, size in enumerate(shape) if size % devices == 0]
    return PartitionSpec(*[None] * divided[-1], "data") if divided else PartitionSpec()


def train(mesh, dtype, layout):
    """Take 50 steps and return the parameters, whole on every device."""
    optimizer = optax.adam(1e-2)

    def start():
        params = MODEL.init(jax.random.key(0), 5, dtype)
        return init_train_state(params, optimizer, MODEL.initial_state((B,), dtype))

    whole = NamedSharding(mesh, PartitionSpec())
    if layout == "sharded":
        shardings = state_shardings(jax.eval_shape(start), mesh, split_all)
        state = jax.jit(start, out_shardings=shardings)()
    else:
        state = start()
    accumulate = 2 if layout == "accumulated" else 1
    steps = data_parallel_steps(loss_fn, optimizer, mesh, accumulate=accumulate)
    chunks = NamedSharding(mesh, PartitionSpec(None, "data"))
    mine = np.split(np.arange(B), jax.process_count())[jax.process_index()]
    draw = np.random.default_rng(0)
    for _ in range(CALLS):
        tokens, targets = draw.integers(0, 5, (2, K, B, T), dtype=np.int32)
        lengths = draw.integers(1, T + 1, (K, B), dtype=np.int32)
        local = tuple(a[:, mine] for a in (tokens, targets, lengths))
        batches = jax.tree.map(lambda a: jax.make_array_from_process_local_data(chunks, a), local)
        state, losses = steps(state, batches, jax.random.key(1))
    assert bool(jnp.isfinite(losses).all())
    return jax.jit(lambda a: a, out_shardings=whole)(state.params)


def main() -> None:
    """Train in every layout; process 0 writes the parameters."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)  # most of the time is compilation
    join()
    mesh = data_mesh(B)
    results = {}
    for layout, dtype in RUNS.items():
        for n, leaf in enumerate(jax.tree.leaves(train(mesh, dtype, layout))):
            results[f"{leaf.dtype} {layout} {n}"] = np.asarray(leaf)
    if jax.process_index() == 0:
        np.savez(sys.argv[1], **results, devices=mesh.size)


if __name__ == "__main__":
    main()
