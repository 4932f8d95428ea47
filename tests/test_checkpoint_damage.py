"""Damage of every kind to a checkpoint is named, and the other checkpoint is read in its place."""

import gc
import json
import re
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from seqjax.checkpoint import Checkpoints, CorruptCheckpointError, stored
from seqjax.checkpoint.trees import plain, types_of

# orbax may leave coroutines behind where an array cannot be read
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _collected_here():
    yield
    gc.collect()


LIKE = {"kernel": jax.ShapeDtypeStruct((40, 50), "float32"), "step": jnp.int32(0), "rest": (
    jax.ShapeDtypeStruct((30,), "bfloat16"), jax.random.key(0))}  # fmt: skip


def state(step):
    key = jax.random.key(step)
    kernel = jax.random.normal(key, (40, 50), jnp.float32)
    bias = jnp.zeros(30, jnp.bfloat16)  # compresses well
    return {"kernel": kernel, "step": jnp.int32(step), "rest": (bias, key)}


def save(checkpoints, step, loss):
    checkpoints.save(step, state(step), {"config": {"units": 4, "seed": step}}, loss)


def is_right(restored, step):
    kernel, bias, key = restored.state["kernel"], *restored.state["rest"]
    expected = state(step)
    return (
        restored.step == restored.state["step"] == step
        and restored.about == {"config": {"units": 4, "seed": step}}
        and np.asarray(kernel).tobytes() == np.asarray(expected["kernel"]).tobytes()
        and np.asarray(bias).tobytes() == bytes(60)
        and (jax.random.key_data(key) == jax.random.key_data(expected["rest"][1])).all()
    )


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def change_header(folder, step, change):
    """Change the header of a checkpoint and sign it, as if it had been written so."""
    path = folder / str(step) / "about" / "metadata"
    header = json.loads(path.read_text())
    change(header)
    path.write_text(json.dumps(stored.signed(header)))


def accept_files(folder, step):
    """Take the files of a checkpoint as they are for what was written."""
    state = folder / str(step) / "state"
    sums = {str(path.relative_to(state)): zlib.crc32(path.read_bytes()) for path in files(state)}
    change_header(folder, step, lambda header: header.update(files=sums))


