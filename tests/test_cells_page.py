"""The table of cells leaves none out, and the page of cells is what it says."""

import pathlib

import jax
import pytest

import seqjax.cells
import seqjax.wrappers
from benchmarks.cells import table
from seqjax import Cell, unroll
from seqjax.catalogue import CATALOGUE

ROOT = pathlib.Path(__file__).parent.parent
GOLDEN = ("core_", "contrib_", "torch_", "keras_")
NAMES = [f"{entry.name} {entry.short or ''}" for entry in CATALOGUE]


def test_the_page_is_what_the_benchmark_prints():
    written = (ROOT / "docs" / "cells.md").read_text()
    assert written == table() + "\n", "run: python -m benchmarks.cells --table > docs/cells.md"


def test_every_class_has_one_entry_and_any_number_of_variants():
    found = [*vars(seqjax.cells).values(), *vars(seqjax.wrappers).values()]
    classes = {c.__name__ for c in found if isinstance(c, type) and issubclass(c, Cell)}
    plain = [entry.name for entry in CATALOGUE if not entry.variant]
    assert sorted(plain) == sorted(classes)
    assert {entry.name for entry in CATALOGUE if entry.variant} <= classes
    assert all(entry.short for entry in CATALOGUE if entry.variant)


@pytest.mark.parametrize("entry", CATALOGUE, ids=NAMES)
def test_an_entry_makes_its_cell_which_takes_its_inputs(entry):
    cell, size = entry.make(4), entry.size(units=4, features=3)
    if not entry.variant:
        assert type(cell).__name__ == entry.name
    assert not entry.short or cell.output_size == 4

    def run(key):
        xs = entry.draw_inputs(key, (2, 5), size)
        params = entry.bind(cell, cell.init(key, size), key, batch=2, units=4)
        return unroll(cell, params, xs, deterministic=True)

    _, ys = jax.eval_shape(run, jax.random.key(0))
    assert {y.shape[:2] for y in jax.tree.leaves(ys)} == {(2, 5)}


@pytest.mark.parametrize("entry", CATALOGUE, ids=NAMES)
def test_what_an_entry_is_tested_against_is_there(entry):
    quoted = entry.tested_against.split("`")[1::2]
    for pattern in (text for text in quoted if text.startswith(GOLDEN)):
        assert [*(ROOT / "tests" / "golden").glob(f"{pattern}.npz")], pattern
