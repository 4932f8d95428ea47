"""The plan for many accelerators is that of its page, and its operations those of a step."""

import pathlib

import pytest

from benchmarks.scaling_hosts.plan import MODELS, VOCABULARY, Accelerator, compute, table
from benchmarks.training_step import Config, flops

ROOT = pathlib.Path(__file__).parent.parent


def test_the_page_shows_the_plan_that_the_benchmark_prints():
    assert table() in (ROOT / "docs" / "guides" / "scaling_hosts.md").read_text()


@pytest.mark.parametrize("size", MODELS)
def test_with_many_rows_a_step_takes_the_time_of_its_products(size):
    rows = 10_000
    accelerator = Accelerator(products=1e12, memory=1e15, launch=0.0)
    config = Config(vocabulary=VOCABULARY)
    expected = flops(size._replace(batch=rows), config) / accelerator.products
    assert compute(size, rows, accelerator) == pytest.approx(expected, rel=1e-6)
