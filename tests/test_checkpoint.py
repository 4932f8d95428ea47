"""Checkpoints: bit for bit, the last and the best, and nothing read that is not whole."""

import errno
import math
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.checkpoint import Checkpoints
from seqjax.devices import split_leading_axis

GOLDEN = pathlib.Path(__file__).parent / "golden"
STATE = {
    "w": jnp.array([0.1, jnp.nan, -0.0], jnp.float32),
    "half": jnp.array([1.5], jnp.bfloat16),
    "key": jax.random.key(7),
    "step": jnp.int32(3),
    "none": None,
    "pair": (jnp.zeros((2, 1), jnp.float32), jnp.ones((), bool)),
}


def bits(tree):
    keys = jax.tree.map(
        lambda a: jax.random.key_data(a) if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else a,
        tree,
    )
    return [(np.asarray(leaf).dtype, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(keys)]


def save(checkpoints, step, loss):
    checkpoints.save(step, {"step": jnp.int32(step)}, {"n": step}, loss)


def test_what_is_read_is_what_was_saved_bit_for_bit(tmp_path):
    about = {"config": {"units": 3}, "text": "é\n"}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, STATE, about, 1.0)
    with Checkpoints(tmp_path) as checkpoints:
        restored = checkpoints.restore(jax.eval_shape(lambda: STATE))
        assert bits(restored.state) == bits(STATE)
        assert jax.tree.structure(restored.state) == jax.tree.structure(STATE)
        assert (restored.about, restored.step) == (about, 5)
        assert checkpoints.about() == about


def test_the_last_and_the_best_are_kept_and_no_others(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == {}
        for step, loss in enumerate([3.0, 1.0, 2.0, math.inf, 2.5]):
            save(checkpoints, step, loss)
        assert checkpoints.steps() == {"last": 4, "best": 1}
        assert checkpoints.restore({"step": jnp.int32(0)}, "best").state["step"] == 1
        save(checkpoints, 5, 0.5)
        assert checkpoints.steps() == {"last": 5, "best": 5}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["5"]


def test_a_loss_that_is_no_number_is_never_the_best(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step, loss in enumerate([0.5, math.nan, 0.7, -math.inf, 0.6], start=1):
            save(checkpoints, step, loss)
            assert checkpoints.steps() == {"last": step, "best": 1}
    with Checkpoints(tmp_path / "diverged") as checkpoints:
        for step, loss in enumerate([math.inf, math.nan, math.nan], start=1):
            save(checkpoints, step, loss)
        assert checkpoints.steps() == {"last": 3, "best": 1}
        save(checkpoints, 4, 0.5)
        assert checkpoints.steps() == {"last": 4, "best": 4}


def test_the_same_state_is_left_as_it_is_and_another_replaces_it(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.ones(2)}, {"n": 1}, 0.5)
        checkpoints.save(1, {"w": jnp.ones(2)}, {"n": 2}, math.inf)
        assert checkpoints.about() == {"n": 1}
        checkpoints.save(1, {"w": jnp.zeros(2)}, {"n": 3}, 0.5)
        assert checkpoints.about() == {"n": 3}
        # an evaluation that was interrupted, and its repetition
        checkpoints.save(2, {"w": jnp.ones(2)}, {"n": 4}, math.inf)
        checkpoints.save(2, {"w": jnp.ones(2)}, {"n": 5}, 0.25)
        assert checkpoints.about() == {"n": 5}
        assert checkpoints.steps() == {"last": 2, "best": 2}
        checkpoints.restore({"w": jnp.zeros(2)}, "best")
        checkpoints.save(3, {"w": jnp.zeros(2)}, {"n": 6}, 0.75)
        assert checkpoints.steps() == {"last": 3, "best": 2}
        assert checkpoints.restore({"w": jnp.ones(2)}).state["w"].tolist() == [0, 0]


def test_a_fault_of_the_machine_is_no_damage(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.ones(2)}, {}, 0.5)
        checkpoints.save(2, {"w": jnp.zeros(2)}, {}, 0.75)

        def fails(path, **_):
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as fault:
            fault.setattr(pathlib.Path, "read_text", fails)
            with pytest.raises(OSError, match=r"cannot be read now .* try again"):
                checkpoints.restore({"w": jnp.ones(2)})
            with pytest.raises(OSError, match="Input/output error"):
                checkpoints.save(3, {"w": jnp.ones(2)}, {}, 0.75)
        assert checkpoints.restore({"w": jnp.ones(2)}, "best").step == 1  # it was not removed


