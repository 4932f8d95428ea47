"""Fixtures of the tests of the converter."""

import pytest

from tests.data.convert.examples import run


@pytest.fixture
def fails(capsys):
    """Run a command that has to fail, with a message and no traceback."""

    def run_failing(message, *arguments):
        assert run(*arguments) == 1
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error

    return run_failing
