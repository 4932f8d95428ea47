"""Work split over devices gives the numbers of one device."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.devices import data_mesh, split_leading_axis
from seqjax.machine import usable_cores


def test_an_axis_splits_where_it_divides():
    assert jax.device_count() == 2
    whole = jnp.arange(12.0).reshape(4, 3)
    split = split_leading_axis({"a": whole})["a"]
    assert len(split.sharding.device_set) == 2
    assert split.addressable_shards[0].data.shape == (2, 3)
    result = jax.jit(jax.vmap(jnp.cumsum))(split)
    assert len(result.sharding.device_set) == 2
    np.testing.assert_array_equal(result, jnp.cumsum(whole, 1))
    odd = split_leading_axis(whole[:3])
    assert len(odd.sharding.device_set) == 1


@pytest.mark.parametrize("rows", [0, -2, 2.0, "4", None, True])
def test_a_mesh_for_no_rows_is_a_clear_error(rows):
    with pytest.raises(ValueError, match="data_mesh: rows must be a whole number of at least 1"):
        data_mesh(rows)


@pytest.mark.parametrize("tree", [(), 3, jnp.ones(()), jnp.ones((0, 2)), {"a": "text"}])
def test_what_has_no_axis_to_split_is_a_clear_error(tree):
    with pytest.raises(ValueError, match="tree"):
        split_leading_axis(tree)


def test_every_core_becomes_a_device():
    code = (
        "import os, jax; os.sched_setaffinity(0, {cores}) if {cores} else None;"
        "from seqjax.devices import one_cpu_device_per_core as f; f(); print(jax.device_count())"
    )

    def devices(cores):
        command = [sys.executable, "-c", code.format(cores=cores)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    assert devices(cores=()) == usable_cores()
    if hasattr(os, "sched_setaffinity"):
        assert devices(cores={min(os.sched_getaffinity(0))}) == 1  # as a cluster may bind it


@pytest.mark.slow
def test_many_seeds_draw_large_kernels_on_all_devices_without_waiting_for_each_other():
    code = """
import jax
from seqjax import GRU
from seqjax.devices import split_leading_axis
jax.config.update("jax_num_cpu_devices", 2)
keys = jax.random.split(jax.random.key(0), 8)
def draw(key):
    return GRU(200).init(key, 8).candidate_kernel
kernels = jax.jit(jax.vmap(draw))(split_leading_axis(keys))
print(abs(kernels[5] - draw(keys[5])).max() < 1e-5)
"""
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "True"
