"""The results of truecasing: a table of scores, and example lines in the terminal and a figure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import matplotlib.cm
import matplotlib.colors
import matplotlib.figure
import matplotlib.patches
import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from experiments.seeds import spread
from experiments.sequence_labelling.baselines import AROUND, Characters, Score
from experiments.sequence_labelling.lines import lower
from experiments.sequence_labelling.networks import Network

EXAMPLES = 8
WIDTH = 60  # longest line that is shown, in characters
LEGEND = (
    "Only letters are scored. F1 is that of the upper case letters; the last column\n"
    "ignores the first character of each line. Below each mean: worst and best seed."
)
COLORS = matplotlib.colormaps["Blues"]


class Run(NamedTuple):
    """A network and its results.

    Attributes:
      network: the network.
      parameters: its number of parameters.
      probabilities: the probabilities of upper case by the first seed, ``float32[N]``.
      score: the scores on the held-out lines, ``[seeds]`` each.
      wall_seconds: the wall time of training and evaluation.
    """

    network: Network
    parameters: int
    probabilities: np.ndarray
    score: Score
    wall_seconds: float


class Example(NamedTuple):
    """A line and the predictions of each network.

    Attributes:
      text: the line.
      probabilities: for each network the probabilities of upper case, ``[len(text)]``.
    """

    text: str
    probabilities: dict[str, np.ndarray]


def result(
    corpus: str, held_out: Characters, scores: Mapping[str, Score], runs: Sequence[Run]
) -> dict[str, Any]:
    """The content of ``result.json``."""
    return {
        "task": "truecasing",
        "corpus": corpus,
        "held_out_letters": int(held_out.letter.sum()),
        "held_out_upper": int((held_out.upper & held_out.letter).sum()),
        "baselines": {
            name: {part: float(value) for part, value in scored._asdict().items()}
            for name, scored in scores.items()
        },
        "runs": [
            {
                "network": run.network.name,
                "units": run.network.units,
                "parameters": run.parameters,
                "seeds": len(run.score.f1),
                **{
                    part: {**spread(value), "per_seed": value.tolist()}
                    for part, value in run.score._asdict().items()
                },
                "wall_seconds": run.wall_seconds,
            }
            for run in runs
        ],
    }


def result_table(
    corpus: str, held_out: Characters, scores: Mapping[str, Score], runs: Sequence[Run]
) -> Table:
    """The table of scores of baselines and networks."""
    letters = int(held_out.letter.sum())
    share = (held_out.upper & held_out.letter).sum() / max(letters, 1)
    table = Table(
        title=f"{corpus}: {letters:,} held-out letters, {share:.1%} of them upper case; "
        f"{len(runs[0].score.f1)} seeds",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),  # fits 80 columns
    )
    for column in ("", "parameters", "accuracy", "F1", "F1 after\nthe first"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for name, scored in scores.items():
        table.add_row(name, "", *(f"{value:.4f}" for value in scored))
    table.add_section()
    for run in runs:
        table.add_row(
            f"{run.network.name} GRU",
            f"{run.parameters:,}",
            *(
                f"{value.mean():.4f}\n[dim]{value.min():.4f}-{value.max():.4f}[/dim]"
                for value in run.score
            ),
        )
    return table


def conclusion(scores: Mapping[str, Score], runs: Sequence[Run]) -> str:
    """Describe the gain of the bidirectional network, and which seeds beat comparable baselines."""
    forward, both = (run.score.f1 for run in runs)
    overlap = "the seeds overlap" if both.min() <= forward.max() else "no seeds overlap"
    lines = [
        f"Reading in both directions changes F1 by {both.mean() - forward.mean():+.4f}; {overlap}."
    ]
    for run in runs:
        rivals = [name for name in scores if run.network.bidirectional or name != AROUND]
        best = max(rivals, key=lambda name: float(scores[name].f1))
        gap = run.score.f1 - scores[best].f1
        lines.append(
            f"{run.network.name}: {(gap > 0).sum()} of {len(gap)} seeds are above the best "
            f"baseline with the same input,\n  {best}; the mean differs by {gap.mean():+.4f}."
        )
    return "\n".join(lines)


def choose(lines: Sequence[str], runs: Sequence[Run]) -> list[Example]:
    """Choose example lines: half spread evenly, half where the networks differ most.

    The evenly spread lines have an upper case letter after the first character. The difference is
    that of the probabilities of the first seed, summed over a line.
    """
    ends = np.cumsum([len(line) for line in lines])[:-1]
    split = {run.network.name: np.split(run.probabilities, ends) for run in runs}
    forward, both = split.values()
    gaps = [np.abs(a - b).sum() for a, b in zip(forward, both, strict=True)]
    fitting = [n for n, line in enumerate(lines) if len(line) <= WIDTH] or range(len(lines))
    cased = [n for n in fitting if lines[n][1:] != lower(lines[n][1:])] or fitting
    spread_out = [cased[int(at)] for at in np.linspace(0, len(cased) - 1, EXAMPLES // 2)]
    chosen = {lines[n]: n for n in spread_out}
    for n in sorted(fitting, key=lambda n: -gaps[n]):
        if len(chosen) < EXAMPLES:
            chosen.setdefault(lines[n], n)
    return [
        Example(line[:WIDTH], {name: parts[n][:WIDTH] for name, parts in split.items()})
        for line, n in chosen.items()
    ]


def in_terminal(example: Example) -> Text:
    """The line as each network predicts it, with ``^`` below errors.

    >>> print(in_terminal(Example("Ay, Sir", {"forward": np.array([1, 0, 0, 0, 0, 0, 0])})))
    truth          Ay, Sir
    forward        Ay, sir
                       ^
    <BLANKLINE>
    """
    text = Text(f"{'truth':15}{example.text}\n")
    low = lower(example.text)
    for name, probabilities in example.probabilities.items():
        text.append(f"{name:15}", style="dim")
        marks = ""
        for truth, small, p in zip(example.text, low, probabilities, strict=True):
            written = small.upper() if p > 0.5 and len(small.upper()) == 1 else small
            wrong = (p > 0.5) != (truth != small) and small.upper() != small
            style = "bold red" if wrong else "bold green" if truth != small else ""
            text.append(written, style=style)
            marks += "^" if wrong else " "
        text.append(f"\n{'':15}{marks.rstrip()}\n" if marks.strip() else "\n", style="red")
    return text


def figure(examples: Sequence[Example]) -> matplotlib.figure.Figure:
    """Plot each line for each network, with letters coloured by their probability."""
    names = list(examples[0].probabilities)
    longest = max(len(example.text) for example in examples)
    rows = len(examples) * (len(names) + 0.6)
    fig = matplotlib.figure.Figure(figsize=(2.2 + 0.19 * longest, 1.3 + 0.27 * rows))
    axes = fig.add_axes((0.1, 0.12, 0.88, 0.8))
    for n, example in enumerate(examples):
        for k, name in enumerate(names):
            y = n * (len(names) + 0.6) + k
            axes.text(-0.8, y, name, ha="right", va="center", fontsize=8)
            _draw_line(axes, y, example.text, example.probabilities[name])
    axes.set(xlim=(-0.7, longest), ylim=(rows - 0.6, -0.8))
    axes.axis("off")
    fig.suptitle(
        "Original letters, coloured by the predicted P(upper case); red frames mark errors",
        fontsize=10,
    )
    scale = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(0, 1), COLORS)
    bar = fig.colorbar(scale, cax=fig.add_axes((0.3, 0.07, 0.4, 0.015)), orientation="horizontal")
    bar.set_label("P(upper case)", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return fig


def _draw_line(axes: Any, y: float, text: str, probabilities: np.ndarray) -> None:
    for x, (truth, small, p) in enumerate(zip(text, lower(text), probabilities, strict=True)):
        is_letter = small.upper() != small
        wrong = is_letter and (p > 0.5) != (truth != small)
        if is_letter:
            axes.add_patch(
                matplotlib.patches.Rectangle(
                    (x - 0.46, y - 0.46), 0.92, 0.92, facecolor=COLORS(float(p)),
                    edgecolor="red" if wrong else "none", linewidth=1.4,
                )
            )  # fmt: skip
        axes.text(
            x, y, truth, ha="center", va="center", family="monospace", fontsize=9,
            color="white" if is_letter and p > 0.6 else "black", parse_math=False,
        )  # fmt: skip
