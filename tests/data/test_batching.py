"""Plans, policies and reports, against plain counts and what TensorFlow's tf.data gave."""

import json
import math
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqjax import sequence_loss
from seqjax.data import Bucketed, ListSource, Loader, Packed, Padded, Report, plan

GOLDEN = pathlib.Path(__file__).parent.parent / "golden" / "data_batching"
LONGEST = 12
LENGTHS = st.lists(st.integers(0, LONGEST), min_size=1, max_size=40).map(np.array)
POLICIES = st.one_of(
    st.builds(Padded, st.integers(1, 5), st.integers(1, 8), st.booleans()),
    st.builds(
        Bucketed,
        st.sets(st.integers(1, LONGEST - 1)).map(lambda ends: (*sorted(ends), LONGEST)),
        st.integers(1, 5),
        st.none() | st.integers(1, 8),
        st.booleans(),
    ),
    st.builds(Packed, st.integers(1, 4), st.integers(LONGEST, 20), st.booleans()),
)
quickly = settings(max_examples=60, derandomize=True)


def cut_into_shards(examples, count):
    return [len(part) for part in np.array_split(np.arange(examples), count)]


@quickly
@given(LENGTHS, POLICIES, st.integers(1, 5), st.none() | st.integers(0, 3), st.integers(0, 2))
def test_each_example_is_in_one_batch_and_alone_in_its_place(lengths, policy, shards, seed, epoch):
    shards = cut_into_shards(len(lengths), shards)
    batches = plan(lengths, shards, policy, seed=seed, epoch=epoch)
    seen = [index for batch in batches for index in batch.tolist()]
    if policy.drop_remainder:
        assert len(seen) == len({*seen})
    else:
        assert sorted(seen) == [*range(len(lengths))]
    slots = 0
    for batch in batches:
        (num_rows, num_steps), rows, at, packed = policy.place(lengths[batch])
        taken = np.zeros((num_rows, num_steps), int)
        for row, begin, length in zip(rows, at, lengths[batch], strict=True):
            assert begin + length <= num_steps
            taken[row, begin : begin + length] += 1
        assert taken.max(initial=0) <= 1
        assert taken.sum() == lengths[batch].sum()
        assert num_rows == (policy.batch_size if policy.drop_remainder else rows.max() + 1)
        assert num_rows <= policy.batch_size
        assert packed == isinstance(policy, Packed)
        assert packed or rows.tolist() == [*range(len(batch))]
        slots += taken.size
    report = Report.of_plan(batches, lengths, policy)
    assert report.dropped == len(lengths) - len(seen)
    assert len(report.shapes) <= report.batches == len(batches)
    if slots:
        assert report.padding == pytest.approx(1 - lengths[seen].sum() / slots)
    if seen and lengths[seen].any():
        fixed = len(seen) * lengths[seen].max()
        assert report.fixed_padding == pytest.approx(1 - lengths[seen].sum() / fixed)


@quickly
@given(LENGTHS, st.sets(st.integers(1, LONGEST - 1)), st.integers(1, 8))
def test_batches_stay_within_their_bucket_and_pad_no_further(lengths, ends, multiple):
    ends = (*sorted(ends), LONGEST)
    for policy in (Bucketed(ends, 3), Bucketed(ends, 3, multiple=multiple)):
        for batch in plan(lengths, [len(lengths)], policy, seed=0):
            longest = lengths[batch].max()
            bucket = {sum(length > end for end in ends) for length in lengths[batch]}
            assert len(bucket) == 1
            steps = policy.place(lengths[batch]).shape[1]
            end = ends[bucket.pop()]
            rounded = math.ceil(longest / multiple) * multiple
            assert steps == (end if policy.multiple is None else min(end, rounded))


