"""What is installed, and what an import does to the process that asks for it."""

import ast
import itertools
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def python(code):
    """Run a program in a process of its own; return what it prints."""
    command = [sys.executable, "-W", "ignore", "-"]
    done = subprocess.run(
        command, cwd=ROOT, input=code, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_library_alone(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    library = {name for name in names if not name.startswith("seqjax-")}
    expected = (ROOT / "seqjax").rglob("*.py")
    assert library == {"seqjax/py.typed", *(str(p.relative_to(ROOT)) for p in expected)}


def test_an_upper_bound_has_its_reason_beside_it():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    reason = ""
    for line in lines:
        code, _, comment = line.partition("#")
        if re.search(r'"[\w-]+(\[\w+\])?[^"]*<', code):
            assert comment or reason, f"why this bound? {line}"
        # a comment of its own line is for the requirements under it
        reason = comment if not code.strip() else reason if comment == "" else ""


def test_every_constraint_is_one_version():
    for name in ("constraints.txt", "constraints-newest.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pins = [line for line in lines if not line.startswith("#")]
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins)
        assert pins == sorted(pins, key=str.lower)


def test_the_library_asks_for_nothing_of_the_experiments():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {re.match(r"[\w-]+", requirement)[0] for requirement in project["dependencies"]}
    assert not names & {"matplotlib", "rich", "scikit-learn", "tensorboardX", "tyro"}


def text_files_without_encoding(path):
    """Calls that leave the encoding of a file to the system."""
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute | ast.Name):
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
        if ast.unparse(call.func) == "os.open":
            continue
        values = [*call.args, *(keyword.value for keyword in call.keywords)]
        given = [value.value for value in values if isinstance(value, ast.Constant)]
        is_text = name == "open" and not any("b" in mode for mode in given if str(mode) == mode)
        is_text |= isinstance(call.func, ast.Attribute) and name in ("read_text", "write_text")
        if is_text and not {"encoding", None} & {keyword.arg for keyword in call.keywords}:
            yield f"{path}:{call.lineno}"


@pytest.mark.parametrize("package", ["seqjax", "experiments", "benchmarks", "notebooks"])
def test_text_files_are_utf_8_on_every_system(package):
    found = [text_files_without_encoding(path) for path in (ROOT / package).rglob("*.py")]
    assert [*itertools.chain(*found)] == []


IMPORT_ALL = """
import contextlib, importlib, logging, os, pkgutil, sys, warnings

PACKAGES = "seqjax", "experiments", "benchmarks"

def import_all():
    for package in PACKAGES:
        root = importlib.import_module(package)
        for module in pkgutil.walk_packages(root.__path__, package + "."):
            importlib.import_module(module.name)
"""

NAMES_OF_OTHERS = """
import_all()
print(*(name for name in sys.modules if name.partition(".")[0] not in PACKAGES))
"""

WITHOUT_LINUX = """
def settings():
    loggers = {
        name: (logger.level, logger.disabled, logger.handlers[:], logger.filters[:])
        for name, logger in [*logging.root.manager.loggerDict.items(), ("", logging.root)]
        if isinstance(logger, logging.Logger)
    }
    config = sys.modules["jax"].config.values
    return loggers, dict(config), dict(os.environ), warnings.filters[:], sys.path[:]

before = settings()
sys.modules |= dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"))
for name in ("fork", "pread", "sched_getaffinity", "sched_setaffinity", "register_at_fork"):
    delattr(os, name)
import_all()
for old, new in zip(before, settings(), strict=True):
    new = {name: new[name] for name in old} if isinstance(old, dict) else new
    assert new == old, (old, new)
"""


@pytest.mark.slow
def test_a_module_needs_no_linux_to_be_imported_and_changes_no_setting_of_the_process():
    """What its imports of others do is theirs: they come first."""
    others = python(IMPORT_ALL + NAMES_OF_OTHERS).split()
    import_others = (
        f"for name in {others}:\n"
        "    with contextlib.suppress(Exception):\n"
        "        importlib.import_module(name)\n"
    )
    python(IMPORT_ALL + import_others + WITHOUT_LINUX)


def test_checkpoints_leave_the_logs_of_others_alone(tmp_path):
    python(
        "import logging, pathlib, numpy as np\n"
        "from seqjax.checkpoint import Checkpoints\n"
        "level = logging.getLogger('absl').level\n"
        f"with Checkpoints(pathlib.Path({str(tmp_path)!r})) as checkpoints:\n"
        "    checkpoints.save(0, {'w': np.ones(2, 'float32')}, {}, loss=1.0)\n"
        "assert logging.getLogger('absl').level == level"
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_a_terminal_cannot_show_is_replaced(encoding):
    """Words of another alphabet, and the lines of tables."""
    shown = (
        "from rich.console import Console\n"
        "from rich.table import Table\n"
        "from experiments.command_line import set_up\n"
        "set_up()\n"
        "table = Table('言語')\n"
        "table.add_row('日本')\n"
        "Console(force_terminal=True).print(table)\n"
        "print('日本', flush=True)\n"
        "raise SystemExit('日本語')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", shown],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert done.stderr.strip() == b"???"
    assert done.stdout.count(b"??") == 3
    assert done.stdout.rstrip().endswith(b"??")


@pytest.mark.slow
def test_a_table_of_records_is_shown_on_any_terminal(tmp_path):
    (tmp_path / "lines.txt").write_text("日本\n日本語\n", encoding="utf-8")
    convert = [sys.executable, "-m", "seqjax.data.convert"]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for arguments in (
        ["text", tmp_path / "lines.txt", tmp_path / "out"],
        ["inspect", tmp_path / "out"],
    ):
        done = subprocess.run(
            [*convert, *arguments], env=environment, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
