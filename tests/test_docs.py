"""The pages: their code runs, they name everything public, and show what was measured last."""

import contextlib
import os
import pathlib
import pkgutil
import re
import subprocess
import sys

import jax
import pytest

import seqjax

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#: ]+)(?:#[^)]*)?\)")
README = (ROOT / "README.md").read_text()
CODE = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_code_of_the_readme_runs():
    """The build of the site runs the code of the other pages."""
    as_users_do = (
        jax.enable_x64(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    )
    with contextlib.ExitStack() as stack:
        for setting in as_users_do:
            stack.enter_context(setting)
        names = {"__name__": "readme"}
        for number, code in enumerate(CODE):
            exec(compile(code, f"README.md, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_lead_to_files(page):
    for link in LINK.findall(page.read_text()):
        # the notebooks are copied into the folder of pages when the site is built
        path = (page.parent / link).resolve()
        if path.parent == ROOT / "docs" / "notebooks":
            path = ROOT / "notebooks" / path.name
        assert path.exists(), link


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120
    assert len([line for line in CODE[0].splitlines() if line.strip()]) <= 32


# Modules that only other modules of the library use
INTERNAL = {
    "arrays",
    "checks",
    "machine",
    "values",
    "terminal",
    "engine",
    "interop.layout",
    "data.shards",
}
# Packages whose names the reference lists one by one
BY_NAME = {
    "": seqjax,
    "attention": seqjax.attention,
    "catalogue": seqjax.catalogue,
    "cells": seqjax.cells,
    "checkpoint": seqjax.checkpoint,
    "ctc": seqjax.ctc,
    "decoding": seqjax.decoding,
    "export": seqjax.export,
    "forecasting": seqjax.forecasting,
    "hosts": seqjax.hosts,
    "losses": seqjax.losses,
    "testing": seqjax.testing,
    "training": seqjax.training,
    "wrappers": seqjax.wrappers,
}


def reference():
    return "\n".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))


@pytest.mark.parametrize("package", BY_NAME)
def test_every_public_name_has_a_reference_entry(package):
    entries = set(re.findall(r"auto(?:class|function):: (\S+)", reference()))
    documented = {entry.split(".")[-1] for entry in entries}
    modules = re.findall(r"automodule:: (\S+)\n   :members:", reference())
    for module in modules:
        documented |= {*dir(sys.modules.get(module) or __import__(module, fromlist=["_"]))}
    assert {*BY_NAME[package].__all__} <= documented


def test_every_public_module_has_a_reference_entry():
    listed = set(re.findall(r"automodule:: seqjax\.(\S+)", reference()))
    packages = {*BY_NAME, "tasks", "types", "operations", "data"} - {""}
    names = {
        module.name.removeprefix("seqjax.")
        for module in pkgutil.walk_packages(seqjax.__path__, "seqjax.")
    }
    public = {
        name
        for name in names
        if not any(name == one or name.startswith(f"{one}.") for one in INTERNAL)
        and name.split(".")[0] not in packages
        and not name.startswith("interop.tensorflow.")
    }
    assert public <= listed


SHOWN = {  # a figure and the measurement that it shows
    "docs/images/scaling.png": "benchmarks/results/scaling.txt",
    "docs/images/precision.png": "benchmarks/results/precision.txt",
}


def last_change(path):
    command = ["git", "log", "-1", "--format=%ct", "--", path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout or 0)


@pytest.mark.parametrize("figure", SHOWN)
def test_a_figure_is_not_older_than_its_result(figure):
    assert last_change(figure) >= last_change(SHOWN[figure])


def test_the_table_of_training_steps_is_that_of_the_result_file():
    page = (ROOT / "docs" / "performance.md").read_text()
    results = (ROOT / "benchmarks" / "results" / "training_step.txt").read_text()
    measured = [float(number) for number in re.findall(r"\d+\.\d+", results)]
    rows = re.findall(r"^\| \d+ x \d+, \d+, \d+ \|.*$", page, re.MULTILINE)
    assert len(rows) == 5
    for row in rows:
        for number in re.findall(r"\d+\.\d+", row):
            rounding = 0.501 * 10 ** -len(number.split(".")[1])
            assert any(abs(value - float(number)) <= rounding for value in measured), row


@pytest.mark.slow
def test_two_processes_train_as_one_does():
    program = ROOT / "docs" / "guides" / "many_hosts.py"

    def losses(processes):
        done = subprocess.run(
            [sys.executable, "-m", "seqjax.launch", "--processes", str(processes), program],
            env=os.environ | {"JAX_NUM_CPU_DEVICES": str(2 // processes)},
            capture_output=True, text=True, check=True, timeout=300,
        )  # fmt: skip
        return [*map(float, done.stdout.splitlines())]

    assert len(losses(1)) == 3
    assert losses(1) == pytest.approx(losses(2), rel=1e-5)
