"""When a process fails or is lost, the others end in time and name it."""

import signal
import time

import pytest

from seqjax.hosts import watch
from tests.processes import Hosts, outputs, running, together

SECONDS = 3.0
runs = lambda process: "runs" in process.out  # noqa: E731


def test_one_process_has_nothing_to_watch():
    watch()


@pytest.mark.parametrize("seconds", [0, -1.0, "30", None, True, float("nan")])
def test_a_time_limit_that_is_none_is_named(seconds):
    with pytest.raises(ValueError, match="watch: seconds must be a positive number, got"):
        watch(seconds)


def started(how, processes, **options):
    return running(
        together("-m", "tests.watch_worker", SECONDS, how, processes=processes, **options)
    )


def check(others, what):
    """The others end in time, with one line that names the process."""
    began = time.monotonic()
    while any(other.poll() is None for other in others.values()):
        assert time.monotonic() - began < 2 * SECONDS, [other.error for other in others.values()]
        time.sleep(0.02)
    for number, other in others.items():
        lines = [line for line in other.error.splitlines() if "[Gloo]" not in line]
        assert len(lines) == 1, lines
        assert lines[0].startswith(f"process {number}: {what}")
        assert lines[0].endswith(". Start all processes again, from the last checkpoint")
        assert (other.out, other.returncode) == ("runs\n", 1)


SILENT = "process {} is lost: nothing was heard of it for 3 s; it was killed, stopped or cut off"
CLOSED = "process 0 is lost: its connection is closed; it was killed or has ended"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "count", "lost", "sent"),
    [
        ("exchange", 3, 0, signal.SIGKILL),
        ("exchange", 3, 1, signal.SIGKILL),
        ("wait", 3, 2, signal.SIGKILL),
        ("exchange", 2, 0, signal.SIGSTOP),
    ],
)
def test_who_is_lost_is_named_by_the_others(how, count, lost, sent):
    with started(how, count) as processes:
        for process in processes:
            process.wait_until(runs)
        processes[lost].send_signal(sent)
        others = {number: processes[number] for number in range(count) if number != lost}
        closed = (lost, sent) == (0, signal.SIGKILL)
        check(others, CLOSED if closed else SILENT.format(lost))


@pytest.mark.slow
@pytest.mark.parametrize("failed", [0, 1])
def test_an_error_of_one_process_is_named_by_the_others_at_once(failed):
    with started(failed, 2) as processes:
        processes[failed].wait(60)
        check(
            {1 - failed: processes[1 - failed]},
            f"process {failed} has failed: RuntimeError: an error at ",
        )
        assert processes[failed].error.endswith("\nof two lines\n")
        assert processes[failed].returncode == 1


@pytest.mark.slow
def test_a_cut_link_is_found_on_both_ends():
    with Hosts() as hosts, started("exchange", 2, hosts=hosts) as processes:
        for process in processes:
            process.wait_until(runs)
        hosts.cut()
        for lost, other in ((1, 0), (0, 1)):
            check({other: processes[other]}, SILENT.format(lost))


@pytest.mark.slow
def test_processes_that_end_are_not_lost():
    outputs(together("-m", "tests.watch_worker", SECONDS, "end", processes=2))


@pytest.mark.slow
def test_process_0_ends_after_the_saves_of_the_others():
    with started("save", 3) as processes:
        codes = [process.wait(60) for process in processes]
        assert codes == [130] * 3, [process.error for process in processes]
        assert [process.out for process in processes] == ["0\n", "0 1\n", "0 1 2\n"]
