"""All golden cases, by the name of their vector in ``tests/golden``."""

from tests.golden_cases import core, gated, lstm

CASES = {**core.CASES, **gated.CASES, **lstm.CASES}

# Cases that come closest to a vector that seqjax does not express, each with the reason: one that
# starts to pass fails the test.
NOT_EXPRESSED: dict[str, str] = {}
