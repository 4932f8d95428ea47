"""Shardings of parameters and optimizer state over the devices of a mesh."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.checks import describe
from seqjax.training.state import TrainState

Rule = Callable[[str, tuple[int, ...], int], PartitionSpec]
# (path, shape, number of devices) -> how the axes of the array are split over the axis "data"

SMALL = 2**12  # elements; to gather a smaller array costs more than its memory


def largest_axis(path: str, shape: tuple[int, ...], devices: int) -> PartitionSpec:
    """The rule that splits the largest axis that the devices divide.

    Arrays of less than 4096 elements, and those with no such axis, are replicated.

    >>> tuple(largest_axis(".recurrent_kernel", (512, 2048), 4))
    (None, 'data')
    >>> tuple(largest_axis(".bias", (2048,), 4))
    ()
    """
    divided = [n for n, size in enumerate(shape) if size % devices == 0]
    if math.prod(shape) < SMALL or not divided:
        return PartitionSpec()
    largest = max(divided, key=lambda n: shape[n])
    # of equal axes the last
    largest = max(n for n in divided if shape[n] == shape[largest])
    return PartitionSpec(*[None] * largest, "data")


def state_shardings(state: TrainState, mesh: Mesh, rule: Rule = largest_axis) -> TrainState:
    """Shardings with which each device holds a part of the parameters and optimizer state.

    `data_parallel_steps` keeps the layout of the state that it is given. With these shardings it is
    fully sharded data parallelism: parameters are gathered for the loss, gradients are reduced, and
    each device updates its part. The values are those of replicated parameters up to rounding, and
    the memory of parameters and optimizer state is divided by the number of devices.

    Args:
      state: a `TrainState` of arrays or of `jax.ShapeDtypeStruct`.
      mesh: a mesh with the axis ``"data"``, from `seqjax.devices.data_mesh`.
      rule: ``(path, shape, devices) -> PartitionSpec`` for each parameter, with the path as
        `jax.tree_util.keystr` writes it. Defaults to splitting the largest axis that the devices
        divide; arrays of less than 4096 elements are replicated. An array of the optimizer state is
        split as the parameter is whose path its own ends with and whose shape it has. Without one
        it is replicated.

    Returns:
      A `TrainState` of `jax.sharding.NamedSharding`. The carry is split by rows.

    Raises:
      ValueError: ``state`` is not a `TrainState`, ``mesh`` has other axes than ``"data"``, or
        ``rule`` is not a function or splits an axis that the devices do not divide.

    >>> import optax
    >>> from seqjax import GRU
    >>> from seqjax.devices import data_mesh
    >>> from seqjax.training import init_train_state
    >>> def start(key):
    ...     return init_train_state(GRU(64).init(key, 64), optax.adam(1e-3), carry=None)
    >>> shardings = state_shardings(jax.eval_shape(start, jax.random.key(0)), data_mesh(2))
    >>> for params in (shardings.params, shardings.opt_state[0].mu):
    ...     print(tuple(params.gate_kernel.spec))
    (None, 'data')
    (None, 'data')
    >>> state = jax.jit(start, out_shardings=shardings)(jax.random.key(0))  # never whole
    >>> state = jax.device_put(start(jax.random.key(0)), shardings)  # the same

    Reference: Rajbhandari, Rasley, Ruwase and He, "ZeRO: memory optimizations toward training
    trillion parameter models", 2020.
    """
    if not isinstance(state, TrainState):
        raise ValueError(f"state must be a TrainState from init_train_state, got {describe(state)}")
    check_mesh(mesh)
    if not callable(rule):
        raise ValueError(
            f"rule must be a function (path, shape, devices) -> PartitionSpec, got {rule!r}"
        )

    def of_params(path: Any, leaf: Any) -> PartitionSpec:
        shape, name = np.shape(leaf), jax.tree_util.keystr(path)
        spec = rule(name, shape, mesh.size)
        _check_spec(spec, name, shape, mesh)
        return spec

    specs = [
        (path, np.shape(leaf), of_params(path, leaf))
        for path, leaf in jax.tree.leaves_with_path(state.params)
    ]

    def of_optimizer(path: Any, leaf: Any) -> NamedSharding:
        found = PartitionSpec()
        for own, shape, spec in specs:
            if path[len(path) - len(own) :] == own and np.shape(leaf) == shape:
                found = spec
        return NamedSharding(mesh, found)

    structure = jax.tree.structure(state.params)
    rows, whole = NamedSharding(mesh, PartitionSpec("data")), NamedSharding(mesh, PartitionSpec())
    return TrainState(
        step=whole,  # type: ignore[arg-type]
        params=jax.tree.unflatten(structure, [NamedSharding(mesh, spec) for _, _, spec in specs]),
        opt_state=jax.tree.map_with_path(of_optimizer, state.opt_state),
        carry=jax.tree.map(lambda _: rows, state.carry),
    )


def check_mesh(mesh: Any) -> None:
    """Raise ``ValueError`` unless ``mesh`` has the axis ``"data"`` alone."""
    if not isinstance(mesh, Mesh) or mesh.axis_names != ("data",):
        raise ValueError(
            "mesh must have one axis, 'data', as seqjax.devices.data_mesh makes it, got "
            f"{describe(mesh)}"
        )


def _check_spec(spec: Any, name: str, shape: tuple[int, ...], mesh: Mesh) -> None:
    split = [n for n, axis in enumerate(spec) if axis] if isinstance(spec, PartitionSpec) else None
    if (
        split is None
        or len(split) > 1
        or any(spec[n] != "data" or n >= len(shape) or shape[n] % mesh.size for n in split)
        or len(spec) > len(shape)
    ):
        raise ValueError(
            f"rule must return a PartitionSpec that splits one axis which the {mesh.size} devices "
            f"divide over 'data', or none, got {spec!r} for params{name} of shape {shape}"
        )