@quickly
@given(LENGTHS, st.integers(1, 4), st.integers(LONGEST, 20))
def test_packing_takes_the_first_row_with_room(lengths, rows, steps):
    policy = Packed(rows, steps)
    batches = plan(lengths, [len(lengths)], policy)
    arrived = 0
    for batch in batches:
        assert sorted(batch.tolist()) == [*range(arrived, arrived + len(batch))]
        placement = policy.place(lengths[batch])
        row_of = dict(zip(batch.tolist(), placement.rows.tolist(), strict=True))
        room = [steps] * rows
        for index in range(arrived, arrived + len(batch)):
            row = next(row for row in range(rows) if room[row] >= lengths[index])
            assert row == row_of[index]
            room[row] -= lengths[index]
        arrived += len(batch)
        if arrived < len(lengths):
            assert max(room) < lengths[arrived]


def order(shards, **options):
    lengths = np.ones(sum(shards), int)
    return np.concatenate(plan(lengths, shards, Padded(1), **options)).tolist()


def test_without_a_seed_the_order_stays_unless_shards_are_to_take_turns():
    assert order([2, 0, 3, 1]) == [0, 1, 2, 3, 4, 5]
    assert order([2, 0, 3, 1], interleave=2) == [0, 1, 2, 5, 3, 4]
    assert order([2, 0, 3, 1], interleave=9) == [0, 2, 5, 1, 3, 4]


def test_a_seed_shuffles_each_epoch_anew_and_always_alike():
    shards = [20] * 5
    orders = [order(shards, seed=seed, epoch=epoch) for seed in (0, 1) for epoch in range(3)]
    assert len({*map(tuple, orders)}) == 6
    assert orders[4] == order(shards, seed=1, epoch=1)
    # a saved position means something only as long as this order stays
    assert order([6, 4], seed=0) == [5, 7, 6, 2, 0, 1, 8, 4, 9, 3]


def test_interleaving_mixes_that_many_shards_and_no_more():
    shard_of = np.arange(120) // 20
    groups = np.array(order([20] * 6, seed=0, interleave=2)).reshape(3, 40)
    shards = [{*shard_of[group].tolist()} for group in groups]
    assert sorted(map(len, shards)) == [2, 2, 2]
    assert set.union(*shards) == {*range(6)}
    assert shards != [{0, 1}, {2, 3}, {4, 5}]
    assert len({*shard_of[groups[0][:10]].tolist()}) == 2


def test_all_orders_are_equally_likely():
    counts = {}
    for epoch in range(3000):
        key = tuple(order([2, 1], seed=7, epoch=epoch))
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6
    assert all(abs(count - 500) < 5 * math.sqrt(500) for count in counts.values())


def test_what_is_longer_than_allowed_is_an_error_or_dropped_and_counted():
    lengths = np.array([3, 9, 5, 8])
    for policy, limit in ((Bucketed((2, 5), 2), 5), (Packed(2, 5), 5)):
        with pytest.raises(
            ValueError, match=f"example 1 has 9 steps, more than the limit of {limit}; 2 of "
        ):
            plan(lengths, [4], policy)
    for policy in (Bucketed((2, 5), 2, drop_longer=True), Packed(2, 5, drop_longer=True)):
        batches = plan(lengths, [4], policy)
        assert sorted(np.concatenate(batches).tolist()) == [0, 2]
        assert Report.of_plan(batches, lengths, policy).dropped == 2


def test_a_budget_of_steps_bounds_every_batch():
    policy = Bucketed.of_steps((10, 25, 100), 200)
    assert policy.batch_size == (20, 8, 2)
    lengths = np.arange(100)
    batches = plan(lengths, [100], policy, seed=0)
    assert all(math.prod(policy.place(lengths[batch]).shape) <= 200 for batch in batches)


