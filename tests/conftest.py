"""Fixtures of several test files."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture
def sigint_handled() -> Iterator[None]:
    """Handle Ctrl-C as in a foreground process; background ones are started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
