"""The log holds records and events as TensorBoard reads them, and the caller gets the errors."""

import os
from pathlib import Path

import pytest
from tensorboardX.proto.event_pb2 import Event

from experiments.event_log import EventLog
from seqjax.data.tfrecord import walk


def test_the_file_holds_every_value(tmp_path):
    with EventLog(tmp_path / "events") as log:
        log.add(1, loss=0.5, rate=0.25)
        log.flush()
        log.add(2, loss=0.125)
    (path,) = (tmp_path / "events").iterdir()
    with path.open("rb") as file:
        events = [Event.FromString(r.payload) for r in walk(file, path.stat().st_size)]
    assert events[0].file_version == "brain.Event:2"
    values = [(event.step, v.tag, v.simple_value) for event in events for v in event.summary.value]
    assert values == [(1, "loss", 0.5), (1, "rate", 0.25), (2, "loss", 0.125)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is full")
def test_a_full_disk_is_one_error_that_names_the_folder(tmp_path):
    def on_a_full_disk():
        log = EventLog(tmp_path)
        descriptor = os.open("/dev/full", os.O_WRONLY)
        os.dup2(descriptor, log._writer._writer.fileno())
        os.close(descriptor)
        return log

    with pytest.raises(OSError, match="No space left on device") as raised, on_a_full_disk() as log:
        log.add(1, loss=0.5)
    assert raised.value.filename == str(tmp_path)
    with pytest.raises(RuntimeError, match="the first error"), on_a_full_disk():
        raise RuntimeError("the first error")