def change_bit(folder, step, item="state"):
    """Change a bit in the middle of the largest file of an item."""
    path = max(files(folder / str(step) / item), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.fixture
def folder(tmp_path):
    """With the best checkpoint at step 1 and the last one at step 2."""
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        save(checkpoints, 1, 0.5)
        save(checkpoints, 2, 0.7)
    return tmp_path / "checkpoints"


@pytest.mark.parametrize("item", ["state", "about"])
@pytest.mark.parametrize(("which", "step", "other"), [("last", 2, 1), ("best", 1, 2)])
def test_a_changed_bit_is_named_and_the_other_checkpoint_is_read(
    folder, caplog, item, which, step, other
):
    change_bit(folder, step, item)
    with Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore(LIKE, which)
        assert is_right(restored, other)
        assert f"the checkpoint of step {step} in {folder} is damaged" in caplog.text
        assert f"{folder / str(step) / item}" in caplog.text
        problems = checkpoints.verify(LIKE)
        assert problems[other] is None
        assert f"{folder / str(step) / item}" in problems[step]
        change_bit(folder, other, item)
        with pytest.raises(CorruptCheckpointError, match="is damaged"):
            checkpoints.restore(LIKE, which)


def test_arrays_of_another_step_are_named(folder, caplog):
    (folder / "1" / "state").rename(folder / "other")
    (folder / "2" / "state").rename(folder / "1" / "state")
    (folder / "other").rename(folder / "2" / "state")
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(CorruptCheckpointError, match=rf"{folder}/1/state/\S+ cannot be read"):
            checkpoints.restore(LIKE)
        assert f"step 2 in {folder} is damaged" in caplog.text
    accept_files(folder, 1)
    accept_files(folder, 2)
    with Checkpoints(folder) as checkpoints:
        with pytest.raises(CorruptCheckpointError, match="is damaged"):
            checkpoints.restore(LIKE)
        assert (
            f"step 2 in {folder} is damaged, or was written by another program: the array "
            f"['kernel'] in {folder}/2/state does not match its checksum"
        ) in caplog.text


def test_a_step_under_the_name_of_another_is_named(folder):
    (folder / "1").rename(folder / "4")
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.verify(LIKE)[4].endswith("/4/about belongs to step 1")


def test_a_damaged_checkpoint_is_replaced_by_a_run_that_comes_to_its_step_again(folder, caplog):
    change_bit(folder, 2)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.restore(LIKE).step == 1
        save(checkpoints, 2, 0.6)
        assert is_right(checkpoints.restore(LIKE), 2)
        assert checkpoints.steps() == {"last": 2, "best": 1}
        change_bit(folder, 2)
    with Checkpoints(folder) as checkpoints:  # or to a step before it
        save(checkpoints, 0, 0.6)
        assert checkpoints.steps() == {"last": 0, "best": 0}


def test_a_checkpoint_of_unreadable_loss_is_not_the_best_and_goes(folder, caplog):
    change_bit(folder, 1, "about")
    with Checkpoints(folder) as checkpoints:
        assert is_right(checkpoints.restore(LIKE, "best"), 2)
        assert "it does not count as the best" in caplog.text
        save(checkpoints, 3, 0.9)
        assert sorted(path.name for path in folder.iterdir()) == ["2", "3"]


def test_another_loss_than_the_one_saved_is_noticed(folder, caplog):
    path = folder / "2" / "about" / "metadata"
    content = path.read_text()
    assert '"loss": 0.7' in content
    path.write_text(content.replace('"loss": 0.7', '"loss": 0.1'))
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps()["best"] == 1
    assert f"{folder}/2/about does not match its checksum" in caplog.text


def save_as_before(folder, losses):
    """As seqjax saved before there were checksums."""
    options = ocp.CheckpointManagerOptions(
        best_fn=lambda metrics: metrics["loss"],
        best_mode="min",
        enable_async_checkpointing=False,
    )
    with ocp.CheckpointManager(folder, options=options) as manager:
        for step, loss in enumerate(losses, start=1):
            arrays = plain(state(step))
            about = {"about": {"config": {"units": 4, "seed": step}}, "arrays": types_of(arrays)}
            args = ocp.args.Composite(
                state=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(about)
            )
            manager.save(step, args=args, metrics={"loss": loss})


def test_a_checkpoint_without_checksums_is_read_with_a_note(tmp_path, caplog):
    save_as_before(tmp_path, [0.5, 0.7])
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == {"last": 2, "best": 1}
        assert is_right(checkpoints.restore(LIKE), 2)
        assert is_right(checkpoints.restore(LIKE, "best"), 1)
        assert caplog.text.count("step 2 in") == 1
        assert "was saved without checksums" in caplog.text
        save(checkpoints, 3, 0.6)
        assert checkpoints.steps() == {"last": 3, "best": 1}


def test_damaged_metrics_of_the_last_do_not_block_the_best(tmp_path, caplog):
    save_as_before(tmp_path, [0.5, 0.7])
    (tmp_path / "2" / "metrics" / "metrics").write_text("{")
    with Checkpoints(tmp_path) as checkpoints:
        assert is_right(checkpoints.restore(LIKE, "best"), 1)
        assert is_right(checkpoints.restore(LIKE, "last"), 1)
    assert "step 2" in caplog.text


def test_a_checkpoint_without_checksums_of_files_is_read_and_checked(folder, caplog):
    change_header(folder, 2, lambda header: header.pop("files"))
    with Checkpoints(folder) as checkpoints:
        assert is_right(checkpoints.restore(LIKE), 2)
        assert not caplog.text
        change_bit(folder, 2)
        assert is_right(checkpoints.restore(LIKE), 1)
        assert f"step 2 in {folder} is damaged" in caplog.text


def test_the_storage_gets_no_damaged_file(folder, monkeypatch):
    # a read of damaged files has ended the process in native code
    monkeypatch.setattr(stored.Stored, "state", lambda *_: pytest.fail("read the arrays"))
    paths = files(folder / "2" / "state")
    assert len(paths) > 3
    with Checkpoints(folder) as checkpoints:
        for path in paths:
            content = path.read_bytes()
            for damaged in (content[:-1], content + b"x", content[:-1] + b"x", None):
                if damaged == content:
                    continue
                path.unlink() if damaged is None else path.write_bytes(damaged)
                with pytest.raises(CorruptCheckpointError, match=re.escape(f"{path} ")):
                    checkpoints._shared.read(2, LIKE)
            path.write_bytes(content)


def test_a_checkpoint_that_a_run_replaces_meanwhile_is_read_again(folder):
    with Checkpoints(folder) as checkpoints:
        shared = checkpoints._shared
        read = shared.read

        def late(step, like):
            shared.read = read
            with Checkpoints(folder) as other:
                save(other, 3, 0.4)
            return read(step, like)

        shared.read = late
        assert is_right(checkpoints.restore(LIKE), 3)
        shared.read = late
        assert is_right(checkpoints.restore(LIKE, "best"), 3)


def test_a_file_that_is_cut_is_named(folder, caplog):
    path = max(files(folder / "2" / "state"), key=lambda path: path.stat().st_size)
    path.write_bytes(path.read_bytes()[:100])
    with Checkpoints(folder) as checkpoints:
        assert is_right(checkpoints.restore(LIKE), 1)
    assert f"{path} does not match its checksum" in caplog.text
    accept_files(folder, 2)
    with Checkpoints(folder) as checkpoints:
        assert is_right(checkpoints.restore(LIKE), 1)
    assert f'"kernel/0.0" in OCDBT database at local file "{folder}/2/state/"' in caplog.text


def damage(rng, folder):
    """Change one file: a bit of it, its end, or its place with that of another."""
    paths = files(folder)
    path, other = (paths[n] for n in rng.choice(len(paths), 2, replace=False))
    content = path.read_bytes()
    kind = rng.choice(["bit", "bit", "cut", "swap"])
    if kind == "bit":
        changed = bytearray(content)
        changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
    elif kind == "cut":
        path.write_bytes(content[: rng.integers(len(content))])
    else:
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
    return f"{kind} {path.relative_to(folder)} {other.relative_to(folder)}"


def check_damages(folder, caplog, count, seed=0):
    """Damage one file at a time: what is read is right, or what is wrong is said."""
    rng = np.random.default_rng(seed)
    whole = {path: path.read_bytes() for path in files(folder)}
    outcomes = dict.fromkeys(("error", "other", "harmless", "silent"), 0)
    silent = []
    for _ in range(count):
        done = damage(rng, folder)
        for which, step in (("last", 2), ("best", 1)):
            caplog.clear()
            with Checkpoints(folder) as checkpoints:
                try:
                    restored = checkpoints.restore(LIKE, which)
                except CorruptCheckpointError as error:
                    assert str(folder) in str(error)  # noqa: PT017, no error is as good
                    outcomes["error"] += 1
                    continue
            if is_right(restored, step):
                outcomes["harmless"] += 1
            elif is_right(restored, 3 - step) and "is damaged" in caplog.text:
                outcomes["other"] += 1
            else:
                outcomes["silent"] += 1
                silent.append((done, which))
        assert files(folder) == [*whole]  # to read changes nothing
        for path, content in whole.items():
            if path.read_bytes() != content:
                path.write_bytes(content)
    assert not silent
    return outcomes


def test_damages_are_found_or_harmless(folder, caplog):
    assert check_damages(folder, caplog, 15)["other"] > 2


@pytest.mark.slow
@pytest.mark.parametrize("quarter", range(4))
def test_a_thousand_damages_are_found_or_harmless(folder, caplog, quarter):
    outcomes = check_damages(folder, caplog, 250, seed=quarter)
    print(outcomes)
    assert outcomes["other"] > 50
