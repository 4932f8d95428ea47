"""Texts in pieces: the same characters, counts, tokens and errors as the text in memory."""

import hashlib
import importlib
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqjax.data.text import (
    Pieces,
    Vocabulary,
    count_characters,
    read_corpus,
    survey,
    token_file,
)

token_files = importlib.import_module("seqjax.data.text.token_file")  # not the function

PLAY = "ROMEO:\nIs the day so young? é 日本 🎭\r\n" * 3


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch, tmp_path):
    monkeypatch.setattr(token_files, "_PIECE", 5)
    monkeypatch.setenv("SEQJAX_DATA", str(tmp_path / "cache"))


@pytest.mark.parametrize("content", [PLAY, "\ufeff" + PLAY, "", "x", "🎭" * 7])
def test_pieces_are_the_text(tmp_path, content):
    path = tmp_path / "play.txt"
    path.write_bytes(content.encode())
    text = "".join(Pieces(path))
    assert text == content.removeprefix("\ufeff")
    assert survey(Pieces(path)) == (
        len(text),
        len(text.encode()),
        hashlib.sha256(text.encode()).hexdigest(),
    )
    if text:
        assert survey(Pieces(path)).sha256 == read_corpus(path).sha256
    assert Pieces(path).size == len(content.encode())


def test_pieces_of_a_folder_are_joined_by_newlines(tmp_path):
    for name in ("b", "a", "deep/c"):
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(name * 9)
    assert "".join(Pieces(tmp_path)) == read_corpus(tmp_path).text


@pytest.mark.parametrize(
    "content",
    [
        b"first\nsecond line\nthird \xff line",
        b"first\nsec\0nd",
        b"an unfinished character \xe6\x97",
        "é".encode() * 9 + b"\xc3(",
        b"\n\n\n\n\n\n\xed\xa0\x80",
    ],
)
def test_wrong_bytes_are_the_error_of_the_text_in_memory(tmp_path, content):
    path = tmp_path / "play.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"play\.txt: byte \d+") as expected:
        read_corpus(path)
    with pytest.raises(ValueError, match=r"play\.txt: byte \d+") as found:
        survey(Pieces(path))
    assert str(found.value) == str(expected.value)
    if b"\0" not in content:
        replaced = "".join(Pieces(path, errors="replace"))
        assert replaced == read_corpus(path, errors="replace").text


def test_what_cannot_be_read_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match=r"none\.txt: cannot read this corpus: No such file"):
        survey(Pieces(tmp_path / "none.txt"))
    with pytest.raises(ValueError, match=r"holds no \*\.txt files"):
        Pieces(tmp_path)
    with pytest.raises(ValueError, match="errors must be"):
        Pieces(tmp_path, errors="ignore")


@given(st.text(min_size=1), st.data())
def test_counts_are_those_of_any_part(text, data):
    text = text.encode("utf-8", "replace").decode()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    pieces = [text[k : k + 3] for k in range(0, len(text), 3)]
    part = text[start:end]
    assert count_characters(pieces, start, end) == {c: part.count(c) for c in sorted({*part})}
    if part:
        counts = count_characters(pieces, start, end)
        assert Vocabulary.of_counts(counts) == Vocabulary.of(part)


@pytest.mark.parametrize(
    ("vocabulary", "dtype"),
    [
        (Vocabulary.of(PLAY), np.uint8),
        (Vocabulary(None), np.uint8),
        (Vocabulary(PLAY[:2], unknown=True), np.uint8),
        (Vocabulary("".join(map(chr, range(256)))), None),
        (Vocabulary("".join(map(chr, range(256))), unknown=True), np.uint16),
        (
            Vocabulary(
                "".join(map(chr, range(0xE000, 0x1F3FF))) + "".join(sorted({*PLAY} - {"🎭"}))
            ),
            np.int32,
        ),
        (Vocabulary("".join(map(chr, range(0xE000, 0x1FFFF)))), None),
    ],
)
def test_the_file_holds_the_tokens_of_the_vocabulary(tmp_path, vocabulary, dtype):
    path = tmp_path / "play.txt"
    path.write_bytes(PLAY.encode())
    pieces = Pieces(path)
    if dtype is None:  # lacks characters of the text
        with pytest.raises(ValueError, match=r"lacks these characters: '.' at \d+"):
            token_file(pieces, vocabulary, survey(pieces))
        assert not [*(tmp_path / "cache" / "tokens").glob("*.tokens")]
        return
    tokens = token_file(pieces, vocabulary, survey(pieces))
    assert isinstance(tokens, np.memmap)
    assert tokens.dtype == dtype
    np.testing.assert_array_equal(tokens, vocabulary.encode(PLAY))


def test_a_lacking_character_is_named_by_its_place_in_the_text():
    pieces = ["to be ", "or not"]
    with pytest.raises(ValueError, match="lacks these characters: 'r' at 7;"):
        token_file(pieces, Vocabulary("to ben"), survey(pieces))


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_file_is_written_once_and_again_if_it_is_damaged(tmp_path, monkeypatch, count):
    path = tmp_path / "play.txt"
    path.write_bytes(PLAY.encode())
    pieces, vocabulary = Pieces(path), Vocabulary.of(PLAY)
    found = survey(pieces)
    written = []
    write = token_files._write

    def spy(path, *arguments):
        written.append(path)
        return write(path, *arguments)

    monkeypatch.setattr(token_files, "_write", spy)
    expected = token_file(pieces, vocabulary, found).tolist()
    assert token_file(pieces, vocabulary, found).tolist() == expected
    assert len(written) == 1
    (file,) = (tmp_path / "cache" / "tokens").glob("*.tokens")
    rng = np.random.default_rng(0)
    for damage in range(count):
        whole = file.read_bytes()
        place = rng.integers(len(whole))
        changed = whole[:place] + bytes([whole[place] ^ 1 << damage % 8]) + whole[place + 1 :]
        file.write_bytes(changed if damage % 2 else whole[:place])
        assert token_file(pieces, vocabulary, found).tolist() == expected
    assert len(written) == count + 1
    file.with_suffix(".crc32c").write_text("")
    assert token_file(pieces, vocabulary, found).tolist() == expected
    token_file(pieces, Vocabulary(None), found)  # another vocabulary has a file of its own
    assert len({*(tmp_path / "cache" / "tokens").glob("*.tokens")}) == 2


def test_a_text_that_changes_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "play.txt"
    path.write_text("to be or not")
    pieces = Pieces(path)
    found = survey(pieces)
    path.write_text("to be or not to be")
    with pytest.raises(ValueError, match="has 18 tokens, but had 12 when it was surveyed"):
        token_file(pieces, Vocabulary.of("to be or not"), found)
    assert not [*(tmp_path / "cache" / "tokens").iterdir()]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ValueError, match=r"cannot write 2 bytes of tokens: .*; set SEQJAX_DATA"):
        token_file(["to"], Vocabulary("to"), survey(["to"]))


def test_memory_does_not_grow_with_the_text(tmp_path, monkeypatch):
    monkeypatch.setattr(token_files, "_PIECE", 10_000)
    peaks = []
    for count in (20_000, 200_000):
        path = tmp_path / f"{count}.txt"
        path.write_bytes(b"Is the day so young?\n" * count)
        pieces = Pieces(path)
        tracemalloc.start()
        found = survey(pieces)
        vocabulary = Vocabulary.of_counts(count_characters(pieces, 0, found.length))
        tokens = token_file(pieces, vocabulary, found)
        again = token_file(pieces, vocabulary, found)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(tokens) == len(again) == found.length
    assert peaks[1] - peaks[0] < 100_000  # of 3.8 MB more
