"""What all commands have in common."""

import os
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from seqjax.data.convert.columns import FORMS
from tests.data.convert.examples import file, read, run
from tests.data.convert.test_csv import CSV


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("text", []),
        ("csv", ["--group", "trip", "--sequence", "speed:float32"]),
        ("jsonl", ["--sequence", "xs:int32"]),
    ],
)
def test_an_empty_file_does_not_replace_a_data_set(tmp_path, fails, command, options):
    out = tmp_path / "out"
    run("text", file(tmp_path, "lines.txt", "ab"), out)
    source = file(tmp_path, "empty", "trip,speed\n" if command == "csv" else "")
    fails(f"{source}: has no examples; nothing was written to {out}", command, source, out,
          *options)  # fmt: skip
    assert read(out) == [{"tokens": [97, 98]}]


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    mark = b"\xef\xbb\xbf"
    columns = ["--sequence", "speed:float32", "--group"]
    source = file(tmp_path, "trips.csv", mark + CSV.encode())
    assert run("csv", source, tmp_path / "csv", *columns, "trip") == 0
    assert read(tmp_path / "csv") == [{"speed": [1.5, 2.0]}, {"speed": [3.0]}]
    source = file(tmp_path, "songs.jsonl", mark + b'{"notes": [1, 2]}\n')
    assert run("jsonl", source, tmp_path / "jsonl", "--sequence", "notes:int32") == 0
    assert read(tmp_path / "jsonl") == [{"notes": [1, 2]}]
    source = file(tmp_path, "lines.txt", mark + b"ab\n" + mark + b"a")  # a mark within is content
    assert run("text", source, tmp_path / "bytes") == 0
    assert read(tmp_path / "bytes") == [{"tokens": [97, 98]}, {"tokens": [*mark, 97]}]
    vocabulary = file(tmp_path, "vocabulary.json", mark + '["b", "a", "\ufeff"]'.encode())
    options = ["--tokens", "characters", "--vocabulary", vocabulary]
    assert run("text", source, tmp_path / "characters", *options) == 0
    assert read(tmp_path / "characters") == [{"tokens": [1, 0]}, {"tokens": [2, 1]}]


@pytest.mark.parametrize(
    ("command", "usage", "words"),
    [
        ("text", "SOURCE OUT", []),
        ("csv", "SOURCE OUT", [*FORMS]),
        ("jsonl", "SOURCE OUT", [*FORMS]),
        ("npz", "SOURCE OUT", []),
        ("ts", "SOURCE OUT", []),
        ("tfds", "NAME OUT", []),
        ("inspect", "PATH", []),
    ],
)
def test_help_names_arguments_and_dtypes(capsys, command, usage, words):
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert usage in shown
    assert "PATH PATH" not in shown
    listed = shown.partition("Dtypes are ")[2].partition(";")[0]
    assert listed.replace(" and ", ", ").split(", ") == (words or [""])


def test_it_runs_as_a_command(tmp_path):
    source = file(tmp_path, "lines.txt", "a line")
    command = [sys.executable, "-m", "seqjax.data.convert", "text", source, tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    assert done.stdout == f"{tmp_path}/out: 1 examples, 6 steps\n"
    assert tf.io.gfile.exists(str(tmp_path / "out" / "manifest.json"))


def test_ctrl_c_leaves_the_data_set_that_was_there(tmp_path, sigint_handled):
    out, pipe = tmp_path / "out", tmp_path / "lines.jsonl"
    run("text", file(tmp_path, "lines.txt", "a line"), out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    os.mkfifo(pipe)
    command = [
        sys.executable,
        "-m",
        "seqjax.data.convert",
        "jsonl",
        pipe,
        out,
        "--sequence",
        "x:int32",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    with pipe.open("w") as lines:  # waits until the command reads
        lines.write('{"x": [1, 2]}\n')
        lines.flush()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "stopped; a data set that was there before is unchanged"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
