"""Lists of any length at each step and in the context: on disk, in batches, and in a model."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow as tf

import seqjax
from seqjax.data import Bucketed, ListSource, Loader, Packed, Padded, Ragged
from seqjax.data.convert import main
from seqjax.data.records import (
    CorruptRecordError,
    Feature,
    RecordSource,
    Schema,
    infer_schema,
    write,
)
from seqjax.testing import close
from tests.data.record_examples import (
    assert_same,
    foreign,
    read_all,
    serialize,
)

WORDS = Schema({"tags": Feature(np.int64, (None,))}, {"words": Feature(np.int32, (None,))})
SENTENCES = [[[1, 2, 3], [2], [2, 3, 4]], [[], [5]], [], [[]], [[7] * 9]]
TAGS = [[1], [], [4, 5, 6], [2, 2], []]
EXAMPLES = [{"tags": tags, "words": words} for tags, words in zip(TAGS, SENTENCES, strict=True)]
PLAIN = ListSource(EXAMPLES, {"words"}, ragged_features={"words", "tags"})


# Values.


def test_it_holds_the_lists_of_the_steps():
    words = Ragged.of([np.array([[1, 2]], np.uint8), [], np.array([[3, 4], [5, 6]], np.uint8)])
    assert len(words) == 3
    assert words.values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert words.values.dtype == np.uint8
    assert [entries.tolist() for entries in words] == [[[1, 2]], [], [[3, 4], [5, 6]]]
    assert str(Ragged.of([[1], []])) == "[[1], []]"
    assert len(Ragged.of([])) == 0
    assert [names.tolist() for names in Ragged.of([[b"a\0"], [b"b"]])] == [[b"a\0"], [b"b"]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Ragged(np.arange(3), [1, 1]), "sum to the number of values, got .1 1."),
        (lambda: Ragged(np.arange(3), [4, -1]), r"lengths must be integers .*, got \[4, -1\]"),
        (lambda: Ragged(np.arange(3), 3), "lengths must be integers .*, got 3"),
        (lambda: Ragged(np.arange(3), [1.5, 1.5]), r"lengths must be integers .*, got \[1.5, 1.5"),
        (lambda: Ragged(np.array(3), [1]), r"values of shape \[\]"),
        (lambda: Ragged.of([[1], [[2]]]), r"entries of one shape, got \[\(1,\), \(1, 1\)\]"),
        (lambda: Ragged.of([[1], 2]), "Ragged: step 1 must be a list of entries, got 2"),
    ],
)
def test_lists_that_do_not_fit_are_value_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Records.


@hypothesis.settings(max_examples=30)
@hypothesis.given(
    st.lists(
        st.tuples(
            st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4), max_size=4),
            st.lists(st.binary(max_size=3), max_size=3),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_lists_come_back(tmp_path_factory, rows):
    schema = Schema({"tags": Feature(bytes, (None,))}, {"words": Feature(np.int32, (None,))})
    examples = [
        {
            "tags": np.array(tags, object),
            "words": Ragged(
                np.array([n for word in words for n in word], np.int32), [len(w) for w in words]
            ),
        }
        for words, tags in rows
    ]
    directory = tmp_path_factory.mktemp("any")
    write(directory, schema, ({"tags": tags, "words": words} for words, tags in rows))
    assert_same(read_all(RecordSource(directory)), examples)
    write(directory, schema, examples)
    assert_same(read_all(RecordSource(directory)), examples)


def test_the_example_of_tensorflows_documentation_is_read(tmp_path):
    ratings, names = [[4.5], [5.0]], [[b"The Shawshank Redemption"], [b"Fight Club"]]
    actors = [
        [b"Tim Robbins", b"Morgan Freeman"],
        [b"Brad Pitt", b"Edward Norton", b"Helena Bonham Carter"],
    ]
    favorites = [b"Majesty Rose", b"Savannah Outen", b"One Direction"]
    payload = serialize(
        {"Locale": [b"pt_BR"], "Age": [19], "Favorites": favorites},
        {"Movie Ratings": ratings, "Movie Names": names, "Actors": actors},
    )
    other = serialize(
        {"Locale": [b"en_US"], "Age": [30], "Favorites": []},
        {"Movie Ratings": [], "Movie Names": [], "Actors": []},
    )
    path = foreign(tmp_path, [payload, other])
    schema = infer_schema(path)
    assert schema == Schema(
        {"Locale": Feature(bytes), "Age": Feature(int), "Favorites": Feature(bytes, (None,))},
        {
            "Movie Ratings": Feature("float32"),
            "Movie Names": Feature(bytes),
            "Actors": Feature(bytes, (None,)),
        },
    )
    first, second = read_all(RecordSource(path, schema))
    assert first["Favorites"].tolist() == favorites
    assert [cast.tolist() for cast in first["Actors"]] == actors
    assert len(second["Actors"]) == len(second["Favorites"]) == 0
    with Loader(RecordSource(path, schema), Padded(2), epochs=1) as loader:
        batch = next(loader)
    assert batch.features["Actors"].shape == (2, 2, 3)
    assert batch.features["Actors"][0, 0].tolist() == [*actors[0], b""]
    assert batch.inner_lengths["Actors"].tolist() == [[2, 3], [0, 0]]
    assert batch.inner_lengths["Favorites"].tolist() == [3, 0]


def test_a_flat_message_may_hold_a_list_of_its_context(tmp_path):
    messages = [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    name: tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                    for name, values in (("tags", tags), ("x", range(4)))
                }
            )
        ).SerializeToString()
        for tags in TAGS
    ]
    path = foreign(tmp_path, messages)
    schema = Schema({"tags": Feature(int, (None,))}, {"x": Feature(int, (2,))})
    source = RecordSource(path, schema)
    assert source.lengths.tolist() == [2] * len(TAGS)
    assert [example["tags"].tolist() for example in read_all(source)] == TAGS
    with pytest.raises(
        ValueError, match=r"features \['x'\] have a list at each step, but .*Example"
    ):
        RecordSource(path, Schema(sequence={"x": Feature(int, (None,))}))


@pytest.mark.parametrize(
    ("context", "sequence", "message"),
    [
        ({}, {"words": [[1]]}, r"context feature 'tags' is missing; there are \[\]"),
        ({"tags": [1.5]}, {"words": [[1]]}, r"'tags': wrong dtype: .* float32, .* says int64\[\*"),
        ({"tags": []}, {}, "sequence feature 'words' is missing"),
        ({"tags": []}, {"words": [[], [b"x"]]}, "'words', step 1: wrong dtype: it holds bytes"),
        ({"tags": []}, {"words": [[], [2**31]]}, "'words', step 1: it: 2147483648 cannot be"),
    ],
)
def test_a_record_that_does_not_fit_is_named(tmp_path, context, sequence, message):
    path = foreign(
        tmp_path, [serialize({"tags": [1]}, {"words": []}), serialize(context, sequence)]
    )
    with pytest.raises(CorruptRecordError, match=f"file.tfrecord: record 1: .*{message}"):
        RecordSource(path, WORDS)


def test_a_list_of_pairs_must_hold_whole_pairs(tmp_path):
    schema = Schema({"p": Feature(int, (None, 2))}, {"q": Feature(int, (None, 2))})
    good = {"p": [1, 2, 3, 4]}, {"q": [[], [5, 6]]}
    path = foreign(tmp_path, [serialize(*good)])
    (example,) = read_all(RecordSource(path, schema))
    assert example["p"].tolist() == [[1, 2], [3, 4]]
    assert [pairs.tolist() for pairs in example["q"]] == [[], [[5, 6]]]
    for bad in (({"p": [1, 2, 3]}, good[1]), (good[0], {"q": [[1], [2]]})):
        path = foreign(tmp_path, [serialize(*bad)])
        with pytest.raises(CorruptRecordError, match=r"holds . values, but .* int64\[\*, 2\]"):
            RecordSource(path, schema)


def test_lines_of_json_are_converted_and_inspected(tmp_path, capsys):
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"words": [[1, 2, 3], []], "tags": ["a", "b"]}\n{"words": [], "tags": []}\n')
    arguments = [str(lines), str(tmp_path / "data")]
    columns = ["--sequence", "words:uint8[*]", "--context", "tags:bytes[*]"]
    assert main(["jsonl", *arguments, *columns]) == 0
    first, second = read_all(RecordSource(tmp_path / "data"))
    assert [word.tolist() for word in first["words"]] == [[1, 2, 3], []]
    assert first["tags"].tolist() == [b"a", b"b"]
    assert len(second["words"]) == len(second["tags"]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "data")]) == 0
    shown = capsys.readouterr().out
    assert "uint8[*]" in shown
    assert "[[1 2 3], []]" in shown
    assert "entries in each list of words: 0 to 3, 1.5 on average" in shown
    assert "entries in each list of tags: 0 to 2, 1.0 on average" in shown
    columns[1] = "words:uint8[2,*]"
    assert main(["jsonl", *arguments, *columns]) == 1
    assert "only the first size of shape may be *" in capsys.readouterr().err


# Batches.


@pytest.mark.parametrize("policy", [Padded(2), Bucketed((2, 3), (3, 2)), Packed(2, 4)])
@pytest.mark.parametrize("width", [None, 4, (3, 9)])
def test_a_batch_holds_the_lists_and_their_lengths(policy, width):
    widths = {} if width is None else {"words": width}
    pad_values = {"words": -1, "tags": -2}
    batches = [*Loader(PLAIN, policy, epochs=1, widths=widths, pad_values=pad_values)]
    assert sorted(np.concatenate([batch.indices for batch in batches])) == [*range(5)]
    for batch in batches:
        words, counts = batch.features["words"], batch.inner_lengths["words"]
        tags, tag_counts = batch.features["tags"], batch.inner_lengths["tags"]
        longest = counts.max(initial=1)
        wide = {None: longest, 4: -(-longest // 4) * 4, (3, 9): 3 if longest <= 3 else 9}[width]
        assert words.shape == (*counts.shape, wide)
        assert words.dtype == np.int64
        assert counts.dtype == tag_counts.dtype == np.int32
        is_entry = np.arange(wide) < counts[..., None]
        is_step = np.arange(words.shape[1]) < batch.lengths[:, None]
        assert (words[is_step[..., None] & ~is_entry] == -1).all()
        assert (words[~is_step] == -1).all()
        assert (counts[~is_step] == 0).all()
        for k, index in enumerate(batch.indices):
            if batch.segments is None:
                steps = k, slice(batch.lengths[k])
                assert batch.lengths[k] == len(SENTENCES[index])
                assert tags[k, : tag_counts[k]].tolist() == TAGS[index]
                assert (tags[k, tag_counts[k] :] == -2).all()
            else:
                steps = np.nonzero(batch.segments == k)
                assert tag_counts[steps].tolist() == [len(TAGS[index])] * len(SENTENCES[index])
                for found in tags[steps]:
                    assert found[: len(TAGS[index])].tolist() == TAGS[index]
            found = [w[:n].tolist() for w, n in zip(words[steps], counts[steps], strict=True)]
            assert found == SENTENCES[index]


def test_a_source_in_memory_equals_one_on_disk(tmp_path):
    write(tmp_path, WORDS, EXAMPLES)
    stored = RecordSource(tmp_path)
    assert stored.ragged_features == PLAIN.ragged_features == {"words", "tags"}
    one, other = (Loader(source, Padded(3), epochs=1, seed=1) for source in (stored, PLAIN))
    for ours, theirs in zip(one, other, strict=True):
        jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ListSource(EXAMPLES, {"words"}),
            "example 0: 'words' is no array.*ragged_features",
        ),
        (
            lambda: ListSource([{"words": Ragged.of([[1]])}], {"words"}),
            "example 0: 'words' has a list for each step; give its name in",
        ),
        (
            lambda: ListSource([{"words": [1, 2]}], {"words"}, ragged_features={"words"}),
            "example 0: 'words': Ragged: step 0 must be a list of entries, got 1",
        ),
        (
            lambda: ListSource([{"words": 3}], {"words"}, ragged_features={"words"}),
            "example 0: 'words' must have a list for each step, got 3",
        ),
        (
            lambda: ListSource([{"w": [[1]]}, {"w": [["a"]]}], {"w"}, ragged_features={"w"}),
            "all examples must have the features of the first.*but example 1",
        ),
        (
            lambda: ListSource(EXAMPLES, {"words"}, ragged_features="words"),
            "ragged_features must be",
        ),
        (
            lambda: ListSource([{"x": [1], "tags": 3}], {"x"}, ragged_features={"tags"}),
            "example 0 must have a feature 'tags' of lists",
        ),
        (
            lambda: ListSource([{"x": [1]}], {"x"}, ragged_features={"y"}),
            r"example 0 must have a feature 'y' of lists, .* got \['x'\]",
        ),
        (lambda: Loader(PLAIN, Padded(2), widths={"words": 0}), "the width of 'words' must be"),
        (lambda: Loader(PLAIN, Padded(2), widths={"words": (4, 2)}), r"must ascend, got \(4, 2\)"),
        (lambda: Loader(PLAIN, Padded(2), widths={"words": ()}), "must ascend"),
        (
            lambda: Loader(PLAIN, Padded(2), widths={"x": 2}),
            r"must name features of lists, \['tags'",
        ),
        (
            lambda: [*Loader(PLAIN, Padded(5), widths={"words": (2, 4)}, epochs=1)],
            "a list of 'words' has 9 entries, more than the largest width, 4",
        ),
    ],
)
def test_wrong_lists_and_widths_are_value_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Undeclared:
    """A source that does not say which features are lists."""

    lengths, shards = np.array([2]), (1,)
    sequence_features = frozenset({"x"})

    def read(self, indices):
        return [{"x": np.zeros((2, 3))}]


class Declared(Undeclared):
    ragged_features = frozenset({"x"})


def test_a_source_that_gives_arrays_for_lists_is_a_value_error():
    with pytest.raises(ValueError, match=r"example 0 must have a Ragged as 'x', .* got float64\["):
        next(Loader(Declared(), Padded(1)))
    with pytest.raises(ValueError, match="got a Undeclared, which has no ragged_features"):
        Loader(Undeclared(), Padded(1))


# A model of words of characters: masks at both levels.


@pytest.mark.slow
def test_padding_of_both_levels_changes_nothing():
    rng = np.random.default_rng(0)
    sentences = [[rng.integers(0, 6, rng.integers(0, 5)) for _ in range(n)] for n in (3, 1, 4)]
    source = ListSource([{"w": words} for words in sentences], {"w"}, ragged_features={"w"})
    of_words, of_sentences = seqjax.GRU(4), seqjax.LSTM(3)
    inner = of_words.init(jax.random.key(0), 6, jnp.float64)
    outer = of_sentences.init(jax.random.key(1), 4, jnp.float64)
    one_hot = np.eye(7)[:, :6]  # of the padding, -1, which is the last row: no character

    def vectors(params, batch):
        inner, outer = params
        letters, counts = batch.features["w"], batch.inner_lengths["w"]
        B, T, W = letters.shape
        xs = jnp.asarray(one_hot)[letters].reshape(B * T, W, 6)
        final, _ = seqjax.unroll(of_words, inner, xs, lengths=counts.reshape(B * T))
        words = final.h.reshape(B, T, 4)
        _, hs = seqjax.unroll(of_sentences, outer, words, lengths=batch.lengths)
        return hs

    def loss(params, batch):
        return (vectors(params, batch) ** 2).sum()

    def batch_of(policy, widths, padding):
        loader = Loader(source, policy, epochs=1, widths=widths, pad_values={"w": padding})
        return next(loader)

    tight = batch_of(Padded(3), {}, -1)
    wide = batch_of(Padded(3, multiple=7), {"w": 11}, 5)
    assert wide.features["w"].shape == (3, 7, 11)
    expected, found = (jax.value_and_grad(loss)((inner, outer), b) for b in (tight, wide))
    close(found, expected, 1e-12)
    close(vectors((inner, outer), wide)[:, :4], vectors((inner, outer), tight), 1e-12)
    alone = batch_of(Padded(1), {}, -1)  # of the first sentence
    close(vectors((inner, outer), alone)[0], vectors((inner, outer), tight)[0, :3], 1e-12)
