"""The launcher runs a program as Python would, in another environment."""

import os
import subprocess
import sys

from seqjax.launch import SETTINGS

SHOW = f"import os, sys; print([os.environ.get(n) for n in {[*SETTINGS]}], sys.argv); sys.exit(3)"


def launch(*arguments, **variables):
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    command = [sys.executable, "-m", "seqjax.launch", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**clean, **variables})


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
