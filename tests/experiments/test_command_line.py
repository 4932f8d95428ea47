"""How an experiment ends: the exit code and one line that says why."""

import errno

import jax
import pytest

from experiments.memory_tasks import experiment


@pytest.fixture
def ends(monkeypatch, run_module, tmp_path, capsys):
    """Run an experiment whose main does ``act`` after its folder is started."""

    def run(act):
        def main(options, folder):
            folder.start()
            act()

        monkeypatch.setattr(experiment, "main", main)
        with pytest.raises(SystemExit) as ended:
            run_module(experiment, "--out", tmp_path / "run")
        return ended.value.code, capsys.readouterr().err.replace(str(tmp_path), "")

    return run


def test_ctrl_c_names_the_folder(ends):
    def act():
        raise KeyboardInterrupt

    assert ends(act) == (130, "stopped; the results so far are in /run\n")


def test_a_full_disk_is_one_line(ends):
    def act():
        raise OSError(errno.ENOSPC, "No space left on device", "/a/metrics.jsonl")

    error = "error: [Errno 28] No space left on device: '/a/metrics.jsonl'\n"
    assert ends(act) == (1, error)


def test_an_experiment_of_one_process_refuses_to_be_one_of_several(ends, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    error = "error: memory_tasks runs in one process, but 2 were started together; start one\n"
    assert ends(lambda: None) == (2, error)
