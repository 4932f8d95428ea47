"""The figures of the report."""

import matplotlib.figure

from experiments.char_model.report.reading import Calibration


def reliability(calibration: Calibration) -> matplotlib.figure.Figure:
    """How often the most likely character is right, over its predicted probability."""
    fig = matplotlib.figure.Figure(figsize=(5.5, 4), layout="constrained")
    upper, lower = fig.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="calibrated")
    upper.plot(calibration.predicted, calibration.observed, "o-", label="the model")
    upper.set_ylabel("fraction right")
    upper.set_ylim(0, 1)
    upper.legend()
    lower.bar(calibration.predicted, calibration.counts, width=0.06)
    lower.set_ylabel("characters")
    lower.set_xlim(0, 1)
    lower.set_xlabel("probability of the most likely character")
    return fig
