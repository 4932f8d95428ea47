"""The results as text and figures."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
from rich import box
from rich.table import Table

from experiments.pronunciation.decoding import Hypothesis, Speaker, align, pronounce
from experiments.pronunciation.dictionary import Pronunciation, Words
from experiments.pronunciation.score import Score, edit_pairs, nearest, score
from experiments.pronunciation.trained import load, speaker_of
from experiments.run_directory import RunDirectory

SHOWN = 6  # words whose alignment is drawn
CONFUSIONS = 20  # the most frequent ones are drawn
MISSING = "none"  # in the place of a phoneme that was inserted or deleted


def score_table(part: str, scores: Mapping[str, Score]) -> Table:
    """The table of error rates."""
    words = next(iter(scores.values())).words
    table = Table(title=f"{words:,} {part} words", box=box.SIMPLE)
    for column in ("", "phoneme error", "word error"):
        table.add_column(column, justify="right" if column else "left")
    for name, scored in scores.items():
        table.add_row(name, f"{scored.phoneme_error:.2%}", f"{scored.word_error:.2%}")
    return table


def prediction(word: str, hypotheses: Sequence[Hypothesis], weights: np.ndarray) -> str:
    """The n-best list of a word, and the attention of the first pronunciation as a table.

    The table shows tenths: 9 stands for a weight of at least 0.9, and a dot for one below 0.1.

    >>> weights = np.array([[0.95, 0.05, 0], [0.3, 0.65, 0.05], [0, 0, 1]])
    >>> print(prediction("be", [Hypothesis(("B", "IY"), -0.25)], weights))
    be
      -0.250  B IY
    <BLANKLINE>
              b e $
          B   9 . .
          IY  3 6 .
          $   . . 9
    <BLANKLINE>
    """
    lines = [word]
    lines += [f"  {h.score:6.3f}  {' '.join(h.phonemes)}" for h in hypotheses]
    lines += ["", " " * 10 + " ".join([*word, "$"])]
    for phoneme, row in zip([*hypotheses[0].phonemes, "$"], weights, strict=True):
        tenths = (min(int(10 * weight), 9) for weight in row)
        lines.append(f"      {phoneme:4}" + " ".join(str(t) if t else "." for t in tenths))
    return "\n".join([*lines, ""])


def confusions(
    predicted: Mapping[str, Pronunciation], references: Words
) -> Counter[tuple[str, str]]:
    """Count the pairs of a phoneme of the nearest reference and the one predicted in its place.

    >>> confusions({"cat": ("K", "AH", "T", "S")}, {"cat": (("K", "AE", "T"),)})
    Counter({('AE', 'AH'): 1, ('none', 'S'): 1})
    """
    counts: Counter[tuple[str, str]] = Counter()
    for word, found in references.items():
        reference = min(found, key=lambda one: nearest(predicted[word], [one])[0])
        for before, after in edit_pairs(reference, predicted[word]):
            if before != after:
                counts[before or MISSING, after or MISSING] += 1
    return counts


def write_report(run: Path, which: str, beam: int | None) -> list[Path]:
    """Score the test words of a run and draw the figures into its folder.

    Returns:
      The files.
    """
    trained = load(run, which)
    words = trained.dictionary().test
    speaker = speaker_of([trained])
    found = pronounce(speaker, list(words), beam)
    predicted = {word: hypotheses[0].phonemes for word, hypotheses in found.items()}
    folder = RunDirectory.reopen(run)
    figures = {
        "errors.png": errors_figure(predicted, words),
        "alignment.png": alignment_figure(speaker, predicted, words),
    }
    for name, figure in figures.items():
        with folder.replacing(name) as path:
            figure.savefig(path, dpi=120)
    return [run / name for name in figures]


def errors_figure(predicted: Mapping[str, Pronunciation], words: Words) -> matplotlib.figure.Figure:
    """Plot the error rates over the length of words, and the most frequent confusions."""
    fig = matplotlib.figure.Figure(figsize=(11, 4.5), layout="constrained")
    left, right = fig.subplots(1, 2)
    by_length: dict[int, Words] = defaultdict(dict)
    for word, found in words.items():
        by_length[len(word)][word] = found
    scores = {length: score(predicted, by_length[length]) for length in sorted(by_length)}
    lengths = [length for length, scored in scores.items() if scored.words >= 20] or list(scores)
    for name, label in (("word_error", "word error"), ("phoneme_error", "phoneme error")):
        left.plot(lengths, [getattr(scores[n], name) for n in lengths], "o-", label=label)
    left.set(xlabel="letters of a word", ylabel="error rate", ylim=(0, None))
    left.legend()
    left.set_title("Errors by the length of words", fontsize=10)
    most = confusions(predicted, words).most_common(CONFUSIONS)[::-1]
    right.barh([f"{a} \N{RIGHTWARDS ARROW} {b}" for (a, b), _ in most], [n for _, n in most])
    right.tick_params(axis="y", labelsize=7)
    right.set(xlabel="times")
    right.set_title("Most frequent errors: phoneme, and what was predicted", fontsize=10)
    return fig


def alignment_figure(
    speaker: Speaker, predicted: Mapping[str, Pronunciation], words: Words
) -> matplotlib.figure.Figure:
    """Plot the attention for words with silent letters that were pronounced correctly."""
    right = [word for word, found in words.items() if predicted[word] in found] or list(words)
    chosen = sorted(right, key=lambda word: len(predicted[word]) - len(word))
    chosen = [word for word in chosen if len(predicted[word]) >= 3][:SHOWN] or chosen[:SHOWN]
    fig = matplotlib.figure.Figure(figsize=(11, 7), layout="constrained")
    axes = fig.subplots(2, SHOWN // 2).flat
    for ax, word in zip(axes, chosen, strict=False):
        _draw_weights(ax, word, predicted[word], align(speaker, word, predicted[word]))
    for ax in [*axes][len(chosen) :]:
        ax.axis("off")
    fig.suptitle("Attention of the last layer to the letters ($: the end)", fontsize=10)
    return fig


def _draw_weights(axes: Any, word: str, phonemes: Pronunciation, weights: np.ndarray) -> None:
    axes.imshow(weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(word) + 1), [*word, "\\$"])
    axes.set_yticks(range(len(phonemes) + 1), [*phonemes, "\\$"])
