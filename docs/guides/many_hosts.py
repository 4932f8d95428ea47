"""Train on the devices of all processes."""

import functools

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

import seqjax
from seqjax.devices import data_mesh
from seqjax.hosts import join
from seqjax.training import data_parallel_steps, init_train_state

join()  # before the first array; does nothing in one process

model = seqjax.OutputProjection(seqjax.GRU(16), 2)


def loss_fn(params, carry, batch):
    """Classify each step."""
    _, logits = seqjax.unroll(model, params, batch["xs"])
    return seqjax.sequence_loss(logits, batch["targets"]), carry


ROWS = 32
mesh = data_mesh(ROWS)  # over the devices of all processes
optimizer = optax.adam(1e-2)
steps = data_parallel_steps(loss_fn, optimizer, mesh)
state = init_train_state(model.init(jax.random.key(0), 3), optimizer, carry=())

# batches [K, B, ...] are split along B; each process reads only its own rows
sharding = NamedSharding(mesh, PartitionSpec(None, "data"))
mine = np.split(np.arange(ROWS), jax.process_count())[jax.process_index()]
together = functools.partial(jax.make_array_from_process_local_data, sharding)
rng = np.random.default_rng(0)
for _ in range(3):
    xs = rng.normal(size=(10, ROWS, 20, 3)).astype(np.float32)[:, mine]
    local = {"xs": xs, "targets": (xs[..., 0] > 0).astype(np.int32)}
    batches = jax.tree.map(together, local)
    state, losses = steps(state, batches)
    if jax.process_index() == 0:
        print(np.asarray(losses)[-1])
