"""The command ``inspect``."""

import pytest

from tests.data.convert.examples import file, run
from tests.data.convert.test_csv import CSV
from tests.data.record_examples import GOLDEN, flip


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