def test_reports_add_up():
    lengths, policy = np.array([4, 1, 3, 2, 2]), Padded(2)
    batches = plan(lengths, [5], policy)
    parts = (Report.of_batch(lengths[batch], policy) for batch in batches)
    assert sum(parts, Report()) == Report.of_plan(batches, lengths, policy)
    assert Report().padding == Report().fixed_padding == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Padded(0), "Padded: batch_size must be a whole number"),
        (lambda: Padded(2, multiple=0.5), "Padded: multiple must be a whole number"),
        (lambda: Packed(2, 0), "Packed: steps must be a whole number"),
        (lambda: Bucketed((), 2), r"Bucketed: boundaries must ascend, got \(\)"),
        (lambda: Bucketed((4, 4), 2), r"Bucketed: boundaries must ascend, got \(4, 4\)"),
        (lambda: Bucketed((0, 4), 2), "Bucketed: each of boundaries must be a whole number"),
        (lambda: Bucketed((4, 8), (2, 2, 2)), "one for each of the 2 boundaries"),
        (lambda: Bucketed.of_steps((4, 8), 7), "at least the last boundary, 8, got 7"),
        (lambda: plan(np.ones(3, int), [2], Padded(1)), "sum to 3, got .2., which sum to 2"),
        (lambda: plan(np.ones(3, int), [3], Padded(1), interleave=0), "interleave must be a whole"),
        (
            lambda: plan(np.ones(3, int), [3], Padded(1), seed=-1),
            "seed must be a whole number of at least 0",
        ),
        (lambda: plan(np.ones(3, int), [3], Padded(1), seed=0.5), "seed must be .* got 0.5"),
        (lambda: plan(np.ones(3, int), [3], Padded(1), seed=0, epoch="a"), "epoch must be .* 'a'"),
        (lambda: plan(np.ones(3, int), [3], 2), r"must be a Policy, such as Padded\(.*, got 2"),
        (lambda: plan(np.ones(3, int), [3], Padded), "must be a Policy"),
        (lambda: plan(np.ones(3), [3], Padded(1)), r"integers \[N\] in .*, got \[1.0, 1.0, 1.0\]"),
        (lambda: plan(np.ones(3, int), 3, Padded(1)), "shards must be a list .*, got 3"),
        (lambda: plan(np.ones(3, int), ["a"], Padded(1)), "a whole number of at least 0, got 'a'"),
        (lambda: Report.of_plan([], np.ones(3, int), 2), "Report: policy must be a Policy"),
        (
            lambda: Bucketed(4, 2),
            r"boundaries must be a list of lengths, such as \(10, 20\), got 4",
        ),
        (lambda: Bucketed.of_steps(4, 8), "boundaries must be a list of lengths"),
        (lambda: Bucketed.of_steps((4, 8), "a"), "steps must be a whole number .* got 'a'"),
        (lambda: ListSource(3, {"x"}), "must be a list of dictionaries of arrays, got 3"),
        (
            lambda: ListSource([np.arange(3)], {"x"}),
            r"example 0 must be a dictionary .* int64\[3\]",
        ),
        (
            lambda: ListSource([{"x": np.arange(3)}], "x"),
            "sequence_features must be a list of names, got 'x'",
        ),
    ],
)
def test_bad_arguments_are_clear_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_equal_policies_are_equal_and_hash_alike():
    assert Bucketed([2, 4], [3, 1]) == Bucketed((2, 4), (3, 1))
    assert hash(Bucketed([2, 4], [3, 1])) == hash(Bucketed((2, 4), (3, 1)))


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([{"x": [1]}, {"y": [1]}], "example 1 must have a sequence feature 'x'"),
        ([{"x": [1]}, {"x": [1.0]}], "example 1 has .*float64"),
        ([{"x": [[1]]}, {"x": [[1, 2]]}], r"example 1 has .*\(2,\)"),
        ([{"x": [1], "y": [1, 2]}], "of example 0 must have the same length, got {'x': 1, 'y': 2}"),
        ([{"x": 1}], r"'x' with a leading time axis, got {'x': 'int64\[\]'}"),
    ],
)
def test_examples_that_do_not_fit_are_named(examples, message):
    with pytest.raises(ValueError, match=message):
        ListSource(examples, examples[0].keys())


def test_a_source_without_examples_has_no_batches():
    source = ListSource([], {"x"})
    assert plan(source.lengths, source.shards, Padded(2), seed=0) == []
    with pytest.raises(ValueError, match="sequence_features must name at least one"):
        ListSource([], ())


