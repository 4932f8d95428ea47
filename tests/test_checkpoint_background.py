"""A save in the background is whole, and its error is raised by the next call."""

import logging
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.checkpoint import Checkpoints, stored
from seqjax.devices import split_leading_axis


@pytest.fixture
def slow(monkeypatch):
    """Writes wait until they are told to go on, and fail where that is asked for."""
    go_on, fails = threading.Event(), threading.Event()
    write = stored.write_arrays

    def wait(path, state):
        assert go_on.wait(10)
        if fails.is_set():
            raise OSError("No space left on device")
        write(path, state)

    monkeypatch.setattr(stored, "write_arrays", wait)
    wait.go_on, wait.fails = go_on, fails
    return wait


@pytest.mark.parametrize("split", [False, True])
def test_what_is_saved_is_what_was_given_although_its_buffers_are_used_again(tmp_path, slow, split):
    step = jax.jit(lambda x: x + 1, donate_argnums=0)
    x = jnp.zeros((4, 1000), jnp.float32)
    x = split_leading_axis(x) if split else x
    host = np.zeros(1000, np.float32)
    with Checkpoints(tmp_path, background=True) as checkpoints:
        checkpoints.save(1, {"x": x, "host": host, "key": jax.random.key(1)}, {"n": 1}, 0.5)
        y = step(step(x))
        assert x.is_deleted()
        host += 7
        assert not (tmp_path / "1").exists()
        slow.go_on.set()
        like = {"x": y, "host": host, "key": jax.random.key(0)}
        restored = checkpoints.restore(like)
        assert restored.about == {"n": 1}
        assert not np.asarray(restored.state["x"]).any()
        assert not np.asarray(restored.state["host"]).any()
        assert restored.state["x"].sharding == y.sharding
        assert (jax.random.key_data(restored.state["key"]) == jnp.array([0, 1], "uint32")).all()


def test_the_next_call_and_the_end_wait_and_raise_the_error(tmp_path, slow, caplog):
    slow.go_on.set()
    state, message = {"w": jnp.ones(3)}, r"step 2 .* are intact \(No space left on device\)"
    with Checkpoints(tmp_path, background=True) as checkpoints:
        checkpoints.save(1, state, {}, 0.5)
        assert checkpoints.steps() == {"last": 1, "best": 1}
        slow.fails.set()
        checkpoints.save(2, state, {}, 0.5)
        with pytest.raises(OSError, match=message):
            checkpoints.save(3, state, {}, 0.5)
        checkpoints.save(2, state, {}, 0.5)
        with pytest.raises(OSError, match=message):
            checkpoints.wait()
        checkpoints.wait()
        assert checkpoints.steps() == {"last": 1, "best": 1}
    with (
        pytest.raises(OSError, match=message),
        Checkpoints(tmp_path, background=True) as checkpoints,
    ):
        checkpoints.save(2, state, {}, 0.5)
    with (  # noqa: PT012
        caplog.at_level(logging.WARNING),
        pytest.raises(KeyError),
        Checkpoints(tmp_path, background=True) as checkpoints,
    ):
        checkpoints.save(2, state, {}, 0.5)
        raise KeyError
    assert "No space left" in caplog.text
    slow.fails.clear()
    with Checkpoints(tmp_path, background=True) as checkpoints:
        checkpoints.save(4, state, {}, 0.4)
    assert [path.name for path in tmp_path.iterdir()] == ["4"]


def test_wrong_arguments_are_named_at_once(tmp_path):
    with Checkpoints(tmp_path, background=True) as checkpoints:
        with pytest.raises(ValueError, match="step must be a whole number"):
            checkpoints.save(-1, {"w": jnp.ones(2)}, {}, 0.5)
        with pytest.raises(ValueError, match="about must be JSON data"):
            checkpoints.save(1, {"w": jnp.ones(2)}, {"a": object()}, 0.5)
    with pytest.raises(ValueError, match="saves inside of a with block"):
        Checkpoints(tmp_path, background=True).save(1, {"w": jnp.ones(2)}, {}, 0.5)
    assert not any(tmp_path.iterdir())
