"""Processes that exchange gradients for a long time never wait for each other in vain."""

import pytest

from tests.processes import outputs, together


@pytest.mark.slow
def test_two_processes_take_ten_thousand_steps_without_a_hang():
    for output in outputs(together("-m", "tests.long_run_worker", processes=2)):
        step, loss, agree = output.splitlines()[-1].split()
        assert (step, agree) == ("10000", "True")
        assert float(loss) < 0.1