VECTORS = {
    "padded4": (Padded(4), {}),
    "padded4_drop": (Padded(4, drop_remainder=True), {}),
    "padded4_fixed15": (Bucketed((15,), 4), {"x": -1, "f": 0.5}),
    "bucket": (Bucketed((3, 7, 12), (3, 2, 2), multiple=1), {}),
    "bucket_drop": (Bucketed((3, 7, 12), (3, 2, 2), multiple=1, drop_remainder=True), {}),
    "bucket_pad_to_boundary": (Bucketed((3, 7, 12), (3, 2, 2)), {}),
    "bucket_no_padding": (Padded(1), {}),
    "bucket_padvalue": (Bucketed((3, 7, 12), (3, 2, 2), multiple=1), {"x": -1, "f": 9}),
    "bucket_remainder_order": (Bucketed((3, 7, 12), (9, 9, 9), multiple=1), {}),
    "bucket_remainder_order2": (Bucketed((3, 7, 12), (9, 9, 9), multiple=1), {}),
}


@pytest.mark.parametrize("case", VECTORS)
def test_batches_equal_those_of_tf_data(case):
    policy, pad_values = VECTORS[case]
    batches = json.loads(GOLDEN.with_suffix(".json").read_text())["batches"][case]
    with np.load(GOLDEN.with_suffix(".npz")) as data:
        expected = dict(data)
    examples = {}
    for batch in range(4):
        for row, i in enumerate(expected[f"padded4.{batch}.id"].tolist()):
            f = expected[f"padded4.{batch}.f"][row, : expected["lengths"][i]]
            examples[i] = {"id": np.array(i), "x": expected[f"seq.{i}"], "f": f}
    ids = range(13) if "drop" in case else sorted(i for batch in batches for i in batch)
    source = ListSource([examples[i] for i in ids], {"x", "f"})
    loaded = [*Loader(source, policy, pad_values=pad_values, epochs=1)]
    assert [batch.features["id"].tolist() for batch in loaded] == batches
    for number, batch in enumerate(loaded):
        for name in ("id", "x", "f"):
            key = f"{case}.{number}.{name}"
            if key in expected:
                assert batch.features[name].dtype == expected[key].dtype
                np.testing.assert_array_equal(batch.features[name], expected[key])


def test_a_batch_too_long_for_its_shape_is_an_error_as_in_tf_data():
    errors = json.loads(GOLDEN.with_suffix(".json").read_text())["cases"]
    assert "ERROR" in errors["padded4_fixed5_too_short"]
    assert "ERROR" in errors["bucket_pad_to_boundary_toolong"]
    lengths = np.load(GOLDEN.with_suffix(".npz"))["lengths"]
    for policy in (Bucketed((5,), 4), Bucketed((3, 7), 3)):
        with pytest.raises(ValueError, match="example 1 has 9 steps"):
            plan(lengths, [13], policy)


def test_the_articles_five_sequences_make_the_array_that_it_prints():
    source = ListSource([{"y": np.arange(1, 10)[:n]} for n in range(5)], {"y"})
    (batch,) = Loader(source, Padded(5), epochs=1)
    assert batch.features["y"].tolist() == [
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [1, 2, 0, 0],
        [1, 2, 3, 0],
        [1, 2, 3, 4],
    ]
    assert batch.lengths.tolist() == [0, 1, 2, 3, 4]


def test_where_0_is_a_class_the_sign_of_the_targets_is_the_wrong_mask():
    """A model that says "1" with 99%, whatever it is asked, on labels of which 2 in 5 are 1."""
    labels = ([0, 0, 1], [1, 0])
    source = ListSource([{"labels": np.array(label)} for label in labels], {"labels"})
    (batch,) = Loader(source, Padded(2), epochs=1)
    targets = batch.features["labels"]
    logits = np.broadcast_to(np.log([0.01, 0.99]), (*targets.shape, 2))
    by_sign = sequence_loss(logits, targets, weights=np.sign(targets).astype(float))
    by_length = sequence_loss(logits, targets, lengths=batch.lengths)
    assert float(by_sign) == pytest.approx(-math.log(0.99))  # 0.01: as good as perfect
    exact = -(3 * math.log(0.01) + 2 * math.log(0.99)) / 5
    assert float(by_length) == pytest.approx(exact)  # 2.77: far worse than the 0.69 of a coin
