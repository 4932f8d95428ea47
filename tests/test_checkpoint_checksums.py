"""The checksum of an array is that of its bytes, however the array is split."""

import itertools
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.checkpoint import checksums


def crc(array):
    return zlib.crc32(np.asarray(array).tobytes())


@given(st.data())
def test_blocks_of_any_grid_add_up_to_the_checksum_of_the_array(data):
    shape = data.draw(st.lists(st.integers(0, 7), max_size=4))
    dtype = data.draw(st.sampled_from(["int8", "float16", "float32", "float64"]))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    content = data.draw(st.binary(min_size=size, max_size=size))
    array = np.frombuffer(content, dtype).reshape(shape)
    cuts = [
        [0, *sorted(data.draw(st.lists(st.integers(0, n), max_size=2))), n] if n else [0, 0]
        for n in shape
    ]
    total = checksums._zeros(array.nbytes)
    grid = [list(itertools.pairwise(c)) for c in cuts]
    for index in np.ndindex(*[len(axis) for axis in grid]):
        ends = [axis[n] for axis, n in zip(grid, index, strict=True)]
        block = array[tuple(slice(*end) for end in ends)]
        total ^= checksums.contribution(block, [end[0] for end in ends], array.shape)
    assert total == zlib.crc32(content)


@given(content=st.binary(max_size=40), piece=st.integers(1, 9))
def test_pieces_add_up_to_the_checksum_of_an_array_and_of_a_file(tmp_path_factory, content, piece):
    folder = tmp_path_factory.mktemp("files")
    (folder / "a").write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checksums, "_PIECE", piece)
        assert checksums.of_files(folder, ["a"]) == {"a": zlib.crc32(content)}
        whole = checksums.local({"b": np.frombuffer(content, "uint8")}).whole
    assert whole == {"['b']": zlib.crc32(content)}


@pytest.mark.parametrize("spec", [(), ("a",), (None, "a"), ("a", "b"), (("a", "b"),), (None, "b")])
def test_shards_of_devices_add_up_and_replicas_are_compared(spec):
    devices = np.array([jax.devices()[0], jax.devices()[1]]).reshape(2, 1)
    sharding = NamedSharding(Mesh(devices, ("a", "b")), PartitionSpec(*spec))
    array = jax.random.normal(jax.random.key(0), (4, 6), jnp.bfloat16)
    split = jax.device_put(array, sharding)
    parts = checksums._of_shards(split)
    replicas = {replica for replica, _ in parts}
    assert len(replicas) == (1 if "a" in str(spec) else 2)
    found = checksums.combined([checksums.Local({}, {"w": parts})], {"w": array.nbytes})
    assert found == {"w": crc(array)}
    if len(replicas) == 2:
        parts[1][1] ^= 1
        with pytest.raises(checksums.DifferentArraysError, match="w differs between its replicas"):
            checksums.combined([checksums.Local({}, {"w": parts})], {"w": array.nbytes})


def test_what_one_process_holds_whole_has_the_checksum_of_its_bytes():
    tree = {"a": np.arange(5), "b": jnp.float32(2), "c": np.zeros((0, 3)), "d": jnp.ones(3, bool)}
    found = checksums.combined([checksums.local(tree)], {f"['{name}']": 0 for name in tree})
    assert found == {f"['{name}']": crc(array) for name, array in tree.items()}
