"""The commands that make records of other files, and that look into them."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from seqjax.data.convert import main
from seqjax.data.records import RecordSource
from seqjax.data.schema import DTYPES
from tests.data.record_examples import GOLDEN, flip


def run(*arguments):
    return main([str(argument) for argument in arguments])


def read(directory):
    source = RecordSource(directory)
    examples = source.read(np.arange(len(source.lengths)))
    return [{name: value.tolist() for name, value in example.items()} for example in examples]


@pytest.fixture
def fails(capsys):
    """Run a command that has to fail, with a message and no traceback."""

    def run_failing(message, *arguments):
        assert run(*arguments) == 1
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error

    return run_failing


def file(directory, name, content):
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_lines_of_text_become_bytes(tmp_path):
    source = file(tmp_path, "lines.txt", "ab\n\nä\r\nlast")
    assert run("text", source, tmp_path / "out", "--shards", 2) == 0
    lines = [b"ab", "ä".encode(), b"", b"last"]  # in shards of every other line
    assert read(tmp_path / "out") == [{"tokens": list(line)} for line in lines]


def test_lines_of_text_become_characters(tmp_path, fails):
    source = file(tmp_path, "lines.txt", "bä\nab")
    vocabulary = tmp_path / "vocabulary.json"
    options = ["--tokens", "characters", "--vocabulary", vocabulary, "--compression", "GZIP"]
    assert run("text", source, tmp_path / "out", *options) == 0
    assert json.loads(vocabulary.read_text()) == ["a", "b", "ä"]
    assert read(tmp_path / "out") == [{"tokens": [1, 2]}, {"tokens": [0, 1]}]
    # one that is there is used as it is
    vocabulary.write_text('["b", "a", "ä"]')
    assert run("text", source, tmp_path / "out", *options) == 0
    assert read(tmp_path / "out") == [{"tokens": [0, 2]}, {"tokens": [1, 0]}]
    source.write_text("ab\nabc")
    fails(f"{source}, line 2: 'c' is not in {vocabulary}", "text", source, tmp_path, *options)
    vocabulary.write_text("{}")
    fails(f"{vocabulary}: must be a JSON list", "text", source, tmp_path, *options)
    fails("must be given together", "text", source, tmp_path, "--vocabulary", vocabulary)
    source.write_bytes(b"a\n\xff")
    vocabulary.unlink()
    fails(f"{source}, line 2: 'utf-8' codec", "text", source, tmp_path, *options)
    assert not vocabulary.exists()
    # what fails leaves no vocabulary, which would not fit the text that is then corrected
    source.write_text("ab\nx")
    (tmp_path / "taken").write_text("a file")
    fails("taken", "text", source, tmp_path / "taken" / "out", *options)
    assert not [*tmp_path.glob("*vocabulary*")]
    fails(f"{tmp_path}/no: No such file", "text", tmp_path / "no", tmp_path / "out")
    assert len(read(tmp_path / "out")) == 2


CSV = """trip,city,speed,stops
a,"Rome, I",1.5,1
a,"Rome, I",2,0
b,Oslo,3,7
"""


def test_groups_of_csv_rows_become_sequences(tmp_path):
    source = file(tmp_path, "trips.csv", CSV)
    columns = ["--sequence", "speed:float32", "stops:uint8", "--context", "city:bytes"]
    assert run("csv", source, tmp_path / "out", "--group", "trip", *columns) == 0
    assert read(tmp_path / "out") == [
        {"city": b"Rome, I", "speed": [1.5, 2.0], "stops": [1, 0]},
        {"city": b"Oslo", "speed": [3.0], "stops": [7]},
    ]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (CSV, ["speed"], "got 'speed'; DTYPE is one of bool, uint8, int32,"),
        (CSV, ["speed:real"], "a feature's dtype must be one of"),
        (CSV, ["pace:float32"], "missing columns ['pace'], got ['trip', 'city'"),
        (CSV, ["speed:int64"], "line 2: 'speed' must be int64, got '1.5'"),
        (CSV, ["stops:bool"], "'stops': must be bool"),
        (CSV + "a,Rome,1,1", ["speed:float32"], "line 5: trip 'a' occurs again; sort the file"),
        (CSV + "c,Bonn", ["speed:float32"], "line 5: expected one value for each column"),
        (CSV + "c,Bonn,1,2,3", ["speed:float32"], "line 5: expected one value for each column"),
        (CSV + 'c,"Bo"nn,1,2', ["speed:float32"], "expected after"),
        (CSV.encode() + b"\xff", ["speed:float32"], "start byte; convert the file to UTF-8"),
        (CSV, ["speed:float32", "--context", "stops:int64"], "line 3: 'stops' is 0 and was 1"),
        ("", ["speed:float32"], "got None"),
        ("trip,speed\n", ["speed:float32"], "trips.csv: has no examples; nothing was written to"),
        ("trip,speed,speed\na,1,2\n", ["speed:float32"], "trips.csv: the column 'speed' occurs"),
        (CSV, ["speed:float32", "speed:float32"], "the column 'speed' occurs more than once"),
        (CSV + "c,Bonn,1e400,1", ["speed:float32"], "line 5: 'speed' must be float32, got '1e400'"),
        (CSV + "c,Bonn,1e39,1", ["speed:float32"], "line 5: 'speed'"),
        (CSV + "c,Bonn,1,1_0", ["stops:int64"], "line 5: 'stops' must be int64, got '1_0'"),
        (CSV + "c,Bonn,1,1\nc,Bonn,1,300", ["stops:uint8"], "line 5 to 6: 'stops'"),
    ],
)
def test_bad_csv_says_why(tmp_path, fails, content, columns, message):
    source = file(tmp_path, "trips.csv", content)
    out = tmp_path / "out"
    fails(message, "csv", source, out, "--group", "trip", "--sequence", *columns)


def test_lists_of_jsonl_become_sequences(tmp_path, fails):
    rows = [{"id": 7, "xs": [[1, 2], [3, 4]], "more": None}, {"id": 8, "xs": []}]
    source = file(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    arguments = [source, tmp_path / "out", "--sequence", "xs:int32[2]", "--context", "id:int64"]
    assert run("jsonl", *arguments) == 0
    assert read(tmp_path / "out") == [{"id": 7, "xs": [[1, 2], [3, 4]]}, {"id": 8, "xs": []}]
    for line, message in [
        ('{"id": 1, "xs": [[1, 2], [3]]}', f"{source}, line 3: 'xs': must be int32[2]"),
        ('{"id": 1, "xs": null}', f"{source}, line 3: 'xs': must be int32[2]"),
        ('{"id": 1, "xs": []' + "[" * 900 + "]" * 900 + "}", f"{source}, line 3: "),
        ('{"id": 1, "xs": ' + "[" * 900 + "]" * 900 + "}", f"{source}, line 3: "),
        ('{"id": 1, "xs": ' + "[" * 90000 + "]" * 90000 + "}", f"{source}, line 3: "),
        ('{"id": 1, "xs": ' + "[" * 60 + "]" * 60 + "}", f"{source}, line 3: "),
        ('{"id": 1, "id": 2, "xs": []}', "line 3: the member 'id' occurs more than once"),
        (
            '{"id": 1}',
            f"{source}, line 3: expected an object with ['id', 'xs'], got an object with ['id']",
        ),
        ("[1]", f"{source}, line 3: expected an object with ['id', 'xs'], got [1]"),
        ('{"id": 1', f"{source}, line 3: Expecting"),
        ('{"id": "one", "xs": []}', f"{source}, line 3: 'id' must be int64, got 'one'"),
    ]:
        file(tmp_path, "rows.jsonl", "\n".join([*map(json.dumps, rows), line]))
        fails(message, "jsonl", *arguments)
    assert len(read(tmp_path / "out")) == 2


def test_groups_of_jsonl_lines_become_sequences(tmp_path):
    rows = [{"g": 1, "w": "a"}, {"g": 1, "w": "é"}, {"g": 2, "w": ""}]
    source = file(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    assert run("jsonl", source, out, "--sequence", "w:bytes", "--group", "g") == 0
    assert read(out) == [{"w": [b"a", "é".encode()]}, {"w": [b""]}]


def test_rows_of_arrays_become_sequences(tmp_path, fails):
    source = tmp_path / "arrays.npz"
    xs = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    np.savez(source, xs=xs, y=np.array([0.5, 1.5]), n=np.array([3, 1]), long=np.array([3, 4]))
    arguments = ["npz", source, tmp_path / "out", "--sequence", "xs", "--context", "y"]
    assert run(*arguments, "--lengths", "n") == 0
    out = tmp_path / "out"
    assert str(RecordSource(out).schema.sequence["xs"]) == "int32[4]"
    expected = [{"y": 0.5, "xs": xs[0].tolist()}, {"y": 1.5, "xs": xs[1, :1].tolist()}]
    assert read(out) == expected
    assert run(*arguments) == 0
    assert read(out)[1]["xs"] == xs[1].tolist()
    fails("'long' must be integers [N] in [0, 3]", *arguments, "--lengths", "long")
    fails("zs is not a file in the archive", *arguments, "--context", "zs")
    fails("'y' must be [N, T, ...], got (2,)", "npz", source, out, "--sequence", "y")
    np.savez(source, xs=xs, y=np.zeros(3))
    fails("must have N rows each", *arguments)
    np.savez(source, xs=xs.astype(complex), y=np.zeros(2))
    fails("'xs': a feature's dtype must be", *arguments)
    source.write_bytes(b"no zip")
    fails("cannot be read as .npz", *arguments)
    np.savez(source, xs=xs, y=np.float32(1))
    fails(f"{source}: 'y' must be [N, ...], got ()", *arguments)
    np.savez(source, xs=xs, zs=np.zeros((2, 5)))
    fails("must have T steps each, got {'xs': (2, 3, 4), 'zs': (2, 5)}", *arguments[:3],
          "--sequence", "xs", "zs")  # fmt: skip
    np.savez(source, xs=np.full((2, 3), 1e300), y=np.zeros(2))
    fails(f"{source}, row 0: 'xs'", *arguments)
    np.savez_compressed(source, xs=np.zeros((2, 10**6)), y=np.zeros(2))
    fails("decompresses to 16,000,", *arguments, "--max-decompressed-bytes", 10**6)
    assert read(out)[1]["xs"] == xs[1].tolist()


def test_a_damaged_npz_file_is_named(tmp_path, fails, capsys):
    source, out, rng = tmp_path / "arrays.npz", tmp_path / "out", np.random.default_rng(0)
    for save in (np.savez, np.savez_compressed):
        save(source, xs=np.arange(24).reshape(2, 12), y=np.array([0.5, 1.5]))
        content = source.read_bytes()
        for k in range(150):
            changed = bytearray(content)
            changed[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
            source.write_bytes(changed if k % 3 else content[: rng.integers(len(content))])
            if run("npz", source, out, "--sequence", "xs", "--context", "y"):
                assert f"error: {source}" in capsys.readouterr().err
    np.save(tmp_path / "array.npy", np.zeros(3))
    fails("cannot be read as .npz: File is not", "npz", tmp_path / "array.npy", out, "--sequence",
          "xs")  # fmt: skip


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


def test_numbers_that_no_float_holds_are_named(tmp_path, fails):
    source = file(tmp_path, "rows.jsonl", '{"x": [1.5, Infinity]}\n{"x": [1e400]}')
    arguments = ["jsonl", source, tmp_path / "out", "--sequence", "x:float32"]
    fails(f"{source}, line 2: 1e400 is more than a float can hold", *arguments)
    source.write_text('{"x": [1' + "0" * 400 + "]}")
    fails(f"{source}, line 1: 'x'", *arguments)
    source.write_text('{"g": [1], "x": 2}')
    fails(f"{source}, line 1: 'g' must be one value", *arguments, "--group", "g")


class Dummies(tfds.core.GeneratorBasedBuilder):
    """A data set of tensorflow-datasets."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        pair = tfds.features.Tensor(shape=(2,), dtype=np.float64)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(num_classes=3),
                    "steps": tfds.features.Sequence({"x": pair}),
                    "image": tfds.features.Image(shape=(None, None, 1)),
                }
            )
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for k in range(3):
            steps = {"x": np.full((k, 2), k / 2)}
            image = np.zeros((1, 1, 1), np.uint8)
            yield k, {"text": "ab"[:k], "label": k, "steps": steps, "image": image}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_data_set_of_tensorflow_datasets_becomes_sequences(tmp_path, fails):
    where = ["tfds", "dummies", tmp_path / "out", "--data-dir", tmp_path / "tfds"]
    columns = ["--sequence", "steps/x", "--context", "label", "text"]
    assert run(*where, *columns) == 0
    assert sorted(read(tmp_path / "out"), key=lambda example: example["label"]) == [
        {"label": k, "text": b"ab"[:k], "steps/x": [[k / 2, k / 2]] * k} for k in range(3)
    ]
    assert run(*where, "--sequence", "text") == 0
    assert sorted(len(example["text"]) for example in read(tmp_path / "out")) == [0, 1, 2]
    fails("select features with --sequence and --context, from {'text'", *where)
    fails("'steps/x': 'float64[None, 2]'", *where, "--context", "none")
    fails("'image' has shape (None, None, 1)", *where, "--context", "image")
    fails("'steps/x' has shape (None, 2)", *where, "--context", "steps/x")
    fails("tensorflow-datasets: ", "tfds", "dummies_of_none", tmp_path / "out")
    fails("tensorflow-datasets: ", *where, *columns, "--split", "tomorrow")


