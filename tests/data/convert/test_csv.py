"""The command ``csv``."""

import numpy as np
import pytest
import tensorflow as tf

from seqjax.data.convert.csv import csv
from seqjax.data.records import Feature, RecordSource
from tests.data.convert.examples import file, mutations, read, run

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
        (CSV, ["speed:real"], "got 'speed:real'; DTYPE is one of bool"),
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


WALKS = """person;walk;ax;ay;az;pace;activity
Ann;1;1;2;9.8;3;run
Ann;1;2;2.5;9.7;4;run
Bob;2;0;1;9.9;5;walk
"""


@pytest.mark.parametrize("delimiter", [";", "tab", "\\t", "|"])
def test_columns_are_joined_to_one_feature(tmp_path, delimiter):
    between = "\t" if "t" in delimiter else delimiter
    source = file(tmp_path, "walks.csv", "\ufeff" + WALKS.replace(";", between))
    columns = ["--sequence", "x=ax,ay,az:float32", "speed=pace:int32", "--group", "walk"]
    labels = ["--context", "activity:class", "who=person:bytes", "--delimiter", delimiter]
    assert run("csv", source, tmp_path / "out", *columns, *labels) == 0
    schema = RecordSource(tmp_path / "out").schema
    assert schema.sequence["x"] == Feature("float32", (3,))
    assert schema.context["activity"].classes == ("run", "walk")
    x = np.array([[1, 2, 9.8], [2, 2.5, 9.7]], np.float32)
    assert read(tmp_path / "out") == [
        {"activity": 0, "who": b"Ann", "x": x.tolist(), "speed": [3, 4]},
        {"activity": 1, "who": b"Bob", "x": [[0, 1, np.float32(9.9)]], "speed": [5]},
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sequence", "x=ax,ay,ax:float32"], "the column 'ax' occurs more than once"),
        (["--sequence", "x=ax,ay:float32[2]"], "joined columns must hold single numbers"),
        (["--sequence", "x=ax,up:float32"], "missing columns ['up'], got ['person', 'walk',"),
        (["--sequence", "x=ax:utf8"], "leave out --group, or use NAME:bytes"),
        (["--context", "x=person:utf8"], "x:utf8 is a sequence of tokens; give it to --sequence"),
        (["--sequence", "x=ax:characters"], "must be given together, got no vocabulary"),
        (["--sequence", "ax:float32", "--delimiter", ",,"], "--delimiter must be one character"),
        (["--sequence", "ax:float32", "--delimiter", ","], "with --delimiter"),
        (["--sequence", "ax:float32", "--split-by", "person"], "--split-by needs --split"),
        ([], "select columns with --sequence and --context"),
    ],
)
def test_bad_columns_say_why(tmp_path, fails, options, message):
    source = file(tmp_path, "walks.csv", WALKS)
    between = [] if "--delimiter" in options else ["--delimiter", ";"]
    fails(message, "csv", source, tmp_path / "out", "--group", "walk", *between, *options)
    assert not (tmp_path / "out").exists()


def test_classes_are_those_of_another_data_set(tmp_path, fails):
    rows = "id,n,label\n1,5,10\n2,6,9\n"
    arguments = ["--group", "id", "--sequence", "n:int32", "--context", "label:class"]
    source = file(tmp_path, "train.csv", rows)
    assert run("csv", source, tmp_path / "train", *arguments) == 0
    assert RecordSource(tmp_path / "train").schema.context["label"].classes == ("9", "10")
    test = file(tmp_path, "test.csv", "id,n,label\n1,5,10\n")
    like = ["--like", tmp_path / "train"]
    assert run("csv", test, tmp_path / "test", *arguments, *like) == 0
    assert read(tmp_path / "test") == [{"label": 1, "n": [5]}]
    assert RecordSource(tmp_path / "test").schema == RecordSource(tmp_path / "train").schema
    test.write_text("id,n,label\n1,5,10\n1,7,8\n")
    fails(f"test.csv, line 3: 'label': '8' is not a class of {tmp_path}/train, which has '9', '10'",
          "csv", test, tmp_path / "test", *arguments, *like)  # fmt: skip
    test.write_text("id,n,label\n1,5,\n")
    fails("line 2: 'label' is missing", "csv", test, tmp_path / "test", *arguments)
    fails("has int32; convert both in the same way", "csv", test, tmp_path / "test", *like,
          "--sequence", "n:float32", "--group", "id")  # fmt: skip
    fails("has no classes of 'kind'", "csv", test, tmp_path / "test", *like,
          "--context", "kind=id:class")  # fmt: skip
    fails("has no manifest.json", "csv", test, tmp_path / "test", *arguments, "--like", tmp_path)


def test_labelled_texts_of_csv_become_tokens(tmp_path, fails):
    source = file(tmp_path, "mails.csv", 'text,label\n"hé, you",spam\n,ham\n')
    out = tmp_path / "out"
    assert run("csv", source, out, "--sequence", "text:utf8", "--context", "label:class") == 0
    assert read(out) == [
        {"label": 1, "text": list("hé, you".encode())},
        {"label": 0, "text": []},
    ]
    fails("the sequences ['label'] need --group COLUMN", "csv", source, out,
          "--sequence", "label:bytes")  # fmt: skip


def test_tensorflow_reads_what_is_converted(tmp_path):
    source = file(tmp_path, "walks.csv", WALKS.replace(";3;", ";;"))
    columns = ["--sequence", "x=ax,ay,az:float32", "pace:float32", "--context", "activity:class"]
    options = ["--group", "walk", "--delimiter", ";", "--missing", "fill"]
    assert run("csv", source, tmp_path / "out", *columns, *options) == 0
    (path,) = (tmp_path / "out").glob("data-*")
    features = RecordSource(tmp_path / "out").schema.to_tensorflow()
    first, _ = tf.data.TFRecordDataset([str(path)])
    context, sequence = tf.io.parse_single_sequence_example(first, *features)
    assert int(context["activity"]) == 0
    assert sequence["x"].shape == (2, 3)
    assert sequence["pace"].numpy().tolist() == [0, 4]
    assert sequence["pace_missing"].numpy().tolist() == [1, 0]


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_csv_is_named_or_harmless(tmp_path, count):
    rng, content = np.random.default_rng(0), WALKS.encode()
    source = tmp_path / "walks.csv"
    for changed in mutations(content, count, rng):
        source.write_bytes(changed)
        message = ""
        try:
            csv(source, tmp_path / "out", ("x=ax,ay,az:float32",), ("activity:class",), "walk", ";")
        except ValueError as error:
            message = str(error)
        if message:
            assert str(source) in message
        else:
            x = RecordSource(tmp_path / "out").statistics["x"]
            assert x.counts.sum() % 3 == 0
            assert not x.missing.any()
