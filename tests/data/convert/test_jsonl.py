"""The command ``jsonl``."""

import json

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