def test_inspect_shows_what_there_is(tmp_path, capsys, fails):
    source = file(tmp_path, "lines.txt", "\n".join("x" * n for n in (3, 25, 1, 3)))
    run("text", source, tmp_path / "out")
    capsys.readouterr()
    assert run("inspect", tmp_path / "out", "--first", 1) == 0
    shown = capsys.readouterr().out
    assert "│ tokens  │ sequence │ uint8 │" in shown
    assert "examples: 4, steps: 32, files: 1" in shown
    assert "1-3         3  ████" in shown
    assert "25         1  ████" in shown
    assert "example 0, 3 steps\n  tokens: [120 120 120]\n" in shown
    assert "example 1" not in shown
    (shard,) = (tmp_path / "out").glob("data-*")
    flip(shard, 20)
    fails("out: 1 problems, see above", "inspect", tmp_path / "out")
    assert run("inspect", GOLDEN / "data_example.tfrecord") == 0
    assert "float32[4]" in capsys.readouterr().out
    fails("there is no such file", "inspect", tmp_path / "none")
    fails("holds no record", "inspect", GOLDEN / "data_empty.tfrecord")
    fails("has no manifest.json", "inspect", tmp_path)


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


@pytest.mark.parametrize("content", [CSV, "g,x\n1,2\n", "a,b", '{"notes": [1]}\n' * 9])
def test_what_is_no_record_file_is_called_that(tmp_path, fails, content):
    path = file(tmp_path, "runs.csv", content)
    fails("runs.csv: record 0: this is not a TFRecord file", "inspect", path)


@pytest.mark.parametrize(
    ("command", "usage", "words"),
    [
        ("text", "SOURCE OUT", []),
        ("csv", "SOURCE OUT", [*DTYPES]),
        ("jsonl", "SOURCE OUT", [*DTYPES]),
        ("npz", "SOURCE OUT", []),
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
    assert done.stdout == f"{tmp_path}/out: 1 examples\n"
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
