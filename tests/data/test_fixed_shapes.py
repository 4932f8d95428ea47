"""Batches that compile once: empty rows that fill a batch, and rows that processes share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, Reset, unroll
from seqjax.data import Bucketed, ListSource, Loader, Packed, Padded, Ragged, Report, plan
from seqjax.data.records import Feature, Schema, write
from seqjax.data.streaming import RecordStream
from seqjax.losses import masked_mean
from seqjax.pooling import last_valid
from seqjax.wrappers import ResetInputs

LENGTHS = np.random.default_rng(0).integers(0, 9, 23)


def letters(length):
    lengths = np.arange(length) % 3
    values = [np.arange(n, dtype=np.int32) for n in lengths]
    return Ragged(np.concatenate([np.zeros(0, np.int32), *values]), lengths)


def make_source():
    rng = np.random.default_rng(1)
    examples = [
        {
            "x": rng.normal(size=(length, 2)),
            "id": np.array(index),
            "letters": letters(length),
            "tags": np.arange(index % 4),
        }
        for index, length in enumerate(LENGTHS)
    ]
    return ListSource(
        examples, {"x", "letters"}, (7, 0, 10, 6), ragged_features={"letters", "tags"}
    )


SOURCE = make_source()
WIDTHS = {"letters": (2,), "tags": (3,)}
FILLED = [
    Padded(4, multiple=9, fill_remainder=True),
    Bucketed((2, 5, 8), (8, 4, 4), fill_remainder=True),
    Packed(4, 9, fill_remainder=True),
]
by_name = pytest.mark.parametrize("policy", FILLED, ids=lambda policy: type(policy).__name__)


@by_name
def test_every_batch_is_full_and_its_empty_rows_hold_nothing(policy):
    options = {"epochs": 1, "seed": 2, "pad_values": {"x": np.nan, "tags": -1, "letters": -1}}
    batches = [*Loader(SOURCE, policy, widths=WIDTHS, **options)]
    shapes = {batch.features["x"].shape[:2] for batch in batches}
    assert shapes <= {(4, 9), (8, 2), (4, 5), (4, 8)}
    assert any((batch.weights == 0).any() for batch in batches)
    counted = [batch.indices for batch in batches]
    assert sorted(np.concatenate(counted)) == [*range(23)]  # no example is dropped
    for batch in batches:
        assert batch.weights.dtype == np.float32
        assert {len(array) for array in batch.features.values()} == {len(batch.weights)}
        empty = batch.weights == 0
        assert not batch.lengths[empty].any()
        assert np.isnan(batch.features["x"][empty]).all()
        assert not batch.features["id"][empty].any()
        for name in ("letters", "tags"):
            assert (batch.features[name][empty] == -1).all()
            assert not batch.inner_lengths[name][empty].any()
        if batch.segments is None:
            assert batch.weights.sum() == len(batch.indices)
            assert batch.features["id"][~empty].tolist() == batch.indices.tolist()
        else:
            assert (batch.segments[empty] == -1).all()
            assert not batch.starts[empty].any()


def test_full_batches_have_weight_1_and_an_example_of_no_steps_is_no_empty_row():
    (batch,) = Loader(SOURCE, Padded(23), epochs=1, widths=WIDTHS)
    assert batch.weights.tolist() == [1.0] * 23
    assert (batch.lengths == 0).any()


def test_empty_rows_change_no_loss():
    policy = Padded(9, multiple=8)
    filled = Padded(9, multiple=8, fill_remainder=True)
    cell = GRU(3)
    params = cell.init(jax.random.key(0), 2, jnp.float64)

    def loss(params, batch):
        _, ys = unroll(cell, params, jnp.asarray(batch.features["x"]), lengths=batch.lengths)
        errors = (last_valid(ys, lengths=batch.lengths) ** 2).sum(-1)  # [B]
        return masked_mean(errors, weights=batch.weights.astype(np.float64))

    *_, last = Loader(SOURCE, policy, epochs=1, widths=WIDTHS)
    *_, full = Loader(SOURCE, filled, epochs=1, widths=WIDTHS)
    assert (len(last.weights), len(full.weights)) == (5, 9)
    expected, result = (jax.value_and_grad(loss)(params, batch) for batch in (last, full))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), result, expected)


@by_name
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_split_the_rows_of_every_batch(policy, processes):
    options = {"epochs": 1, "seed": 4, "widths": WIDTHS}
    whole = [*Loader(SOURCE, policy, **options)]
    loaders = [
        Loader(SOURCE, policy, process=k, processes=processes, split_rows=True, **options)
        for k in range(processes)
    ]
    assert {loader.batches_in_epoch() for loader in loaders} == {len(whole)}
    for batch, *parts in zip(whole, *loaders, strict=True):
        assert len({part.features["x"].shape for part in parts}) == 1
        for name, array in batch.features.items():
            together = np.concatenate([part.features[name] for part in parts])
            np.testing.assert_array_equal(together, array)
            assert together.dtype == array.dtype
        for name, counts in batch.inner_lengths.items():
            together = np.concatenate([part.inner_lengths[name] for part in parts])
            np.testing.assert_array_equal(together, counts)
        for field in ("lengths", "weights", "indices"):
            together = np.concatenate([getattr(part, field) for part in parts])
            np.testing.assert_array_equal(together, getattr(batch, field))
        if batch.starts is not None:
            together = np.concatenate([part.starts for part in parts])
            np.testing.assert_array_equal(together, batch.starts)
        for part in parts:  # positions in the part's own indices
            if part.segments is not None:
                held = part.segments >= 0
                np.testing.assert_array_equal(
                    part.indices[part.segments[held]], part.features["id"][held]
                )
    report = sum((loader.report for loader in loaders), Report())
    assert report.examples == 23
    assert report.dropped == 0


def test_a_split_run_goes_on_with_another_number_of_processes():
    policy, options = FILLED[0], {"epochs": 1, "seed": 4, "widths": WIDTHS, "split_rows": True}
    whole = [*Loader(SOURCE, policy, **options)]
    first = Loader(SOURCE, policy, process=1, processes=4, **options)
    for _ in range(2):
        next(first)
    rest = [
        [*Loader(SOURCE, policy, process=k, processes=2, start=first.position, **options)]
        for k in range(2)
    ]
    assert len(rest[0]) == len(whole) - 2
    for batch, *parts in zip(whole[2:], *rest, strict=True):
        together = np.concatenate([part.features["x"] for part in parts])
        np.testing.assert_array_equal(together, batch.features["x"])


@pytest.mark.parametrize(
    ("policy", "processes", "widths", "message"),
    [
        (Padded(4), 2, WIDTHS, "splits the rows of each batch between 2 .* a batch has 3 rows"),
        (Padded(4, fill_remainder=True), 3, WIDTHS, "a batch has 4 rows; use a batch size"),
        (FILLED[0], 2, {}, r"'letters' needs one fixed width, .* got None"),
        (FILLED[0], 2, {"letters": (2,), "tags": 4}, r"'tags' needs one fixed width, .* got 4"),
        (FILLED[0], 2, {"letters": (2, 4), "tags": (4,)}, r"'letters' .* got \(2, 4\)"),
    ],
)
def test_rows_that_cannot_be_split_are_a_clear_error(policy, processes, widths, message):
    with pytest.raises(ValueError, match=message):
        Loader(SOURCE, policy, processes=processes, widths=widths, split_rows=True)
    with pytest.raises(ValueError, match="split_rows must be True or False, got 'yes'"):
        Loader(SOURCE, policy, split_rows="yes")


@pytest.mark.parametrize(
    "make",
    [
        lambda **both: Padded(2, **both),
        lambda **both: Bucketed((2, 4), 2, **both),
        lambda **both: Packed(2, 4, **both),
        lambda **both: Bucketed.of_steps((2, 4), 8, **both),
    ],
)
def test_a_remainder_is_dropped_or_filled_not_both(make):
    make(fill_remainder=True)
    with pytest.raises(ValueError, match="drop_remainder and fill_remainder are both True"):
        make(fill_remainder=True, drop_remainder=True)
    with pytest.raises(ValueError, match="fill_remainder must be True or False, got 1"):
        make(fill_remainder=1)


def test_the_number_of_shapes_is_the_number_of_buckets():
    policy = Bucketed((2, 5, 8), (8, 4, 4), fill_remainder=True)
    batches = plan(LENGTHS, [23], policy, seed=0)
    assert Report.of_plan(batches, LENGTHS, policy).shapes == {(8, 2), (4, 5), (4, 8)}


@by_name
def test_a_stream_fills_its_last_batches(policy, tmp_path):
    schema = Schema({"id": Feature(np.int64)}, {"x": Feature(np.float32)})
    examples = ({"id": k, "x": np.ones(n)} for k, n in enumerate(LENGTHS))
    write(tmp_path, schema, examples)
    batches = [*RecordStream(tmp_path, policy, epochs=1, window=6)]
    assert sorted(np.concatenate([batch.indices for batch in batches])) == [*range(23)]
    assert {batch.features["x"].shape for batch in batches} <= {(4, 9), (8, 2), (4, 5), (4, 8)}
    assert sum(bool((batch.weights == 0).any()) for batch in batches) in (1, 2, 3)


def test_pooling_the_segments_of_packed_rows_equals_each_example_alone():
    cell = GRU(3)
    params = cell.init(jax.random.key(0), 2, jnp.float64)
    *_, batch = Loader(SOURCE, FILLED[2], seed=0, epochs=1, widths=WIDTHS)
    inputs = ResetInputs(jnp.asarray(batch.starts), jnp.asarray(batch.features["x"]))
    _, ys = unroll(Reset(cell), params, inputs, lengths=batch.lengths)
    pooled = last_valid(ys, segments=batch.segments, num_segments=30)
    (alone,) = Loader(SOURCE, Padded(23), epochs=1, widths=WIDTHS)
    _, ys = unroll(cell, params, jnp.asarray(alone.features["x"]), lengths=alone.lengths)
    expected = last_valid(ys, lengths=alone.lengths)[batch.indices]
    np.testing.assert_allclose(pooled[: len(batch.indices)], expected, atol=1e-12)
    assert not pooled[len(batch.indices) :].any()
