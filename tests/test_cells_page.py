"""The page of cells is what the code says, and leaves none out."""

import pathlib

import seqjax.cells
from benchmarks.cells import CATALOGUE, table
from seqjax import Cell

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "cells.md"


def test_the_page_is_what_the_benchmark_prints():
    assert PAGE.read_text() == table() + "\n"


def test_every_cell_is_in_the_catalogue():
    classes = {
        c for c in vars(seqjax.cells).values() if isinstance(c, type) and issubclass(c, Cell)
    }
    assert {type(entry.cell) for entry in CATALOGUE} == classes
