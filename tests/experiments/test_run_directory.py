"""Files are whole or not there, and never those of another run."""

import json

import pytest

from experiments.run_directory import RunDirectory, naming


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    run = RunDirectory("x", {}, tmp_path / "a")
    run.start()
    run.write_json("result.json", {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        run.write_json("result.json", {"a": object()})
    assert json.loads((run.path / "result.json").read_text()) == {"a": 1}

    def fail():
        with run.replacing("figure.png") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert sorted(path.name for path in run.path.iterdir()) == ["config.json", "result.json"]


def test_what_is_not_finite_becomes_null(tmp_path):
    run = RunDirectory("x", {}, tmp_path / "a")
    run.start()
    content = {"path": tmp_path, "losses": [1.5, float("nan"), float("inf")]}
    run.write_json("result.json", content)
    expected = {"path": str(tmp_path), "losses": [1.5, None, None]}
    assert json.loads((run.path / "result.json").read_text()) == expected
    run.append_jsonl("metrics.jsonl", content)
    assert json.loads((run.path / "metrics.jsonl").read_text()) == expected


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(ValueError, match="this folder holds files; name a new folder"):
        RunDirectory("x", {}, tmp_path)
    assert (tmp_path / "kept").read_text() == "mine"


def test_the_default_folder_is_named_after_experiment_and_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = RunDirectory("x", {})
    run.start()
    assert RunDirectory("x", {}).path != run.path
    assert run.path.parent.as_posix() == "runs/x"
    run.append_jsonl("metrics.jsonl", {"step": 1})
    run.append_jsonl("metrics.jsonl", {"step": 2})
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


def test_a_folder_is_made_when_the_run_starts(tmp_path):
    out = tmp_path / "runs" / "a"
    run = RunDirectory("x", {"seed": 3}, out)
    again = RunDirectory("x", {"seed": 4}, out)
    assert not out.parent.exists()
    run.start()
    run.start()  # has no effect once it has
    assert json.loads((out / "config.json").read_text()) == {"seed": 3}
    with pytest.raises(ValueError, match="this folder holds files; name a new folder"):
        again.start()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match=r"cannot read this folder: .*Not a directory"):
        RunDirectory("x", {}, tmp_path / "file")
    with pytest.raises(ValueError, match="cannot create this folder"):
        RunDirectory("x", {}, tmp_path / "file" / "a").start()


def test_an_error_that_has_a_message_of_its_own_keeps_it(tmp_path):
    with pytest.raises(OSError, match=r"^the checkpoint cannot be written$"), naming(tmp_path):
        raise OSError("the checkpoint cannot be written")
    with pytest.raises(OSError, match=r"other\.txt"), naming(tmp_path):
        (tmp_path / "other.txt").read_text()
