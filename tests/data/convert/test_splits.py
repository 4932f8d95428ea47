"""Splits into data sets for training, validation and test."""

import json
import os

import numpy as np
import pytest

from seqjax.data.convert.splitting import limits, parse_split
from seqjax.data.records import RecordSource
from tests.data.convert.examples import file, read, run

SPLIT = "train=0.8,validation=0.1,test=0.1"
PARTS = ("train", "validation", "test")


def rows(count=50):
    return [{"id": k, "who": f"p{k % 10}", "x": [k] * (k % 4), "label": "ab"[k % 2]}
            for k in range(count)]  # fmt: skip


def convert(directory, examples, *options):
    source = file(directory, "rows.jsonl", "\n".join(map(json.dumps, examples)))
    columns = ["--sequence", "x:int32", "--context", "id:int32", "who:bytes", "label:class"]
    assert run("jsonl", source, directory / "out", *columns, "--split", SPLIT, *options) == 0
    return {part: read(directory / "out" / part) for part in PARTS}


def ids(parts):
    return {name: {example["id"] for example in part} for name, part in parts.items()}


def test_each_example_is_in_one_part(tmp_path, capsys):
    first = ids(convert(tmp_path, rows()))
    assert [len(first[part]) for part in PARTS] == [40, 5, 5]
    assert set.union(*first.values()) == {*range(50)}
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{tmp_path}/out/train: 40 examples, ")
    assert shown[1].startswith("  label: ")
    assert len(shown) == 6
    # the order of the file does not matter, the seed does
    assert ids(convert(tmp_path, rows()[::-1])) == first
    assert ids(convert(tmp_path, rows(), "--seed", 1)) != first
    schemas = [RecordSource(tmp_path / "out" / part).schema for part in PARTS]
    assert schemas[0] == schemas[1] == schemas[2]


def test_groups_stay_together(tmp_path):
    parts = convert(tmp_path, rows(), "--split-by", "who")
    people = {name: {example["who"] for example in part} for name, part in parts.items()}
    assert [len(people[part]) for part in PARTS] == [8, 1, 1]
    assert len(set.union(*people.values())) == 10
    assert [len(parts[part]) for part in PARTS] == [40, 5, 5]


def test_rows_of_one_sequence_and_of_one_person_stay_together(tmp_path, fails):
    lines = [f"p{k % 3},{k},{step}" for k in range(6) for step in range(2)]
    source = file(tmp_path, "walks.csv", "\n".join(["who,walk,x", *lines]))
    arguments = ["csv", source, tmp_path / "out", "--group", "walk", "--split-by", "who",
                 "--sequence", "x:int32", "--context", "walk:int32", "--split"]  # fmt: skip
    assert run(*arguments, "a=0.67,b=0.33") == 0
    a, b = ({e["walk"] % 3 for e in read(tmp_path / "out" / part)} for part in "ab")
    assert (len(a), len(b)) == (2, 1)
    assert not a & b
    source.write_text("who,walk,x\nAnn,1,0\nBob,1,0\n")
    fails("line 3: 'who' is 'Bob' and was 'Ann' before", *arguments, "a=0.5,b=0.5")
    source.write_text("who,walk,x\nAnn,1,0\n,2,0\n")
    fails("line 3: 'who' is missing; --split-by needs it", *arguments, "a=0.5,b=0.5")


def test_arrays_and_texts_are_split(tmp_path, fails):
    source = tmp_path / "arrays.npz"
    np.savez(source, xs=np.arange(20).reshape(10, 2), who=np.repeat(["Ann", "Bob"], 5),
             wide=np.zeros((10, 2)))  # fmt: skip
    arguments = ["npz", source, tmp_path / "out", "--sequence", "xs", "--split", "a=0.5,b=0.5"]
    assert run(*arguments, "--split-by", "who") == 0
    found = sorted(read(tmp_path / "out" / part)[0]["xs"][0] for part in "ab")
    assert found == [0, 10]
    fails("'wide' must be numbers or texts [N]", *arguments, "--split-by", "wide")
    fails("--split-by needs --split", *arguments[:-2], "--split-by", "who")
    lines = file(tmp_path, "lines.txt", "a\nb\na\na\nc\nb")
    assert run("text", lines, tmp_path / "text", "--split", "a=0.5,b=0.5") == 0
    a, b = ({e["tokens"][0] for e in read(tmp_path / "text" / part)} for part in "ab")
    assert not a & b  # equal lines stay together


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("train", "--split must be names and shares, such as train=0.8,validation=0.1"),
        ("train=0.8,test=0.3", "must sum to 1, got 1.1"),
        ("train=0.5,train=0.5", "--split names 'train' more than once"),
        ("../train=0.5,test=0.5", "--split must be names and shares"),
        ("train=1.5", "--split must be names and shares"),
        ("train=0.9,test=0.1", "the part 'test' has no examples: there are 2 different"),
    ],
)
def test_a_bad_split_says_why(tmp_path, fails, split, message):
    lines = file(tmp_path, "lines.txt", "a\nb\na\n")
    fails(message, "text", lines, tmp_path / "out", "--split", split)
    assert not (tmp_path / "out").exists()


def test_an_error_leaves_all_old_parts(tmp_path, fails, monkeypatch):
    lines, options = tmp_path / "lines.txt", ["--split", "a=0.5,b=0.5"]
    lines.write_text("a\nb\nc\nd")
    assert run("text", lines, tmp_path / "out", *options) == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("out/*/*")}
    lines.write_text("e\nf\ng\nh")
    written = []

    def fsync(descriptor):  # the last file before the first data set is replaced
        written.append(descriptor)
        if len(written) == 6:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    fails("No space left on device", "text", lines, tmp_path / "out", *options)
    assert {path: path.read_bytes() for path in tmp_path.rglob("out/*/*")} == before


def test_shares_are_met_as_well_as_groups_allow():
    rng = np.random.default_rng(0)
    for _ in range(50):
        hashes = rng.integers(0, 40, 1000).astype(np.uint64)
        bounds = limits(hashes.tolist(), parse_split(SPLIT))
        sizes = np.bincount(np.searchsorted(bounds, hashes, "right"), minlength=3)
        assert (np.abs(sizes - [800, 100, 100]) <= np.bincount(hashes).max()).all()
