"""Files are whole or not there, and never those of another run."""

import json

import pytest

from experiments.run_directory import RunDirectory


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    run = RunDirectory("x", tmp_path / "a")
    run.write_json("result.json", {"a": 1})
    with pytest.raises(TypeError, match="cannot write a object"):
        run.write_json("result.json", {"a": object()})
    assert json.loads((run.path / "result.json").read_text()) == {"a": 1}

    def fail():
        with run.replacing("figure.png") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [path.name for path in run.path.iterdir()] == ["result.json"]


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(ValueError, match="this folder holds files; name a new one"):
        RunDirectory("x", tmp_path)
    assert (tmp_path / "kept").read_text() == "mine"


def test_the_default_folder_is_named_after_experiment_and_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory("x")
    assert run.path.parent.as_posix() == "runs/x"
    run.append_jsonl("metrics.jsonl", {"step": 1})
    run.append_jsonl("metrics.jsonl", {"step": 2})
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
