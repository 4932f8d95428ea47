"""Windows of series: where they lie, how they are scaled, and that they never look ahead."""

import numpy as np
import pytest

from seqjax.data import Loader, Padded, Source, Windows
from seqjax.data.windows import Scale, mean_absolute, mean_and_deviation

RNG = np.random.default_rng(0)
SERIES = [RNG.normal(3, 2, (n, 2)).astype(np.float32) for n in (17, 12, 6)]
KNOWN = [RNG.normal(size=(len(a), 1)).astype(np.float32) for a in SERIES]


def windows(**changes):
    given = {"series": SERIES, "history": 4, "horizon": 2, "stride": 3, "covariates": KNOWN}
    return Windows(**given | changes)


def test_the_windows_of_a_series_end_with_it_and_lie_a_stride_apart():
    given = windows()
    assert isinstance(given, Source)
    found = given.read(np.arange(len(given.lengths)))
    places = [(int(one["series"]), int(one["start"])) for one in found]
    assert places == [(0, 2), (0, 5), (0, 8), (0, 11), (1, 0), (1, 3), (1, 6), (2, 0)]
    for one, (series, start) in zip(found, places, strict=True):
        np.testing.assert_array_equal(one["values"], SERIES[series][start : start + 6])
        np.testing.assert_array_equal(one["covariates"], KNOWN[series][start : start + 6])
        assert one["values"].dtype == np.float32


@pytest.mark.parametrize("scaling", [mean_absolute, mean_and_deviation])
def test_a_scale_depends_on_the_history_alone_and_is_undone_by_what_is_returned(scaling):
    found = windows(scaling=scaling).arrays()
    back = found["values"] * found["scale"][:, None] + found["center"][:, None]
    np.testing.assert_allclose(back, windows().arrays()["values"], rtol=1e-5)
    history = found["values"][:, :4]
    if scaling is mean_absolute:
        assert not found["center"].any()
        np.testing.assert_allclose(np.abs(history).mean(1), 1, rtol=1e-5)
    else:
        np.testing.assert_allclose(history.mean(1), 0, atol=1e-5)
        np.testing.assert_allclose(history.std(1), 1, rtol=1e-4)
    later = [a.copy() for a in SERIES]
    later[0][-2:] = 1e6  # the horizon of the last window of the first series
    changed = windows(series=later, scaling=scaling).arrays()
    for name in ("center", "scale"):
        np.testing.assert_array_equal(changed[name], found[name])
    np.testing.assert_array_equal(changed["values"][:, :4], found["values"][:, :4])


def test_a_constant_history_has_the_scale_1():
    for scaling, value in ((mean_absolute, 0.0), (mean_and_deviation, 7.0)):
        assert scaling(np.full((3, 2), value)).scale.tolist() == [1, 1]


def test_a_loader_reads_each_window_once_over_all_processes():
    given = windows(scaling=mean_absolute)
    seen = []
    for process in range(2):
        options = {"seed": 1, "epochs": 1, "process": process, "processes": 2}
        for batch in Loader(given, Padded(2), **options):
            features = batch.features
            rows = len(features["start"])
            assert features["values"].shape == (rows, 6, 2)
            assert features["scale"].shape == (rows, 2)
            seen += zip(features["series"].tolist(), features["start"].tolist(), strict=True)
    assert sorted(seen) == [(0, 2), (0, 5), (0, 8), (0, 11), (1, 0), (1, 3), (1, 6), (2, 0)]


def test_numbers_in_a_row_are_a_series_of_one_feature():
    found = Windows([np.arange(5.0)], 2, 1).arrays()
    np.testing.assert_array_equal(found["values"][..., 0], [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    assert "covariates" not in found


def test_the_numbers_of_the_caller_do_not_change():
    def greedy(history):
        history[:] = 0
        return Scale(history[0], history[0] + 1)

    before = [a.copy() for a in SERIES]
    windows(scaling=greedy).arrays()
    for a, b in zip(SERIES, before, strict=True):
        np.testing.assert_array_equal(a, b)


BROKEN = [SERIES[0], np.where(np.arange(12)[:, None] == 7, np.nan, SERIES[1])]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": 5}, r"series 2 has 6 steps, but a window has 5 \+ 2; shorten"),
        ({"history": 0}, "history must be a whole number of at least 1, got 0"),
        ({"horizon": 2.0}, "horizon must be a whole number of at least 1, got 2.0"),
        ({"stride": 0}, "stride must be a whole number of at least 1, got 0"),
        ({"series": []}, r"series must hold at least one array \[T, D\], got none"),
        ({"series": 3}, "series must be a list of floating arrays"),
        ({"series": [np.arange(9)]}, r"at index 0; convert integers with .astype\(np.float32\)"),
        ({"series": [[[1.0], [2.0, 3.0]]]}, r"series must be floating arrays \[T, D\] or \[T\]"),
        ({"series": BROKEN}, r"series must be finite, got \[nan nan\] at step 7 of index 1; fill"),
        ({"series": [SERIES[0], SERIES[1][:, :1]]}, r"all series must be float32\[T, 2\] like"),
        ({"covariates": KNOWN[:2]}, r"one array for each series, .* \[17, 12, 6\], got \[17, 12\]"),
        ({"scaling": "mean"}, "scaling must be a function from a history to a Scale, .* 'mean'"),
    ],
)
def test_windows_that_cannot_be_are_value_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        windows(**changes)


@pytest.mark.parametrize(
    ("scaling", "message"),
    [
        (lambda history: 1.0, r"must return a Scale of two arrays \[2\], got 1.0"),
        (lambda history: Scale(history[0], history.sum()), "a Scale of two arrays"),
        (lambda history: Scale(history[0], 0 * history[0]), "a finite scale above 0, got"),
        (lambda history: Scale(history[0] * np.nan, history[0] * 0 + 1), "a finite center"),
    ],
)
def test_a_scaling_that_gives_no_scale_is_a_value_error(scaling, message):
    with pytest.raises(ValueError, match=message):
        windows(scaling=scaling).read(np.array([0]))


def test_an_index_past_the_end_and_an_empty_history_are_value_errors():
    with pytest.raises(ValueError, match=r"indices must be integers \[N\] in \[0, 7\]"):
        windows().read(np.array([8]))
    with pytest.raises(ValueError, match=r"mean_absolute: history must be floating \[history, D\]"):
        mean_absolute(np.zeros((0, 2)))
