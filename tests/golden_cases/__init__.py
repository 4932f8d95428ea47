"""All golden cases, by the name of their vector in ``tests/golden``."""

from tests.golden_cases import bidirectional, core, gated, grid, keras, lstm, pytorch, wrappers

CASES = {
    **bidirectional.CASES,
    **core.CASES,
    **gated.CASES,
    **grid.CASES,
    **keras.CASES,
    **lstm.CASES,
    **pytorch.CASES,
    **wrappers.CASES,
}

# Cases that come closest to a vector that seqjax does not express, each with the reason: one that
# starts to pass fails the test.
NOT_EXPRESSED = grid.NOT_EXPRESSED
