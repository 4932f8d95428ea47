"""The command ``inspect``."""

import numpy as np
import pytest

from seqjax.data.records import Feature, Schema, write
from tests.data.convert.examples import file, run
from tests.data.convert.test_csv import CSV
from tests.data.record_examples import GOLDEN, flip
from tests.data.test_record_damage import rewrite_as_before


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


@pytest.mark.parametrize("content", [CSV, "g,x\n1,2\n", "a,b", '{"notes": [1]}\n' * 9])
def test_what_is_no_record_file_is_called_that(tmp_path, fails, content):
    path = file(tmp_path, "runs.csv", content)
    fails("runs.csv: record 0: this is not a TFRecord file", "inspect", path)


def test_statistics_and_classes_are_shown(tmp_path, capsys):
    rows = "g,ax,ay,label\n1,1,9.8,b\n1,3,,b\n2,5,9.6,a\n"
    columns = ["--group", "g", "--sequence", "x=ax,ay:float32", "--context", "label:class"]
    source, out = file(tmp_path, "rows.csv", rows), tmp_path / "out"
    assert run("csv", source, out, *columns, "--missing", "fill") == 0
    for stored in (True, False):
        capsys.readouterr()
        assert run("inspect", out) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "│ label │ context │ int32 of 2 classes │" in shown
        assert "│ x[0] │ 3 │ 3 │ 1.633 │ 1 │ 5 │ 0.0% │" in shown
        assert "│ x[1] │ 2 │ 9.7 │ 0.1 │ 9.6 │ 9.8 │ 33.3% │" in shown
        assert "label: a (1), b (1)" in shown
        if stored:
            rewrite_as_before(out)


def test_of_many_entries_and_classes_the_first_are_shown(tmp_path, capsys):
    labels = [f"c{k:02}" for k in range(30)]
    schema = Schema({"label": Feature("int32", (), labels)}, {"x": Feature("float32", (4, 5))})
    write(tmp_path, schema, [{"label": 3, "x": np.ones((2, 4, 5))}])
    assert run("inspect", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "label: 3 (c03)" in shown
    assert "x[2, 1]" in shown
    assert "x: 8 more" in shown
    assert "c03 (1)" in shown
    assert "and 18 more classes" in shown
