"""Each notebook is its text, and runs; ``python -m notebooks.run`` stores what it gives."""

import jupytext
import nbformat
import pytest

from notebooks.run import FOLDER, SOURCES, run

NAMES = [path.stem for path in SOURCES]


def test_there_is_a_notebook_for_each_text_and_none_beside():
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {*NAMES} != set()


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_notebook_is_its_text_run_from_top_to_bottom(name):
    stored = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    text = jupytext.read(FOLDER / f"{name}.py")
    assert [(c.cell_type, c.source) for c in stored.cells] == [
        (c.cell_type, c.source) for c in text.cells
    ]
    counts = [c.execution_count for c in stored.cells if c.cell_type == "code"]
    assert counts == [*range(1, len(counts) + 1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name):
    run(FOLDER / f"{name}.py")
