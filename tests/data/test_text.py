"""Corpora from everywhere, vocabularies both ways, and what is cut from the tokens."""

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqjax.data.text import Vocabulary, read_corpus, split, streams, windows
from seqjax.data.text import corpus as module

PLAY = "ROMEO:\nIs the day so young?\n"


def write(path, content):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_python_docs_are_always_there_and_always_the_same():
    corpus = read_corpus("python_docs")
    assert corpus == read_corpus("python_docs")
    assert corpus.name == "python_docs"
    assert corpus.sha256 == hashlib.sha256(corpus.text.encode()).hexdigest()
    assert 400_000 < len(corpus.text) < 600_000
    assert "statement" in corpus.text


@pytest.mark.parametrize("content", [PLAY, "r\r\n\ttab\n\n", "naïve 日本語 🎭\n"])
def test_a_file_is_read_as_it_is(tmp_path, content):
    corpus = read_corpus(write(tmp_path / "play", content))
    digest = hashlib.sha256(content.encode()).hexdigest()
    assert corpus == ("play", content, digest)
    assert read_corpus(str(tmp_path / "play")) == corpus


def test_a_folder_is_its_text_files_in_order_at_any_depth(tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b" / "z.txt", "three")
    write(tmp_path / "a.txt", "one")
    write(tmp_path / "a10.txt", "two\n")
    write(tmp_path / "notes.md", "no")
    (tmp_path / "folder.txt").mkdir()
    corpus = read_corpus(tmp_path)
    assert corpus.text == "one\ntwo\n\nthree"
    assert corpus.name == tmp_path.name
    monkeypatch.chdir(tmp_path)
    assert read_corpus(".") == corpus


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad is empty; give a text"),
        (b"good\nbad \xff\n", r"bad: byte 9, in line 2, is 0xff, .* errors='replace'"),
        ("é".encode("latin-1"), "byte 0, in line 1, is 0xe9"),
        ("日".encode()[:2], "byte 0, in line 1, is 0xe6.*unexpected end of data"),
        ("to be".encode("utf-16"), "byte 3 is NUL, so this is not a UTF-8 text"),
        (b"\x7fELF\x02\x00", "byte 5 is NUL"),
    ],
)
def test_what_is_no_text_is_a_clear_error(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_corpus(write(tmp_path / "bad", content))


def test_a_byte_order_mark_is_no_part_of_a_text(tmp_path):
    for name, text in (("a.txt", "b\ufeff"), ("b.txt", "a")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_corpus(tmp_path / "a.txt").text == "b\ufeff"  # one within the text is content
    assert read_corpus(tmp_path).text == "b\ufeff\na"
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfa\xff")
    with pytest.raises(ValueError, match="byte 4, in line 1"):
        read_corpus(tmp_path / "b.txt")
    assert read_corpus(tmp_path / "b.txt", errors="replace").text == "a\ufffd"


def test_invalid_bytes_are_replaced_on_request_and_junk_is_not(tmp_path):
    corpus = read_corpus(write(tmp_path / "bad", b"a\xffb\xe6\x97"), errors="replace")
    assert corpus.text == "a\ufffdb\ufffd"
    with pytest.raises(ValueError, match="byte 1 is NUL"):
        read_corpus(write(tmp_path / "junk", b"\xff\0"), errors="replace")
    with pytest.raises(ValueError, match="errors must be one of 'strict', 'replace', got 'ignore'"):
        read_corpus("python_docs", errors="ignore")


def test_a_bad_file_in_a_folder_is_named(tmp_path):
    write(tmp_path / "a.txt", PLAY)
    write(tmp_path / "b.txt", b"\xff")
    with pytest.raises(ValueError, match=r"b\.txt: byte 0, in line 1"):
        read_corpus(tmp_path)


def test_a_pattern_names_files_at_any_depth(tmp_path):
    (tmp_path / "deep").mkdir()
    for name, text in (("b.py", b"two"), ("deep/a.py", b"three"), ("a.py", b"one"), ("c.txt", b"")):
        write(tmp_path / name, text)
    assert read_corpus(tmp_path / "**" / "*.py").text == "one\ntwo\nthree"
    assert read_corpus(tmp_path / "*.py").text == "one\ntwo"
    write(tmp_path / "[a].py", b"four")
    assert read_corpus(tmp_path / "[a].py").text == "four"  # a file of this name
    with pytest.raises(ValueError, match="no file matches this pattern"):
        read_corpus(tmp_path / "*.rs")


def test_a_missing_corpus_names_what_there_is(tmp_path):
    with pytest.raises(
        ValueError, match=r"No such file.*\.txt files, a pattern.*one of tiny_shakespeare"
    ):
        read_corpus(tmp_path / "shakespear")
    with pytest.raises(ValueError, match=r"holds no \*\.txt files"):
        read_corpus(tmp_path)


@pytest.fixture
def play_for_shakespeare(tmp_path, monkeypatch):
    """A short text in place of tiny_shakespeare, with its own "network" and empty data folders."""
    source = write(tmp_path / "input.txt", PLAY)
    monkeypatch.setattr(module, "TINY_SHAKESPEARE_URL", source.as_uri())
    monkeypatch.setattr(
        module, "TINY_SHAKESPEARE_SHA256", hashlib.sha256(PLAY.encode()).hexdigest()
    )
    monkeypatch.setenv("SEQJAX_DATA", str(tmp_path / "cache" / "deep"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return source


def test_tiny_shakespeare_is_downloaded_once(play_for_shakespeare, tmp_path):
    corpus = read_corpus("tiny_shakespeare")
    assert corpus.text == PLAY
    play_for_shakespeare.unlink()
    assert read_corpus("tiny_shakespeare") == corpus
    assert os.listdir(tmp_path / "cache" / "deep") == ["tiny_shakespeare.txt"]
    # others may read it, as any file that they may
    mode = write(tmp_path / "any.txt", PLAY).stat().st_mode
    assert (tmp_path / "cache" / "deep" / "tiny_shakespeare.txt").stat().st_mode == mode


@pytest.mark.parametrize("place", ["data", "home/.cache/seqjax", "given"])
def test_tiny_shakespeare_is_found_where_it_lies(
    play_for_shakespeare, tmp_path, monkeypatch, place
):
    play_for_shakespeare.unlink()
    monkeypatch.delenv("SEQJAX_DATA")
    (tmp_path / place).mkdir(parents=True)
    write(tmp_path / place / "tiny_shakespeare.txt", PLAY)
    folder = tmp_path / "given" if place == "given" else None
    assert read_corpus("tiny_shakespeare", folder=folder).text == PLAY


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("place", ["elsewhere", "home/tensorflow_datasets"])
def test_tiny_shakespeare_is_found_where_tensorflow_datasets_prepared_it(
    play_for_shakespeare, tmp_path, monkeypatch, place
):
    import tensorflow_datasets as tfds

    def download(manager, url):
        assert url.endswith("tinyshakespeare/input.txt")
        return str(play_for_shakespeare)

    monkeypatch.setattr(tfds.download.DownloadManager, "download", download)
    builder = tfds.builder("tiny_shakespeare", data_dir=tmp_path / place)
    builder.download_and_prepare()
    play_for_shakespeare.unlink()
    if place == "elsewhere":
        with pytest.raises(ValueError, match=r"nor in the files .*home/tensorflow_datasets"):
            read_corpus("tiny_shakespeare")
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / place))
    assert read_corpus("tiny_shakespeare").text == PLAY
    monkeypatch.setattr(module, "TINY_SHAKESPEARE_SHA256", "0")
    with pytest.raises(ValueError, match=r"the tiny_shakespeare in .* has sha256"):
        read_corpus("tiny_shakespeare")


def test_without_a_network_the_error_names_every_way_out(play_for_shakespeare, tmp_path):
    play_for_shakespeare.unlink()
    with pytest.raises(ValueError, match="downloading it from") as caught:
        read_corpus("tiny_shakespeare")
    for part in (
        tmp_path / "cache" / "deep" / "tiny_shakespeare.txt",
        "python_docs",
        "path of another",
    ):
        assert str(part) in str(caught.value)


def test_a_wrong_download_is_not_kept_and_a_wrong_file_not_used(play_for_shakespeare, tmp_path):
    write(play_for_shakespeare, PLAY[:-1])
    with pytest.raises(ValueError, match="the download has sha256"):
        read_corpus("tiny_shakespeare")
    assert not (tmp_path / "cache").exists()
    play_for_shakespeare.write_bytes(bytes(1_115_395))
    with pytest.raises(ValueError, match="the download has more than 1,115,394 bytes"):
        read_corpus("tiny_shakespeare")
    write(play_for_shakespeare, PLAY)
    read_corpus("tiny_shakespeare")
    write(tmp_path / "cache" / "deep" / "tiny_shakespeare.txt", PLAY[:-1])
    with pytest.raises(ValueError, match="is not tiny_shakespeare: its sha256 is"):
        read_corpus("tiny_shakespeare")


def test_a_full_disk_leaves_no_half_file(play_for_shakespeare, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match="No space left on device"):
        read_corpus("tiny_shakespeare")
    assert os.listdir(tmp_path / "cache" / "deep") == []


def test_tiny_shakespeare_is_the_one_that_all_published_losses_are_of():
    folder = Path(os.environ.get("SEQJAX_DATA") or "~/.cache/seqjax").expanduser()
    if not (folder / "tiny_shakespeare.txt").exists():
        pytest.skip("tiny_shakespeare is not in the data folder")
    text = read_corpus("tiny_shakespeare").text
    assert len(text) == 1_115_394
    assert Vocabulary.of(text).size == 65
    assert len(split(text).train) == 1_003_854  # as nanoGPT and all after it split it


@given(st.text(), st.text(min_size=1))
def test_a_vocabulary_of_characters_goes_there_and_back(training, text):
    known = Vocabulary.of(training + text)
    tokens = known.encode(text)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == [sorted(set(training + text)).index(c) for c in text]
    assert known.decode(tokens) == text
    assert "".join(known.decode_stream(tokens[:, None])) == text

    counts = {c: training.count(c) for c in training}
    common = "".join(sorted(c for c in counts if counts[c] >= 2))
    rare = Vocabulary.of(training, min_count=2)
    assert rare == Vocabulary(common, unknown=True)
    assert rare.decode(rare.encode(text)) == "".join(c if c in common else "\ufffd" for c in text)


@given(st.text(), st.binary(), st.lists(st.integers(0, 5)))
def test_bytes_go_there_and_back_in_pieces_of_any_size(text, junk, sizes):
    vocabulary = Vocabulary(None)
    tokens = vocabulary.encode(text)
    assert tokens.tolist() == list(text.encode())
    assert vocabulary.decode(tokens) == text
    tokens = np.concatenate([tokens, np.frombuffer(junk, np.uint8)])
    pieces = np.split(tokens, np.minimum(np.cumsum(sizes), len(tokens)).astype(int))
    whole = (text.encode() + junk).decode(errors="replace")
    assert "".join(vocabulary.decode_stream(pieces)) == whole == vocabulary.decode(tokens)


def test_unseen_characters_are_named_where_they_first_stand():
    vocabulary = Vocabulary.of("abc")
    with pytest.raises(ValueError, match=r"'ß' at 1, '€' at 3; remove them .* min_count=2"):
        vocabulary.encode("aßa€ß")
    with pytest.raises(ValueError, match="'k' at 7 and 2 more"):
        vocabulary.encode("defghijklm")
    with pytest.raises(ValueError, match=r"'\\udcff' at 0"):
        vocabulary.encode("\udcff")
    assert Vocabulary("abc", unknown=True).encode("aß\udcff").tolist() == [0, 3, 3]
    assert vocabulary.encode("").shape == (0,)
    assert vocabulary.decode([]) == ""


@pytest.mark.parametrize("vocabulary", [Vocabulary("ab", unknown=True), Vocabulary(None)])
@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ([0, -1], "got -1 at 1"),
        ([1, 0, 256], r"must lie in \[0, \d+\), the vocabulary, got 256 at 2"),
        ([0.0], "must be integers"),
        (3, r"of shape \(\)"),
        ([[1]], r"of shape \(1, 1\)"),
    ],
)
def test_tokens_outside_the_vocabulary_are_clear_errors(vocabulary, tokens, message):
    with pytest.raises(ValueError, match=message):
        vocabulary.decode(tokens)
    with pytest.raises(ValueError, match=message):
        list(vocabulary.decode_stream([tokens]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("aba",), "must all differ, got 'aba'"),
        (("",), "characters must not be empty"),
        ((None, True), "bytes have no unknown token"),
        ((["a", "b"],), "must be a string or None"),
        (("ab", 1), "unknown a bool"),
    ],
)
def test_a_bad_vocabulary_is_a_clear_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(*arguments)


