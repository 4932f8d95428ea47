"""The command ``ts``: files of the UEA and UCR archives."""

import pathlib

import numpy as np
import pytest

from seqjax.data import Ragged
from seqjax.data.convert.ts import ts
from seqjax.data.records import Feature, RecordSource
from tests.data.convert.examples import file, mutations, read, run
from tests.data.record_examples import read_all

TS = """# a comment
@problemName Small
@timeStamps false
@missing true
@univariate false
@dimension 2
@equalLength false
@classLabel true b a 10

@data
1,2,3:4,5,6:b
7:8:a
9,10:11,12: 10
"""


def test_cases_become_sequences(tmp_path, capsys):
    assert run("ts", file(tmp_path, "small.ts", TS), tmp_path / "out") == 0
    source = RecordSource(tmp_path / "out")
    assert source.schema.sequence == {"x": Feature("float32", (2,))}
    assert source.schema.context["label"].classes == ("10", "a", "b")
    assert read(tmp_path / "out") == [
        {"label": 2, "x": [[1, 4], [2, 5], [3, 6]]},
        {"label": 1, "x": [[7, 8]]},
        {"label": 0, "x": [[9, 11], [10, 12]]},
    ]
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/out: 3 examples, 6 steps",
        "  label: 10 (1), a (1), b (1)",
    ]
    other = TS.replace("b a 10", "a b 7")
    other = file(tmp_path, "other.ts", other.replace(": 10", ":a"))
    assert run("ts", other, tmp_path / "other", "--like", tmp_path / "out") == 0
    assert RecordSource(tmp_path / "other").schema == source.schema


def test_cases_have_a_target_or_nothing(tmp_path):
    target = TS.replace("@classLabel true b a 10", "@targetLabel true")
    target = target.replace(":b", ":1.5").replace(":a", ":?")
    source = file(tmp_path, "target.ts", target)
    assert run("ts", source, tmp_path / "out", "--missing", "fill") == 0
    found = [(e["target"], e["target_missing"]) for e in read(tmp_path / "out")]
    assert found == [(1.5, False), (0, True), (10, False)]
    none = TS.replace("@classLabel true b a 10", "@classLabel false")
    for label in (":b", ":a", ": 10"):
        none = none.replace(label + "\n", "\n")
    assert run("ts", file(tmp_path, "none.ts", none), tmp_path / "out") == 0
    assert [len(example["x"]) for example in read(tmp_path / "out")] == [3, 1, 2]
    assert not RecordSource(tmp_path / "out").schema.context


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("7:8:a", "7:a", "line 12: has 1 dimensions, expected 2"),
        ("7:8:a", "7:8:9:a", "line 12: has 3 dimensions, expected 2"),
        ("7:8:a", "7,8:8:a", "line 12: dimension 2 has 1 steps, but dimension 1 has 2"),
        ("7:8:a", "7:8:c", "line 12: 'label': 'c' is not a class of the header, which has '10'"),
        ("7:8:a", "7:8:", "line 12: 'label' is missing"),
        ("7:8:a", "7", "line 12: expected numbers, ':' and a class or target"),
        ("7:8:a", "7:8,:a", "line 12, dimension 2: could not convert string to float"),
        ("7:8:a", "7:8_0:a", "line 12, dimension 2: '8_0' is no number"),
        ("7:8:a", "7:?:a", "line 12, dimension 2: step 0 is missing; give --missing fill"),
        ("7:8:a", "7:NaN:a", "line 12, dimension 2: step 0 is missing; give --missing fill"),
        ("@data", "", "line 11: expected a line of the header, such as @data"),
        ("@data", "@data now", "line 10: @data must be alone in its line"),
        ("equalLength false", "equalLength true", "line 12: has 1 steps, but the header says"),
        ("@equalLength false", "@equalLength 3", "line 7: @equallength must be true or false"),
        ("@dimension 2", "@dimension two", "line 6: @dimension must be a positive number"),
        ("univariate false", "univariate true", "line 11: the header says univariate, but 2"),
        ("true b a 10", "true", "line 8: must be '@classLabel true' and the names of the classes"),
        ("true b a 10", "true a a", "line 8: the class 'a' occurs more than once"),
        ("@classLabel true b a 10", "", "the header must say @classLabel or @targetLabel"),
        ("@missing true", "@targetLabel true", "the header has classes and @targetLabel"),
        ("@timeStamps false", "@timeStamps true", "time stamps are not supported"),
    ],
)
def test_a_bad_file_says_why(tmp_path, fails, before, after, message):
    source = file(tmp_path, "small.ts", TS.replace(before, after))
    fails(message, "ts", source, tmp_path / "out")
    fails(f"error: {source}", "ts", source, tmp_path / "out")


def test_a_file_without_cases_says_so(tmp_path, fails):
    head, _, _ = TS.partition("1,2,3")
    fails("has no examples", "ts", file(tmp_path, "small.ts", head), tmp_path / "out")
    fails("it has no line @data", "ts", file(tmp_path, "small.ts", "# no"), tmp_path / "out")
    fails("convert the file to UTF-8", "ts", file(tmp_path, "x.ts", b"\xff"), tmp_path / "out")


@pytest.mark.parametrize(
    "name",
    ["GunPoint", "BasicMotions", "JapaneseVowels", "PickupGestureWiimoteZ", "ItalyPowerDemand",
     "Covid3Month"],
)  # fmt: skip
def test_files_are_read_as_aeon_reads_them(tmp_path, name):
    aeon = pytest.importorskip("aeon.datasets")
    path = pathlib.Path(aeon.__file__).parent / "data" / name / f"{name}_TRAIN.ts"
    cases, labels = aeon.load_from_ts_file(str(path))
    ts(path, tmp_path)
    source = RecordSource(tmp_path)
    examples = read_all(source)
    assert len(examples) == len(cases)
    for example, case, label in zip(examples, cases, labels, strict=True):
        assert not isinstance(example["x"], Ragged)
        np.testing.assert_array_equal(example["x"], case.T.astype(np.float32))
        if "target" in example:
            assert example["target"] == np.float32(label)
        else:
            assert source.schema.context["label"].classes[example["label"]].lower() == label


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_named_or_harmless(tmp_path, count):
    rng, source = np.random.default_rng(0), tmp_path / "small.ts"
    for changed in mutations(TS.encode(), count, rng):
        source.write_bytes(changed)
        message = ""
        try:
            ts(source, tmp_path / "out")
        except ValueError as error:
            message = str(error)
        if message:
            assert str(source) in message
        else:
            x = RecordSource(tmp_path / "out").statistics["x"]
            assert len({*x.counts.tolist()}) == 1
            assert not x.missing.any()
