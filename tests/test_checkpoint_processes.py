"""Checkpoints of several processes: what one process gives, from all of them."""

import json

import orbax.checkpoint as ocp
import pytest

from seqjax.checkpoint import Checkpoints, stored
from tests import checkpoint_worker as worker
from tests.processes import outputs, together


def run(folder, act, **processes):
    """Let processes act on a folder."""
    return outputs(together("-m", "tests.checkpoint_worker", folder, act, **processes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The checkpoints of two processes, which have checked what they can."""
    folder = tmp_path_factory.mktemp("checkpoints")
    print(run(folder, "write", processes=2, devices=2)[0])
    return folder


@pytest.mark.slow
def test_one_process_reads_what_two_have_saved(folder):
    with Checkpoints(folder / "same_as_one_process") as checkpoints:
        like = worker.state(0)
        assert len(like["rows"].devices()) == 2
        worker.check(checkpoints.restore(like), 3)
        assert checkpoints.verify(like) == {1: None, 3: None}
    with Checkpoints(folder / "each_process_saves_alone" / "1False") as checkpoints:
        assert checkpoints.about() == {"process": 1}
        assert checkpoints.steps() == {"last": 2, "best": 2}


@pytest.mark.slow
def test_each_file_is_checked_by_one_process(folder):
    own = [json.loads((folder / f"files of {process}.json").read_text()) for process in (0, 1)]
    path = folder / "each_process_checks_files_of_its_own" / "1"
    assert min(map(len, own)) > 0
    assert sorted(own[0] + own[1]) == sorted(stored.Stored(path).header(print).files)


@pytest.mark.slow
def test_orbax_reads_it_too(folder):
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        about = ocp.args.Composite(about=ocp.args.JsonRestore())
        found = checkpointer.restore(folder / "same_as_one_process" / "3", args=about)
    assert found.about["about"] == {"seed": 3}


@pytest.mark.slow
def test_checkpoints_are_read_by_other_numbers_of_processes(folder, tmp_path):
    run(folder, "read", processes=4)
    run(tmp_path / "four", "write", processes=4)
    run(tmp_path / "four", "read", processes=2)
    with Checkpoints(tmp_path / "one" / "same_as_one_process") as checkpoints:
        worker.save(checkpoints, 1, 0.5)
        worker.save(checkpoints, 3, 0.7)
    run(tmp_path / "one", "read", processes=2)
