"""The command ``text``."""

import json

from tests.data.convert.examples import file, read, run


def test_lines_of_text_become_bytes(tmp_path):
    source = file(tmp_path, "lines.txt", "ab\n\nä\r\nlast")
    assert run("text", source, tmp_path / "out", "--shards", 2) == 0
    lines = [b"ab", "ä".encode(), b"", b"last"]  # in shards of every other line
    assert read(tmp_path / "out") == [{"tokens": list(line)} for line in lines]


def test_lines_of_text_become_characters(tmp_path, fails):
    source = file(tmp_path, "lines.txt", "bä\nab")
    vocabulary = tmp_path / "vocabulary.json"
    options = ["--tokens", "characters", "--vocabulary", vocabulary, "--compression", "GZIP"]
    assert run("text", source, tmp_path / "out", *options) == 0
    assert json.loads(vocabulary.read_text()) == ["a", "b", "ä"]
    assert read(tmp_path / "out") == [{"tokens": [1, 2]}, {"tokens": [0, 1]}]
    # one that is there is used as it is
    vocabulary.write_text('["b", "a", "ä"]')
    assert run("text", source, tmp_path / "out", *options) == 0
    assert read(tmp_path / "out") == [{"tokens": [0, 2]}, {"tokens": [1, 0]}]
    source.write_text("ab\nabc")
    fails(f"{source}, line 2: 'c' is not in {vocabulary}", "text", source, tmp_path, *options)
    vocabulary.write_text("{}")
    fails(f"{vocabulary}: must be a JSON list", "text", source, tmp_path, *options)
    fails("must be given together", "text", source, tmp_path, "--vocabulary", vocabulary)
    source.write_bytes(b"a\n\xff")
    vocabulary.unlink()
    fails(f"{source}, line 2: 'utf-8' codec", "text", source, tmp_path, *options)
    assert not vocabulary.exists()
    # what fails leaves no vocabulary, which would not fit the text that is then corrected
    source.write_text("ab\nx")
    (tmp_path / "taken").write_text("a file")
    fails("taken", "text", source, tmp_path / "taken" / "out", *options)
    assert not [*tmp_path.glob("*vocabulary*")]
    fails(f"{tmp_path}/no: No such file", "text", tmp_path / "no", tmp_path / "out")
    assert len(read(tmp_path / "out")) == 2
