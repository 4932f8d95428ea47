"""One process of a measurement: ``python -m benchmarks.scaling_hosts.worker JOB``.

Each line on standard input starts one turn, which prints a `Turn` as JSON. In a turn, the process
takes training steps together with the others, then alone on as many rows, and then sums arrays of
two lengths over all processes.
"""

import functools
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.scaling_hosts.traffic import bytes_received
from benchmarks.training_step import Config, Size, ours
from seqjax.devices import data_mesh
from seqjax.hosts import join
from seqjax.training import data_parallel_steps, init_train_state, train_steps

LARGE = 2**22  # numbers of the longer array


class Job(NamedTuple):
    """What a process does.

    Attributes:
      size: layers, units, rows of all processes and steps of the language model.
      cell: the recurrent cell, "lstm" or "gru".
      steps_per_call: training steps in one call.
      calls: calls in one turn.
      cores: the cores that the process may use.
    """

    size: tuple[int, int, int, int]
    cell: str
    steps_per_call: int
    calls: int
    cores: tuple[int, ...]


class Turn(NamedTuple):
    """What one process measured in one turn, in seconds and bytes.

    Attributes:
      together: the time of a training step with all processes.
      alone: the same on the rows of this process, without exchange; NaN with several devices.
      cpu: the time of all threads of this process in a training step with all processes.
      received: bytes received in a training step. Those received between turns in the same time are
        subtracted.
      short_sum: the time to sum an array of one number over all devices.
      long_sum: the same for ``LARGE`` numbers.
      gradients: bytes of the gradients.
      arrays: the number of arrays that a step sums over devices.
    """

    together: float
    alone: float
    cpu: float
    received: float
    short_sum: float
    long_sum: float
    gradients: int
    arrays: int


def main(job: Job) -> None:
    """Take turns until standard input ends."""
    os.sched_setaffinity(0, job.cores)
    join()
    turn = prepare(job)
    for _ in sys.stdin:
        print(json.dumps(turn()._asdict()), flush=True)


def prepare(job: Job) -> Callable[[], Turn]:
    """Compile all programs; return the function that takes one turn."""
    mesh = data_mesh(job.size[2])
    together, alone, gradients, arrays = training(job, mesh)
    short_sum, long_sum = sum_of(1, mesh), sum_of(LARGE, mesh)
    rested, rest = time.perf_counter(), bytes_received()

    def turn() -> Turn:
        nonlocal rested, rest
        began, busy, before = time.perf_counter(), time.process_time(), bytes_received()
        step = seconds(together, job.calls) / job.steps_per_call
        number = job.calls * job.steps_per_call
        cpu = (time.process_time() - busy) / number
        idle = step * (before - rest) / (began - rested)
        received = (bytes_received() - before) / number - idle
        found = Turn(
            together=step,
            alone=seconds(alone, job.calls) / job.steps_per_call if alone else float("nan"),
            cpu=cpu,
            received=received,
            short_sum=seconds(short_sum, 10),
            long_sum=seconds(long_sum, 2),
            gradients=gradients,
            arrays=arrays,
        )
        rested, rest = time.perf_counter(), bytes_received()
        return found

    return turn


def seconds(run: Callable[[], None], count: int) -> float:
    """The mean time of a call."""
    began = time.perf_counter()
    for _ in range(count):
        run()
    return (time.perf_counter() - began) / count


def training(
    job: Job, mesh: Mesh
) -> tuple[Callable[[], None], Callable[[], None] | None, int, int]:
    """Training steps with all processes and alone, bytes of the gradients, and arrays summed."""
    size, config = Size(*job.size), Config(cell=job.cell)  # type: ignore[arg-type]
    loss, params = ours(size, config, "auto")
    params = jax.tree.map(np.asarray, params)  # states are donated
    optimizer = optax.adam(1e-3)

    def loss_fn(params: Any, carry: None, batch: Any) -> tuple[jax.Array, None]:
        return loss(params, *batch), carry

    shape = (2, job.steps_per_call, size.batch // jax.process_count(), size.steps)
    draw = np.random.default_rng(jax.process_index())
    tokens = draw.integers(0, config.vocabulary, shape, dtype=np.int32)
    rows = NamedSharding(mesh, PartitionSpec(None, "data"))
    batches = tuple(jax.make_array_from_process_local_data(rows, part) for part in tokens)
    steps: Any = data_parallel_steps(loss_fn, optimizer, mesh)
    state = init_train_state(params, optimizer, carry=None)
    arrays = count_arrays(steps.lower(state, batches).compile().as_text())
    own = jax.jit(functools.partial(train_steps, loss_fn, optimizer), donate_argnums=0)
    own_batches = tuple(jax.device_put(part, jax.local_devices()[0]) for part in tokens)
    own_state = init_train_state(params, optimizer, carry=None)

    def together() -> None:
        nonlocal state
        state, losses = steps(state, batches)
        losses.block_until_ready()

    def alone() -> None:
        nonlocal own_state
        own_state, losses = own(own_state, own_batches)
        losses.block_until_ready()

    gradients = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return together, alone if jax.local_device_count() == 1 else None, gradients, arrays


def sum_of(length: int, mesh: Mesh) -> Callable[[], None]:
    """The sum over all devices of an array of this length on each."""
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    local = np.ones((jax.local_device_count(), length), np.float32)
    each = jax.make_array_from_process_local_data(rows, local)
    total = jax.jit(lambda each: each.sum(0), out_shardings=whole)

    def run() -> None:
        total(each).block_until_ready()

    return run


def count_arrays(program: str) -> int:
    """The arrays that a compiled program sums over devices.

    >>> count_arrays("%a = (f32[3,48]{1,0}, f32[2]{0}) all-reduce(%b, %c), to_apply=%add")
    2
    """
    lines = (line for line in program.splitlines() if " all-reduce(" in line)
    return sum(line.split(" all-reduce(")[0].count("[") for line in lines)


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
