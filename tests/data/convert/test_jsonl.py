"""The command ``jsonl``."""

import json
import os

from seqjax.data.records import RecordSource
from tests.data.convert.examples import file, read, run


def test_lists_of_jsonl_become_sequences(tmp_path, fails):
    rows = [{"id": 7, "xs": [[1, 2], [3, 4]], "more": None}, {"id": 8, "xs": []}]
    source = file(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    arguments = [source, tmp_path / "out", "--sequence", "xs:int32[2]", "--context", "id:int64"]
    assert run("jsonl", *arguments) == 0
    assert read(tmp_path / "out") == [{"id": 7, "xs": [[1, 2], [3, 4]]}, {"id": 8, "xs": []}]
    for line, message in [
        ('{"id": 1, "xs": [[1, 2], [3]]}', f"{source}, line 3: 'xs': must be int32[2]"),
        ('{"id": 1, "xs": null}', f"{source}, line 3: 'xs': must be int32[2]"),
        ('{"id": 1, "xs": []' + "[" * 900 + "]" * 900 + "}", f"{source}, line 3: "),
        ('{"id": 1, "xs": ' + "[" * 900 + "]" * 900 + "}", f"{source}, line 3: "),
        ('{"id": 1, "xs": ' + "[" * 90000 + "]" * 90000 + "}", f"{source}, line 3: "),
        ('{"id": 1, "xs": ' + "[" * 60 + "]" * 60 + "}", f"{source}, line 3: "),
        ('{"id": 1, "id": 2, "xs": []}', "line 3: the member 'id' occurs more than once"),
        (
            '{"id": 1}',
            f"{source}, line 3: expected an object with ['id', 'xs'], got an object with ['id']",
        ),
        ("[1]", f"{source}, line 3: expected an object with ['id', 'xs'], got [1]"),
        ('{"id": 1', f"{source}, line 3: Expecting"),
        ('{"id": "one", "xs": []}', f"{source}, line 3: 'id' must be int64, got 'one'"),
    ]:
        file(tmp_path, "rows.jsonl", "\n".join([*map(json.dumps, rows), line]))
        fails(message, "jsonl", *arguments)
    assert len(read(tmp_path / "out")) == 2


def test_groups_of_jsonl_lines_become_sequences(tmp_path):
    rows = [{"g": 1, "w": "a"}, {"g": 1, "w": "é"}, {"g": 2, "w": ""}]
    source = file(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    out = tmp_path / "out"
    assert run("jsonl", source, out, "--sequence", "w:bytes", "--group", "g") == 0
    assert read(out) == [{"w": [b"a", "é".encode()]}, {"w": [b""]}]


def test_numbers_that_no_float_holds_are_named(tmp_path, fails):
    source = file(tmp_path, "rows.jsonl", '{"x": [1.5, Infinity]}\n{"x": [1e400]}')
    arguments = ["jsonl", source, tmp_path / "out", "--sequence", "x:float32"]
    fails(f"{source}, line 2: 1e400 is more than a float can hold", *arguments)
    source.write_text('{"x": [1' + "0" * 400 + "]}")
    fails(f"{source}, line 1: 'x'", *arguments)
    source.write_text('{"g": [1], "x": 2}')
    fails(f"{source}, line 1: 'g' must be one value", *arguments, "--group", "g")


MAILS = [{"text": "hé", "label": "spam"}, {"text": "", "label": "ham"}]


def test_labelled_texts_become_tokens(tmp_path, fails):
    source = file(tmp_path, "mails.jsonl", "\n".join(map(json.dumps, MAILS)))
    out, label = tmp_path / "out", ["--context", "label:class"]
    assert run("jsonl", source, out, "--sequence", "text:utf8", *label) == 0
    assert read(out) == [{"label": 1, "text": list("hé".encode())}, {"label": 0, "text": []}]
    vocabulary = tmp_path / "vocabulary.json"
    options = ["--sequence", "text:characters", "--vocabulary", vocabulary]
    assert run("jsonl", source, out, *options, *label) == 0
    assert json.loads(vocabulary.read_text()) == ["h", "é"]
    assert read(out)[0] == {"label": 1, "text": [0, 1]}
    source.write_text('{"text": "hello", "label": "spam"}')
    fails(f"mails.jsonl, line 1: 'text': 'e' is not in {vocabulary}",
          "jsonl", source, out, *options, *label)  # fmt: skip
    fails("got no column of characters", "jsonl", source, out, *label, *options[2:])
    for line, message in [
        ('{"text": null, "label": "a"}', "line 1: 'text' must be a text, got None"),
        ('{"text": "\\ud800", "label": "a"}', "line 1: 'text': 'utf-8' codec can't encode"),
        ('{"text": "a", "label": null}', "line 1: 'label' is missing; each example and step"),
        ('{"text": "a", "label": {}}', "line 1: 'label' must be the name of a class, got {}"),
    ]:
        source.write_text(line)
        fails(message, "jsonl", source, out, "--sequence", "text:utf8", *label)
    vocabulary.unlink()
    fails("'text' must be a text, got [3]", "jsonl", file(tmp_path, "x.jsonl", '{"text": [3]}'),
          out, *options)  # fmt: skip
    assert not [*tmp_path.glob("*vocabulary*")]


def test_members_are_joined_and_steps_have_classes(tmp_path, fails):
    rows = [{"ax": [1, 2], "ay": [3, 4], "tag": ["b", 7], "lon": 1.5, "lat": 2, "ok": True}]
    source = file(tmp_path, "rows.jsonl", "\n".join(map(json.dumps, rows)))
    columns = ["--sequence", "x=ax,ay:float32", "tag:class", "--context", "at=lon,lat:float32"]
    arguments = [source, tmp_path / "out", *columns, "ok:class"]
    assert run("jsonl", *arguments) == 0
    assert read(tmp_path / "out") == [
        {"at": [1.5, 2], "ok": 0, "x": [[1, 3], [2, 4]], "tag": [1, 0]}
    ]
    features = RecordSource(tmp_path / "out").schema
    assert features.sequence["tag"].classes == ("7", "b")
    assert features.context["ok"].classes == ("true",)
    source.write_text(json.dumps(rows[0] | {"ay": [3]}))
    fails("line 1: the columns of 'x' differ in their number of steps: {'ax': 2, 'ay': 1}",
          "jsonl", *arguments)  # fmt: skip
    source.write_text(json.dumps(rows[0] | {"ay": 3}))
    fails("line 1: 'ay': must be float32[2] for each step, a list, got 3", "jsonl", *arguments)


def test_a_file_that_is_read_twice_is_no_pipe(tmp_path, fails):
    os.mkfifo(tmp_path / "pipe")
    fails("must be a file, since a column of classes reads it twice", "jsonl", tmp_path / "pipe",
          tmp_path / "out", "--context", "label:class")  # fmt: skip
    fails("must be a file, since --split reads it twice", "jsonl", tmp_path / "pipe",
          tmp_path / "out", "--context", "n:int32", "--split", "a=0.5,b=0.5")  # fmt: skip