@pytest.mark.parametrize(
    "vocabulary",
    [Vocabulary(None), Vocabulary.of('naïve 🎭\n\u2028\ud800"'), Vocabulary("ab", unknown=True)],
)
def test_a_vocabulary_is_saved_as_plain_json(vocabulary):
    restored = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert restored == vocabulary
    assert hash(restored) == hash(vocabulary)


@pytest.mark.parametrize("content", [None, {}, [], {"characters": "ab"}, {"a": 1, "unknown": True}])
def test_what_is_no_vocabulary_is_a_clear_error(content):
    with pytest.raises(ValueError, match="a vocabulary is an object of 'characters' and 'unknown'"):
        Vocabulary.from_json(content)


def test_encoding_a_million_characters_takes_milliseconds():
    text = read_corpus("python_docs").text
    text *= 1_000_000 // len(text) + 1
    vocabulary = Vocabulary.of(text)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        vocabulary.encode(text)
        best = min(best, time.perf_counter() - began)
    assert best < 0.05


def test_a_split_keeps_every_character_and_its_name():
    text = "".join(map(chr, range(97, 120)))
    for share in (0.1, 0.25, 0.5):
        parts = split(text, share)
        assert parts.train + parts.validation == text
        assert len(parts.train) == int(len(text) * (1 - share))
    assert split(text, 0.25).name == "first 75% / last 25%"
    assert split(text, 0.125).name == "first 87.5% / last 12.5%"
    tokens = split(np.arange(10), 0.3)
    assert tokens.validation.tolist() == [7, 8, 9]


