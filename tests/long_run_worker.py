"""One of the processes of tests/test_long_run.py: takes many steps with the others."""

import jax
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from seqjax import GRU, LanguageModel, sequence_loss, unroll
from seqjax.devices import data_mesh
from seqjax.hosts import gather, join
from seqjax.training import data_parallel_steps, init_train_state

B, T = 4, 3
CALLS = [*[300] * 30, *[1] * 1000]  # steps of each call


def main():
    join()
    model, optimizer = LanguageModel(GRU(2), 3), optax.sgd(0.1)

    def loss_fn(params, carry, tokens):
        carry, logits = unroll(model, params, tokens, initial_state=carry)
        return sequence_loss(logits, (tokens + 1) % 3), carry

    mesh = data_mesh(B)
    rows = NamedSharding(mesh, PartitionSpec(None, "data"))
    steps = data_parallel_steps(loss_fn, optimizer, mesh)
    params = model.init(jax.random.key(0), 3)
    state = init_train_state(params, optimizer, model.initial_state((B,)))
    draw = np.random.default_rng(jax.process_index())
    for count in CALLS:
        local = draw.integers(0, 3, (count, B // jax.process_count(), T), dtype=np.int32)
        state, losses = steps(state, jax.make_array_from_process_local_data(rows, local))
    found = [float(leaf.sum()) for leaf in jax.tree.leaves(state.params)]
    print(int(state.step), float(losses[-1]), all(each == found for each in gather(found)))


if __name__ == "__main__":
    main()
