"""Missing values are an error, or are filled and marked."""

import numpy as np
import pytest

from seqjax.data import Ragged
from seqjax.data.records import RecordSource
from tests.data.convert.examples import file, read, run
from tests.data.record_examples import read_all


@pytest.mark.parametrize("cell", ["", "nan", "NaN"])
def test_empty_cells_are_an_error_or_filled(tmp_path, fails, cell):
    source = file(tmp_path, "walks.csv", f"g,a,b,h\n1,1,{cell},{cell}\n1,3,4,{cell}\n")
    arguments = ["csv", source, tmp_path / "out", "--group", "g", "--sequence", "x=a,b:float32"]
    fails("walks.csv, line 2: 'b' is missing; give --missing fill to write 0 and mark it in the "
          "feature x_missing", *arguments)  # fmt: skip
    arguments += ["--context", "h:float32", "--missing", "fill"]
    assert run(*arguments) == 0
    (example,) = read(tmp_path / "out")
    assert example == {
        "h": 0,
        "h_missing": True,
        "x": [[1, 0], [3, 4]],
        "x_missing": [[False, True], [False, False]],
    }
    x = RecordSource(tmp_path / "out").statistics["x"]
    assert x.counts.tolist() == [2, 1]
    assert x.mean.tolist() == [2, 4]
    assert x.missing.tolist() == [0, 0.5]


def test_only_floats_are_filled(tmp_path, fails):
    source = file(tmp_path, "walks.csv", "g,a,b\n1,1,\n1,3,4\n")
    arguments = ["csv", source, tmp_path / "out", "--group", "g", "--missing", "fill"]
    fails("line 2: 'b' is missing; only float32", *arguments, "--sequence", "b:int32")
    fails("line 2: 'b' is missing; each example", *arguments, "--sequence", "b:class")
    assert run(*arguments, "--sequence", "b:bytes", "a:float32") == 0  # a text may be empty
    # marks do not depend on whether a value is missing
    assert read(tmp_path / "out") == [{"b": [b"", b"4"], "a": [1, 3], "a_missing": [False, False]}]
    fails("adds the features ['a_missing']; rename yours", *arguments, "--sequence", "a:float32",
          "a_missing=b:bytes")  # fmt: skip


def test_null_in_lists_is_filled(tmp_path, fails):
    source = file(tmp_path, "rows.jsonl", '{"x": [[1, null], []], "y": NaN}\n{"x": [], "y": 2}')
    arguments = ["jsonl", source, tmp_path / "out", "--sequence", "x:float32[*]",
                 "--context", "y:float32"]  # fmt: skip
    fails("line 1: 'y' is missing", *arguments)
    assert run(*arguments, "--missing", "fill") == 0
    source = RecordSource(tmp_path / "out")
    first, second = read_all(source)
    assert isinstance(first["x_missing"], Ragged)
    assert str(first["x"]) == "[[1. 0.], []]"
    assert str(first["x_missing"]) == "[[False  True], []]"
    assert (first["y"], first["y_missing"]) == (0, True)
    assert (second["y"], second["y_missing"]) == (2, False)
    assert source.statistics["x"].missing == 0.5


def test_nan_of_arrays_is_filled(tmp_path, fails):
    source, xs = tmp_path / "arrays.npz", np.zeros((2, 3))
    xs[1, 2] = np.nan
    np.savez(source, xs=xs)
    arguments = ["npz", source, tmp_path / "out", "--sequence", "xs"]
    fails("row 1: 'xs', step 2 is missing; give --missing fill", *arguments)
    assert run(*arguments, "--missing", "fill") == 0
    assert read(tmp_path / "out")[1]["xs_missing"] == [False, False, True]


def test_a_missing_context_value_is_the_same_in_all_rows(tmp_path, fails):
    source = file(tmp_path, "walks.csv", "g,a,h\n1,1,\n1,3,2\n")
    fails("line 3: 'h' is 2.0 and was nan before", "csv", source, tmp_path / "out", "--group", "g",
          "--sequence", "a:int32", "--context", "h:float32", "--missing", "fill")  # fmt: skip