@pytest.mark.parametrize(
    ("step", "about", "message"),
    [
        (-1, {}, "step must be a whole number of at least 0, got -1"),
        (1.0, {}, "step must be a whole number of at least 0, got 1.0"),
        (1, {"a": object()}, "about must be JSON data"),
    ],
)
def test_what_cannot_be_saved_is_named(tmp_path, step, about, message):
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match=message):
        checkpoints.save(step, {"w": jnp.ones(2)}, about, 0.5)
    assert not any(tmp_path.iterdir())


def test_a_leaf_that_is_no_array_is_named(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match=r"holds arrays, but \['n'\] is 3; give np.asarray"):
            checkpoints.save(1, {"n": 3}, {}, 0.5)
        checkpoints.save(1, {"n": jnp.int32(3)}, {}, 0.5)
        with pytest.raises(ValueError, match=r"holds arrays, but \['n'\] is 3"):
            checkpoints.restore({"n": 3})


def test_float64_is_not_narrowed_silently(tmp_path):
    with jax.enable_x64(False), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": np.ones(2)}, {}, 0.5)
        with pytest.raises(ValueError, match=r"holds float64, .* set jax_enable_x64"):
            checkpoints.restore({"w": np.ones(2)})
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore({"w": np.ones(2)}).state["w"].dtype == "float64"


def test_reading_writes_nothing(tmp_path):
    with Checkpoints(tmp_path / "none") as checkpoints:
        assert checkpoints.steps() == {}
    assert not any(tmp_path.iterdir())


def test_what_two_devices_saved_is_read_where_there_is_one(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        state = {"w": split_leading_axis(jnp.arange(4, dtype=jnp.float32))}
        assert len(state["w"].devices()) == 2
        checkpoints.save(1, state, {}, 1.0)
    code = (
        "import jax, pathlib, sys; from seqjax.checkpoint import Checkpoints\n"
        "assert jax.device_count() == 1\n"
        "with Checkpoints(pathlib.Path(sys.argv[1])) as checkpoints:\n"
        "    like = {'w': jax.ShapeDtypeStruct((4,), 'float32')}\n"
        "    print(checkpoints.restore(like).state['w'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[0. 1. 2. 3.]\n"


def test_what_was_killed_half_way_is_no_checkpoint(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 1.0)
    (half,) = tmp_path.iterdir()
    shutil.copytree(half, tmp_path / "2.orbax-checkpoint-tmp-17")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == {"last": 1, "best": 1}
        assert checkpoints.restore({"step": jnp.int32(0)}).state["step"] == 1
        save(checkpoints, 2, 0.5)
        assert checkpoints.steps()["last"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["2"]  # what was half-written is gone


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"step": jnp.zeros(2, jnp.int32)}, r"expected int32\[2\] for \['step'\], got int32\[\]"),
        ({"step": jnp.float32(0)}, r"expected float32\[\] for \['step'\], got int32\[\]"),
        ({"other": jnp.int32(0)}, r"expected int32\[\] for \['other'\], got nothing"),
        ({}, r"expected nothing for \['step'\], got int32"),
    ],
)
def test_another_structure_is_named(tmp_path, like, message):
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 1, 1.0)
        with pytest.raises(ValueError, match=message):
            checkpoints.restore(like)


def test_an_empty_folder_and_a_damaged_checkpoint_are_named(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(ValueError, match="holds no checkpoint"):
            checkpoints.restore({"step": jnp.int32(0)})
        save(checkpoints, 1, 1.0)
        for file in (tmp_path / "1" / "about").iterdir():
            file.write_text("{")
        with pytest.raises(ValueError, match=r"is damaged, .* cannot be read"):
            checkpoints.about()


def test_a_disk_without_room_is_an_error_and_what_was_there_stays(tmp_path, monkeypatch):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.ones(4)}, {}, 1.0)
        usage = shutil.disk_usage(tmp_path)._replace(free=31)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(OSError, match=r"step 2 .* it has 32 bytes, but 31 are free; make room"):
            checkpoints.save(2, {"w": jnp.ones(4)}, {}, 0.5)
        assert checkpoints.steps() == {"last": 1, "best": 1}


def test_a_checkpoint_that_an_earlier_orbax_wrote_is_read(tmp_path):
    shutil.unpack_archive(GOLDEN / "checkpoint_orbax_0.11.30.zip", tmp_path)
    expected = {
        "kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "step": jnp.int32(7),
        "key": jax.random.key(3),
    }
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == {"last": 7, "best": 7}
        restored = checkpoints.restore(expected)
    assert restored.about == {"units": 3}
    jax.tree.map(np.testing.assert_array_equal, bits(restored.state), bits(expected))