@pytest.mark.parametrize(
    ("text", "share"), [("ab", 0.0), ("ab", 1), ("a", 0.5), ("", 0.5), ("ab", float("nan"))]
)
def test_a_split_with_an_empty_part_is_a_clear_error(text, share):
    with pytest.raises(ValueError, match=f"of length {len(text)} empty, got {share}"):
        split(text, share)


@given(st.integers(2, 60), st.integers(1, 8))
def test_a_row_goes_on_where_the_one_before_ends(length, rows):
    tokens = np.arange(length, dtype=np.int32)
    if length <= rows:
        with pytest.raises(ValueError, match=f"{length} tokens are too few for {rows} rows"):
            streams(tokens, rows)
        return
    inputs, targets = streams(tokens, rows)
    assert inputs.shape == targets.shape == (rows, (length - 1) // rows)
    np.testing.assert_array_equal(inputs.ravel(), tokens[: inputs.size])
    np.testing.assert_array_equal(targets.ravel(), tokens[1 : inputs.size + 1])
    assert length - 1 - inputs.size < rows
    assert inputs.dtype == targets.dtype == np.int32


@given(st.integers(2, 60), st.integers(1, 70))
def test_windows_hold_every_target_once(length, size):
    tokens = np.arange(1, length + 1, dtype=np.int32)
    inputs, targets, lengths = windows(tokens, size)
    assert inputs.shape == targets.shape == (len(lengths), size)
    assert inputs.dtype == targets.dtype == lengths.dtype == np.int32
    mask = np.arange(size) < lengths[:, None]
    np.testing.assert_array_equal(inputs[mask], tokens[:-1])
    np.testing.assert_array_equal(targets[mask], tokens[1:])
    assert not inputs[~mask].any()
    assert not targets[~mask].any()
    assert lengths.min() >= 1


@pytest.mark.parametrize(
    ("cut", "argument", "message"),
    [
        (streams, 0, "rows must be a whole number of at least 1, got 0"),
        (windows, 0, "size must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_cuts_are_clear_errors(cut, argument, message):
    with pytest.raises(ValueError, match=message):
        cut(np.arange(9), argument)
    for tokens in ("text", np.ones(9), np.ones((9, 2), int)):
        with pytest.raises(ValueError, match=r"tokens must be integers \[N\]"):
            cut(tokens, 1)
    with pytest.raises(ValueError, match="1 tokens"):
        cut(np.arange(1), 1)
