"""The rules of the house: format, lint, types, imports, docstrings."""

import inspect
import pathlib
import subprocess
import sys

import pytest

import seqjax
from seqjax import catalogue, cells, types, wrappers

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


def named_tuples():
    values = [v for m in (cells, wrappers, catalogue, types) for v in vars(m).values()]
    classes = {v for v in values if inspect.isclass(v) and issubclass(v, tuple)}
    return sorted(classes - {tuple}, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", named_tuples(), ids=lambda cls: cls.__name__)
def test_every_field_of_a_named_tuple_is_described_where_help_shows_it(cls):
    _, _, attributes = inspect.getdoc(cls).partition("\nAttributes:\n")
    assert all(f"\n  {field}: " in f"\n{attributes}" for field in cls._fields)
