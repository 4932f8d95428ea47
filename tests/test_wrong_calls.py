"""Every wrong call ends in a clear error, and every public function is among the calls."""

import collections

import pytest

from benchmarks.wrong_calls.calls import MODULES, examples
from benchmarks.wrong_calls.draws import draws
from benchmarks.wrong_calls.example import public


def check(count, seed):
    found = [draw for draw in draws(count, seed) if draw.outcome in ("crash", "silent")]
    assert not found, "\n".join(map(str, found))


def test_wrong_calls_end_in_clear_errors():
    check(25, seed=0)


@pytest.mark.slow
def test_a_thousand_wrong_calls_end_in_clear_errors():
    check(1_000, seed=1)


def test_every_public_function_is_among_the_calls():
    called = [example.call for example in examples()]
    called = {getattr(call, "func", call) for call in called}  # of a partial call
    called |= {getattr(call, "__self__", None) for call in called}  # of a class method
    behind_a_helper = {"Loader"}
    missing = [
        f"{module.__name__}.{name}"
        for module in MODULES
        for name in public(module)
        if getattr(module, name) not in called and name not in behind_a_helper
    ]
    assert not missing


def test_every_method_that_makes_parameters_or_states_is_among_the_calls():
    names = collections.Counter(example.name for example in examples())
    cells = {name.partition(".")[0] for name in names if name.endswith(".init")}
    assert len(cells) > 35
    for cell in cells:
        assert {cell, f"{cell}.initial_state", f"unroll of {cell}"} <= names.keys()
