"""Statistics that are computed while a data set is written."""

import numpy as np
import pytest

from seqjax.data.records import Feature, RecordSource, Schema, write
from seqjax.data.statistics import statistics_of
from seqjax.data.writing import read_manifest
from tests.data.record_examples import EXAMPLES, SCHEMA, read_all
from tests.data.test_record_damage import rewrite_as_before


def test_they_equal_those_of_all_values_at_once(tmp_path):
    rng = np.random.default_rng(0)
    schema = Schema(
        {"y": Feature(np.int64), "label": Feature(np.uint8, (2,), ("a", "b", "c"))},
        {
            "x": Feature(np.float32, (3,)),
            "on": Feature(bool),
            "lists": Feature(np.float32, (None, 2)),
            "text": Feature(bytes),
        },
    )

    def draw(length):
        x = rng.normal([9.8, 1e4, 0], [0.1, 1, 1e-3], (length, 3)).astype(np.float32)
        x[rng.random((length, 3)) < 0.1] = np.nan
        return {
            "y": rng.integers(2**40),
            "label": rng.integers(0, 3, 2),
            "x": x,
            "on": rng.random(length) < 0.3,
            "lists": [rng.normal(size=(k, 2)).astype(np.float32) for k in range(length % 3)]
            + [[]] * (length - length % 3),
            "text": [b""] * length,
        }

    examples = [draw(length) for length in (*rng.integers(0, 300, 100), 40_000)]
    write(tmp_path, schema, examples, shards=3)
    source = RecordSource(tmp_path)
    assert [*source.statistics] == ["y", "label", "x", "on", "lists"]
    for name, found in source.statistics.items():
        values = [np.asarray(example[name], np.float64) for example in examples if name != "lists"]
        if name == "lists":
            values = [np.asarray(part).reshape(-1, 2) for e in examples for part in e["lists"]]
        joined = np.stack(values) if name in schema.context else np.concatenate(values)
        joined = joined.astype(np.float64)
        assert found.counts.dtype == np.int64
        np.testing.assert_array_equal(found.counts, (~np.isnan(joined)).sum(0))
        np.testing.assert_allclose(found.missing, np.isnan(joined).mean(0), atol=1e-12)
        np.testing.assert_allclose(found.mean, np.nanmean(joined, 0), rtol=1e-12)
        np.testing.assert_allclose(found.deviation, np.nanstd(joined, 0), rtol=1e-9)
        np.testing.assert_array_equal(found.minimum, np.nanmin(joined, 0))
        np.testing.assert_array_equal(found.maximum, np.nanmax(joined, 0))
    labels = np.array([example["label"] for example in examples])
    expected = np.bincount(labels.ravel(), minlength=3)
    assert source.statistics["label"].class_counts.tolist() == expected.tolist()
    again = statistics_of(schema, read_all(source))
    for name, found in source.statistics.items():
        np.testing.assert_allclose(again[name].mean, found.mean, rtol=1e-12)


def test_a_writer_may_use_one_array_for_all_examples(tmp_path):
    array = np.zeros((2, 1), np.float32)

    def examples():
        for k in range(3):
            array[:] = k
            yield {"x": array}

    write(tmp_path, Schema(sequence={"x": Feature(np.float32, (1,))}), examples())
    x = RecordSource(tmp_path).statistics["x"]
    assert (x.mean, x.minimum, x.maximum) == (1, 0, 2)


def test_without_values_they_are_nan(tmp_path):
    schema = Schema(sequence={"x": Feature(np.float32), "y": Feature(np.int32, (2,))})
    write(tmp_path, schema, [{"x": [], "y": []}, {"x": [np.nan], "y": [[1, 2]]}])
    found = RecordSource(tmp_path).statistics
    assert found["x"].counts == 0
    assert np.isnan([found["x"].mean, found["x"].deviation, found["x"].minimum]).all()
    assert found["x"].missing == 1
    write(tmp_path, schema, [])
    assert np.isnan(RecordSource(tmp_path).statistics["y"].maximum).all()
    write(tmp_path, schema, [{"x": [np.inf, 1], "y": [[1, 2]] * 2}])
    assert RecordSource(tmp_path).statistics["x"].mean == np.inf


def test_a_source_of_some_features_has_their_statistics(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    part = Schema(sequence={"tokens": SCHEMA.sequence["tokens"]})
    assert [*RecordSource(tmp_path, part).statistics] == ["tokens"]


def test_older_and_other_files_have_none(tmp_path):
    write(tmp_path, SCHEMA, EXAMPLES)
    rewrite_as_before(tmp_path)
    assert RecordSource(tmp_path).statistics is None
    (shard,) = [tmp_path / entry["file"] for entry in read_manifest(tmp_path)["shards"]]
    assert RecordSource(shard, SCHEMA).statistics is None


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_large_mean_does_not_hide_a_small_deviation(scale):
    schema = Schema(sequence={"x": Feature(np.float32)})
    values = np.tile(np.float32([8 * scale, 8 * scale + 1]), 50_000)
    found = statistics_of(schema, ({"x": part} for part in np.array_split(values, 70)))["x"]
    assert found.deviation == pytest.approx(0.5, rel=1e-9)
