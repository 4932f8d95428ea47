"""The launcher runs a program as Python would, in another environment."""

import os
import signal
import subprocess
import sys

import pytest

from seqjax.launch import SETTINGS

SHOW = f"import os, sys; print([os.environ.get(n) for n in {[*SETTINGS]}], sys.argv); sys.exit(3)"


def launch(*arguments, **variables):
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-m", "seqjax.launch", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env={**clean, **variables}, timeout=100
    )


def test_a_program_gets_the_settings_its_arguments_and_its_exit_code(tmp_path):
    script = tmp_path / "show.py"
    script.write_text(SHOW)
    done = launch(str(script), "--epochs", "3")
    assert done.returncode == 3, done.stderr
    assert done.stdout.strip() == f"{[*SETTINGS.values()]} {[str(script), '--epochs', '3']}"


def test_what_is_set_already_stays():
    done = launch("-c", SHOW, MALLOC_TOP_PAD_="12345", GLIBC_TUNABLES="")
    expected = {**SETTINGS, "MALLOC_TOP_PAD_": "12345", "GLIBC_TUNABLES": ""}
    assert done.stdout.startswith(str([*expected.values()])), done.stderr


def test_without_a_program_it_says_what_to_give():
    assert "python -m seqjax.launch train.py" in launch("--help").stdout
    assert launch("--help").returncode == 0
    assert launch().returncode == 2


def test_importing_the_library_sets_nothing():
    code = f"import os, seqjax; print(sorted({set(SETTINGS)} & set(os.environ)))"
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, check=True)
    assert done.stdout.strip() == "[]"


def test_several_processes_share_the_output_of_the_first_and_the_errors_of_all(tmp_path):
    script = tmp_path / "show.py"
    script.write_text(
        "import os, sys\n"
        "names = ('SEQJAX_COORDINATOR', 'SEQJAX_PROCESSES', 'SEQJAX_PROCESS')\n"
        "print(*(os.environ[name] for name in names[1:]), sys.argv[1:])\n"
        "print(os.environ['SEQJAX_PROCESS'], 'has a warning', file=sys.stderr)\n"
    )
    done = launch("--processes", "3", str(script), "--epochs", "3")
    assert (done.returncode, done.stdout) == (0, "3 0 ['--epochs', '3']\n")
    lines = ["0 has a warning", "process 1: 1 has a warning", "process 2: 2 has a warning"]
    assert sorted(done.stderr.splitlines()) == lines


WAIT = """
import os, signal, sys, time
process = int(os.environ["SEQJAX_PROCESS"])
{act}
def end(number, frame):
    os.write(2, signal.Signals(number).name.encode() + b"\\n")  # as a whole
    sys.exit(0)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, end)
print("ready", flush=True, file=sys.stderr if process else sys.stdout)
time.sleep(600)
"""


def test_when_a_process_fails_the_others_are_ended():
    for act, code, line in (
        ("if process == 1: sys.exit(7)", 7, "process 1 failed (7); the others are ended"),
        ("if process: os.kill(os.getpid(), 9)", 137, "process 1 was ended by SIGKILL; the others"),
    ):
        done = launch("--processes", "2", "-c", WAIT.format(act=act))
        assert done.returncode == code
        assert line in done.stderr


@pytest.fixture
def hangup_handled():
    """Handle SIGHUP as in a terminal; ``nohup pytest`` would ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def test_signals_reach_all_processes(hangup_handled):
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        command = [sys.executable, "-m", "seqjax.launch", "--processes", "2", "-c", WAIT]
        command[-1] = WAIT.format(act="")
        launcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert launcher.stdout.readline() == b"ready\n"
        assert launcher.stderr.readline() == b"process 1: ready\n"
        launcher.send_signal(number)
        _, error = launcher.communicate(timeout=30)
        assert launcher.returncode == 0, error
        name = b"SIGINT" if number == signal.SIGINT else b"SIGTERM"
        assert sorted(error.splitlines()) == [name, b"process 1: " + name]


def test_the_number_of_processes_is_checked():
    for arguments in (["--processes"], ["--processes", "0", "a.py"], ["--processes", "2"]):
        done = launch(*arguments)
        assert done.returncode == 2
        assert "--processes must be followed by a whole number of at least 1" in done.stderr
