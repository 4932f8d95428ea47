"""One of the processes of tests/test_checkpoint_processes.py."""

import json
import logging
import pathlib
import sys
import time
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from seqjax.checkpoint import Checkpoints, CorruptCheckpointError, agreement, shared, stored
from seqjax.devices import data_mesh
from seqjax.hosts import join


def mesh():
    return jax.make_mesh((jax.device_count(),), ("data",), (jax.sharding.AxisType.Auto,))


def place(array, *spec):
    """The same array on the devices of all processes."""
    sharding = NamedSharding(mesh(), PartitionSpec(*spec))
    array = np.asarray(array)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def arrays(seed):
    rng = np.random.default_rng(seed)
    return {
        "replicated": rng.normal(size=(3, 5)).astype(np.float32),
        "rows": rng.normal(size=(8, 40, 30)).astype(np.float32),
        "columns": rng.integers(0, 99, (6, 16)).astype(np.int16),
        "step": np.int32(seed),
    }


def state(seed):
    """Replicated, split along its first and its second axis, in NumPy, and keys."""
    given = arrays(seed)
    key = jax.random.key_data(jax.random.key(seed))
    return {
        "replicated": place(given["replicated"]),
        "rows": place(given["rows"], "data"),
        "columns": place(given["columns"], None, "data"),
        "step": given["step"],
        "key": jax.random.key(seed),
        "shared_key": jax.random.wrap_key_data(place(key)),
    }


def check(restored, seed):
    given = arrays(seed)
    assert restored.about == {"seed": seed}
    assert restored.step == restored.state["step"] == seed
    for name in ("replicated", "rows", "columns"):
        for shard in restored.state[name].addressable_shards:
            np.testing.assert_array_equal(np.asarray(shard.data), given[name][shard.index])
    for name in ("key", "shared_key"):
        data = jax.random.key_data(restored.state[name]).addressable_data(0)
        np.testing.assert_array_equal(data, jax.random.key_data(jax.random.key(seed)))


def save(checkpoints, seed, loss, **replaced):
    checkpoints.save(seed, state(seed) | replaced, {"seed": seed}, loss)


def same_as_one_process(folder, process):
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == {}
        for step, loss in ((1, 0.5), (2, 0.7), (3, 0.6)):
            save(checkpoints, step, loss)
        assert checkpoints.steps() == {"last": 3, "best": 1}
        assert checkpoints.about("best") == {"seed": 1}
        check(checkpoints.restore(state(0)), 3)
        check(checkpoints.restore(state(0), "best"), 1)
        assert checkpoints.verify(state(0)) == {1: None, 3: None}
        before = (folder / "3").stat().st_mtime_ns
        save(checkpoints, 3, 9.0)  # holds the same arrays already
        assert (folder / "3").stat().st_mtime_ns == before
        # on other shardings
        like = state(0) | {
            "columns": place(arrays(0)["columns"]),
            "replicated": np.ones((3, 5), "f"),
        }
        like["rows"] = jax.ShapeDtypeStruct(
            (8, 40, 30), jnp.float32
        )  # on the device of each process
        restored = checkpoints.restore(like)
        assert restored.state["columns"].is_fully_replicated
        assert restored.state["rows"].is_fully_addressable
        check(restored, 3)
    header = stored.Stored(folder / "3").header(print)
    expected = {name: zlib.crc32(np.asarray(a).tobytes()) for name, a in arrays(3).items()}
    assert expected.items() <= {k[2:-2]: v for k, v in header.checksums.items()}.items()


def differences_are_refused(folder, process):
    with Checkpoints(folder) as checkpoints:
        message = r"\['step'\] differs between processes 0 and 1; give all processes the same"
        with pytest.raises(ValueError, match=message):
            save(checkpoints, 1, 0.5, step=np.int32(process))
        with pytest.raises(ValueError, match=r"saves the loss 0.0, and process 1 1.0"):
            save(checkpoints, 1, float(process))
        with pytest.raises(ValueError, match=r"process 1 at: save step 2; all processes must"):
            save(checkpoints, 1 + process, 0.5)
        with pytest.raises(ValueError, match=r"process 1: step must be|^step must be a whole"):
            checkpoints.save("no step" if process else 1, state(1), {}, 0.5)
        assert checkpoints.steps() == {}
        with pytest.raises(ValueError, match=r"all processes must call the methods"):
            checkpoints.steps() if process else checkpoints.verify(state(0))


def an_error_of_one_is_an_error_of_all(folder, process):
    write = stored.write_arrays

    def full(path, state):
        if process:
            raise OSError("No space left on device")
        write(path, state)

    with Checkpoints(folder) as checkpoints:
        save(checkpoints, 1, 0.5)
        stored.write_arrays = full
        with pytest.raises(OSError, match=r"step 2 .* earlier checkpoints are intact \(No space"):
            save(checkpoints, 2, 0.4)
        stored.write_arrays = write
        check(checkpoints.restore(state(0)), 1)
        assert len([*folder.iterdir()]) == 2  # what was not completed goes with the next save
        save(checkpoints, 3, 0.4)
        assert [path.name for path in folder.iterdir()] == ["3"]


def a_folder_of_its_own_is_named(folder, process):
    limit, shared.SHARED_WITHIN = shared.SHARED_WITHIN, 0.2
    with Checkpoints(folder / str(process)) as checkpoints:
        message = r"process \d does not see .*, which process 0 saw; all processes must share"
        with pytest.raises(OSError, match=message):
            save(checkpoints, 1, 0.5)
        assert checkpoints.steps() == {}
    shared.SHARED_WITHIN = limit


