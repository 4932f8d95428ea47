"""The learning curve of a run, with n-gram baselines."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure

STYLES = ("--", ":", "-.")  # one for each n-gram order


def learning_curve(
    records: Sequence[Mapping[str, Any]], result: Mapping[str, Any]
) -> matplotlib.figure.Figure:
    """Plot training and validation loss over epochs, with n-gram losses as horizontal lines.

    The range of the vertical axis ignores the first tenth of the training losses, which are large.

    Args:
      records: the lines of ``metrics.jsonl``.
      result: the content of ``result.json``.
    """
    fig = matplotlib.figure.Figure(figsize=(8, 4.5), layout="constrained")
    axes = fig.subplots()
    curves = {
        name: [(record["epoch"], record[key]) for record in records if record.get(key) is not None]
        for name, key in (("training", "loss"), ("validation", "validation_nats"))
    }
    for name, style in (("training", "-"), ("validation", "o-")):
        points = list(zip(*curves[name], strict=True)) or [(), ()]
        axes.plot(*points, style, label=name, linewidth=1 if name == "training" else 1.5)
    floors = result["ngram_nats"]
    for style, (order, nats) in zip(STYLES, floors.items(), strict=False):
        label = f"{order}-grams, {nats:.3f}"
        axes.axhline(nats, color="black", linewidth=0.8, linestyle=style, label=label)
    settled = [loss for _, loss in curves["training"][len(curves["training"]) // 10 :]]
    shown = [*settled, *(loss for _, loss in curves["validation"]), *floors.values()]
    margin = 0.05 * (max(shown) - min(shown)) or 0.05
    axes.set_ylim(min(shown) - margin, max(shown) + margin)
    axes.set_xlim(left=0)
    axes.set_xlabel("passes over the training text")
    axes.set_ylabel("loss (nats per character)")
    axes.legend()
    corpus, val = Path(result["corpus"]).name, result["val"]
    axes.set_title(
        f"{corpus}: {val['streaming_nats']:.4f} nats, {val['streaming_bits']:.4f} bits per "
        "character of the validation text",
        fontsize=10,
    )
    return fig
