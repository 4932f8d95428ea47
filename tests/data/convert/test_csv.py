"""The command ``csv``."""

import pytest

from tests.data.convert.examples import file, read, run

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