def damage_leads_to_the_other_checkpoint(folder, process):
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logging.getLogger("seqjax").addHandler(handler)
    with Checkpoints(folder) as checkpoints:
        save(checkpoints, 1, 0.5)
        save(checkpoints, 2, 0.7)
        if process == 0:
            header = folder / "2" / "about" / "metadata"
            text = header.read_text(encoding="utf-8").replace("0.7", "0.1")
            header.write_text(text, encoding="utf-8")
        check(checkpoints.restore(state(0)), 1)
        save(checkpoints, 2, 0.7)
        if process == 0:  # what process 1 has written
            paths = (folder / "2" / "state" / "ocdbt.process_1" / "d").iterdir()
            path = max(paths, key=lambda path: path.stat().st_size)
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 4
            path.write_bytes(content)
        with pytest.raises(CorruptCheckpointError, match=r"step 2 .* is damaged"):
            checkpoints._shared.read(2, state(0))
        check(checkpoints.restore(state(0)), 1)
    assert bool(messages) == (process == 0)
    logging.getLogger("seqjax").removeHandler(handler)


def each_process_checks_files_of_its_own(folder, process):
    names, check_files = [], stored.Stored.check_files

    def noted(self, files):
        names.extend(files)
        check_files(self, files)

    with Checkpoints(folder) as checkpoints:
        save(checkpoints, 1, 0.5)
        stored.Stored.check_files = noted
        check(checkpoints.restore(state(0)), 1)
        stored.Stored.check_files = check_files
    folder.with_name(f"files of {process}.json").write_text(json.dumps(names))


def who_does_not_come_is_named(folder, process):
    limit, agreement.TIME_LIMIT = agreement.TIME_LIMIT, 0.5
    with Checkpoints(folder) as checkpoints:
        time.sleep(1.0 * process)
        with pytest.raises(TimeoutError, match=r"process 1 did not come to: list .* 0.5 s"):
            checkpoints.steps()
        agreement.TIME_LIMIT = limit
        assert checkpoints.steps() == {}


def a_background_save_is_whole(folder, process):
    step = jax.jit(lambda x: x + jnp.mean(x) * 0 + 1, donate_argnums=0)
    with Checkpoints(folder, background=True) as checkpoints:
        x = place(np.zeros((8, 20_000), np.float32), "data")
        for number in range(1, 5):
            checkpoints.save(number, {"x": x}, {"seed": number}, 1.0 / number)
            for _ in range(20):  # overwrites what is being saved
                x = jax.block_until_ready(step(x))
        assert checkpoints.steps() == {"last": 4, "best": 4}
        restored = checkpoints.restore({"x": x})
        for shard in restored.state["x"].addressable_shards:
            assert (np.asarray(shard.data) == 60).all()
        write = stored.write_arrays

        def full(path, state):
            time.sleep(0.2)
            raise OSError(f"disk {process} is full")

        stored.write_arrays = full
        checkpoints.save(5, {"x": x}, {}, 1.0)
        with pytest.raises(OSError, match=r"step 5 .* are intact \(disk . is full\)"):
            checkpoints.save(6, {"x": x}, {}, 1.0)
        stored.write_arrays = write
        assert checkpoints.steps() == {"last": 4, "best": 4}
        checkpoints.save(7, {"x": x}, {}, 0.1)
    assert [path.name for path in folder.iterdir()] == ["7"]


def each_process_saves_alone(folder, process):
    mesh = data_mesh(8, alone=True)
    rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
    assert {*mesh.devices.flat} == {*jax.local_devices()}
    split = jax.device_put(np.arange(8, dtype=np.float32), rows)
    key = jax.device_put(jax.random.key(process), whole)
    for step in range(1, 2 + process):  # each at its own pace
        state = {
            "rows": split + step,
            "key": key,
            "step": np.int32(step),
            "half": jnp.ones(3, "bfloat16"),
        }
        for background in (False, True):
            path = folder / f"{process}{background}"
            with Checkpoints(path, background=background, alone=True) as checkpoints:
                checkpoints.save(step, state, {"process": process}, loss=0.5)
                restored = checkpoints.restore(state)
                assert checkpoints.verify(state) == {step: None}
            assert restored.about == {"process": process}
            assert restored.state["rows"].sharding == rows
            for name in ("rows", "step", "half"):
                np.testing.assert_array_equal(restored.state[name], state[name])
            assert (restored.state["key"] == key).all()


CHECKS = [
    same_as_one_process, differences_are_refused, an_error_of_one_is_an_error_of_all,
    a_folder_of_its_own_is_named, damage_leads_to_the_other_checkpoint,
    each_process_checks_files_of_its_own, who_does_not_come_is_named, each_process_saves_alone,
    a_background_save_is_whole,
]  # fmt: skip


def write(folder):
    for one in CHECKS:
        began = time.monotonic()
        one(folder / one.__name__, jax.process_index())
        print(f"{one.__name__}: {time.monotonic() - began:.2f} s", flush=True)


def read(folder):
    """Read what others have saved."""
    with Checkpoints(folder / same_as_one_process.__name__) as checkpoints:
        check(checkpoints.restore(state(0)), 3)
        assert checkpoints.verify(state(0)) == {1: None, 3: None}


if __name__ == "__main__":
    join()
    {"read": read, "write": write}[sys.argv[2]](pathlib.Path(sys.argv[1]))
