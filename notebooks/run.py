"""Run the notebooks and store their outputs.

    python -m notebooks.run                      all of them
    python -m notebooks.run streaming char_model

``NAME.py`` is the source of a notebook, in jupytext's percent format. ``NAME.ipynb`` is the
notebook with its outputs.
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
    "TF_ENABLE_ONEDNN_OPTS": "0",  # otherwise TensorFlow logs a message about it
}


def run(source: pathlib.Path) -> nbformat.NotebookNode:
    """Run a notebook in its own kernel, and raise the error of a failed cell."""
    notebook = jupytext.read(source)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext would draw random ids
    # sockets are files, which no other user of the machine can reach
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
