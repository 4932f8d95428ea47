"""Writers that die, fail or meet another one; what reading and writing may cost."""

import errno
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from seqjax.data.records import (
    CorruptRecordError,
    Feature,
    RecordSource,
    Schema,
    write,
)
from tests.data.record_examples import (
    EXAMPLES,
    SCHEMA,
    assert_same,
    files,
    flip,
    read_all,
)

WRITER = """
    import os, pathlib, shutil, sys
    import numpy as np
    from seqjax.data.schema import Feature, Schema
    from seqjax.data.tfrecord import Compression
    from seqjax.data.writing import write

    root = pathlib.Path(sys.argv[1])
    schema = Schema(sequence={"x": Feature(np.int64)})
    # what reaches the file system and can be told to fail, and the examples themselves
    events = {"open", "os.mkdir", "os.rename", "os.remove", "drawn", "fsync"}

    def examples(base, n):
        for k in range(n):
            sys.audit("drawn")
            yield {"x": [base + k] * k}

    def die_at(stage, how):
        past = []
        def hook(event, arguments):
            path = str(arguments[0]) if arguments else ""
            if event in ("drawn", "fsync") or event in events and path.startswith(str(root)):
                past.append(event)
                if len(past) == stage:
                    if how == "killed":
                        os.kill(os.getpid(), 9)
                    raise OSError(28, "No space left on device")
        sys.addaudithook(hook)
        os.fsync = lambda fd: sys.audit("fsync")
        return past

    def attempt(directory, stage, how):
        child = os.fork()
        if child == 0:
            past = die_at(stage, how)
            try:
                write(directory, schema, examples(100, 5), shards=2)
            finally:
                os._exit(len(past) < stage)
        return os.waitpid(child, 0)[1] == 256

    write(root / "template", schema, examples(0, 4), shards=2, compression=Compression.GZIP)
    for start in ("old", "none"):
        for stage in range(1, 100):
            directory = root / f"{start}-{stage}"
            if start == "old":
                shutil.copytree(root / "template", directory)
            if attempt(directory, stage, sys.argv[2]):
                break
        assert 15 < stage < 99, stage
"""


@pytest.mark.parametrize("how", ["killed", pytest.param("raised", marks=pytest.mark.slow)])
def test_a_writer_that_dies_anywhere_leaves_the_old_or_the_new(tmp_path, monkeypatch, how):
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # it takes most of the time
    schema = Schema(sequence={"x": Feature(np.int64)})
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(WRITER), tmp_path, how]
    subprocess.run(command, check=True)
    old = [[0 + k] * k for k in (0, 2, 1, 3)]
    new = [[100 + k] * k for k in (0, 2, 4, 1, 3)]
    outcomes = {"old": set(), "none": set()}
    for directory in tmp_path.iterdir():
        if directory.name == "template":
            continue
        start = directory.name.split("-")[0]
        found = None
        if start == "old" or (directory / "manifest.json").exists():
            found = [example["x"].tolist() for example in read_all(RecordSource(directory))]
        assert found in ([old, new] if start == "old" else [None, new])
        outcomes[start].add("new" if found == new else "not")
        write(directory, schema, [{"x": [1]}])
        assert len(list(directory.iterdir())) == 3  # nothing is left of earlier ones
    assert outcomes == {"old": {"new", "not"}, "none": {"new", "not"}}


def test_an_error_among_the_examples_leaves_nothing_behind(tmp_path):
    def failing():
        yield EXAMPLES[0]
        raise RuntimeError("the data ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        write(tmp_path, SCHEMA, failing(), shards=3)
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_names_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "data-old.tfrecord").write_text("mine too")
    write(tmp_path, SCHEMA, EXAMPLES)
    write(tmp_path, SCHEMA, EXAMPLES)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_file_system_that_cannot_lock_is_not_another_writer(tmp_path, monkeypatch):
    def flock(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")  # as NFS says

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    with pytest.raises(ValueError, match=f"{tmp_path}: cannot be written to: No locks available"):
        write(tmp_path, SCHEMA, EXAMPLES)


def test_one_writer_at_a_time(tmp_path):
    def examples():
        yield EXAMPLES[0]
        with pytest.raises(ValueError, match=f"{tmp_path}: another process is writing to it"):
            write(tmp_path, SCHEMA, EXAMPLES)

    assert write(tmp_path, SCHEMA, examples()) == 1
    assert_same(read_all(RecordSource(tmp_path)), EXAMPLES[:1])


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=f"{tmp_path}/file/new: cannot be written to: Not a dir"):
        write(tmp_path / "file" / "new", SCHEMA, EXAMPLES)


def test_a_damaged_manifest_stops_the_writer_too(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    flip(tmp_path / "manifest.json", 30)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CorruptRecordError, match="does not match its checksum"):
        write(tmp_path, SCHEMA, EXAMPLES)
    assert sorted(tmp_path.iterdir()) == before


def test_memory_does_not_grow_with_the_data_set(tmp_path):
    import tracemalloc

    example = {"x": np.zeros((4, 5000), np.float32)}
    schema = Schema(sequence={"x": Feature(np.float32, (5000,))})
    tracemalloc.start()
    write(tmp_path, schema, (example for _ in range(200)), shards=2)  # 16 MB
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(path.stat().st_size for path in files(tmp_path)) > 15e6
    assert peak < 2e6


def test_writing_imports_no_tensorflow():
    code = "import seqjax.data.writing, sys; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_tensorflow_sees_no_gpu():
    assert tf.config.get_visible_devices("GPU") == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda out: write(out, {"x": Feature("int32")}, []), "schema must be a Schema, .* a dict"),
        (lambda out: write(out, Schema({"x": Feature("int32")}), 3), "examples must be .*, got 3"),
        (lambda out: write(out, Schema({"x": Feature("int32")}), [3]), "example 0: .* got an int"),
        (lambda out: RecordSource(out, {"x": "int32"}), "schema must be a Schema, .* got a dict"),
        (lambda out: Schema({"x": "int32"}), "context must be a dictionary of features"),
        (lambda out: Schema(sequence=["x"]), r"sequence must be a dictionary .* got \['x'\]"),
    ],
)
def test_what_is_no_schema_or_example_is_a_clear_error(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path / "out")
