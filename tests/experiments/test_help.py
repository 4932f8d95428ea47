"""``--help`` needs the options alone, and comes in no time."""

import pkgutil
import subprocess
import sys

import pytest

import experiments

# what --help may import but for Python itself, the experiments and seqjax: no JAX, no plots
LIGHT = {"docstring_parser", "filelock", "google_crc32c", "numpy", "typing_extensions", "tyro"}
# what tyro and numpy take along
LIGHT |= {"typeguard", "rich", "_distutils_hack", "cython_runtime"}

HELP = """
import runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as stop:
    assert not stop.code
print(*{name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names)
"""
HOSTS = ("coordinator", "processes", "process", "start-timeout", "lost-after")
COMMANDS = ("char_model", "pronunciation", "sequence_classification")  # train is one of several
MORE = (
    *(["experiments.char_model", name] for name in ("report", "tune-dynamic")),
    *(["experiments.sequence_labelling", name] for name in ("truecasing", "lookahead")),
    *(["experiments.pronunciation", name] for name in ("train", "evaluate", "predict", "report")),
    *(["experiments.sequence_classification", name] for name in ("train", "predict")),
    *(["experiments.sequence_classification", name] for name in ("cross-validate", "archive")),
    ["seqjax.data.convert"],
)
EXPERIMENTS = [module.name for module in pkgutil.iter_modules(experiments.__path__) if module.ispkg]


@pytest.mark.parametrize(
    "arguments",
    [
        *([f"experiments.{name}"] for name in EXPERIMENTS),
        ["experiments.char_model", "train"],
        ["seqjax.data.convert", "csv"],
        *(pytest.param(arguments, marks=pytest.mark.slow) for arguments in MORE),
    ],
    ids=" ".join,
)
def test_help_imports_no_more_than_the_options_need(arguments):
    command = [sys.executable, "-c", HELP, *arguments, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage" in done.stdout
    name, *command = arguments
    trains = command == ["train"] or not (command or name.endswith((*COMMANDS, ".convert")))
    assert trains <= all(f"--{option}" in done.stdout for option in HOSTS)
    imported = {*done.stdout.splitlines()[-1].split()} - {"__main__", "experiments", "seqjax"}
    assert {name for name in imported if not name.startswith("_cython_")} <= LIGHT


def test_seqjax_alone_imports_nothing():
    code = "import sys, seqjax; print({'jax', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
