"""The rules of the house: format, lint, types, imports, docstrings."""

import inspect
import pathlib
import subprocess
import sys

import pytest

import seqjax

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command",
    [
        "ruff format --check .",
        "ruff check .",
        "mypy",
        "lint-imports --no-logo",
    ],
)
def test_clean(command):
    program, *arguments = command.split()
    path = pathlib.Path(sys.executable).parent / program
    done = subprocess.run([path, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("imports", "heavy"),
    [
        ("import seqjax", ["flax", "matplotlib", "rich", "tensorflow", "torch", "tyro"]),
        (
            "import pkgutil, importlib, seqjax\n"
            "for module in pkgutil.walk_packages(seqjax.__path__, 'seqjax.'):\n"
            "    importlib.import_module(module.name)",
            ["matplotlib", "tensorflow", "tensorflow_datasets", "torch", "tyro"],
        ),
    ],
)
def test_the_library_imports_no_other_framework_no_plotting_and_no_terminal(imports, heavy):
    code = f"{imports}\nimport sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", seqjax.__all__)
def test_every_public_name_is_documented_with_an_example(name):
    value = getattr(seqjax, name)
    doc = inspect.getdoc(value)
    assert doc
    fields_only = inspect.isclass(value) and issubclass(value, tuple)
    contract = value in (seqjax.Cell, seqjax.types.LinearCell)
    assert fields_only or contract or ">>> " in doc
