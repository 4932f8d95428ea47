"""Run the notebooks and store their outputs.

    python -m notebooks.run                      all of them
    python -m notebooks.run streaming char_model

``NAME.py`` is the source of a notebook, in jupytext's percent format, and ``NAME.ipynb`` is what it
gave when it was run.
"""

import os
import pathlib
import sys

import jupytext
import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = pathlib.Path(__file__).parent
SOURCES = sorted(path for path in FOLDER.glob("*.py") if path != pathlib.Path(__file__))
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # TensorFlow has a word to say about it otherwise
}


def run(source: pathlib.Path) -> nbformat.NotebookNode:
    """Run a notebook in a kernel of its own; an error in a cell is raised."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws them at random
    # sockets are files, which nobody else on the machine can reach
    config = Config({"KernelManager": {"transport": "ipc"}})
    client = NotebookClient(
        notebook, timeout=600, record_timing=False, coalesce_streams=True, config=config
    )
    client.execute(cwd=FOLDER.parent, env={**os.environ, **ENVIRONMENT})
    return notebook


if __name__ == "__main__":
    given = [FOLDER / f"{name}.py" for name in sys.argv[1:]]
    for path in given or SOURCES:
        nbformat.write(run(path), path.with_suffix(".ipynb"))
