"""Cross-validation within the training set, which chooses options without the test set."""

import collections
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table
from sklearn.model_selection import StratifiedKFold

from experiments.sequence_classification.config import Config
from experiments.sequence_classification.run import build_model, predict, train
from experiments.sequence_classification.sets import SPLIT_SEED, Examples


class Score(NamedTuple):
    """The result of one setting.

    Attributes:
      setting: the options that vary, as on the command line.
      accuracies: of each seed, over the held-out examples of all folds, ``[seeds]``.
      loss: the mean cross-entropy on them.
    """

    setting: str
    accuracies: np.ndarray
    loss: float


def settings(vary: Sequence[str]) -> list[tuple[str, ...]]:
    """All combinations of values, as arguments of the command line.

    Raises:
      ValueError: a text is not an option with values.

    >>> settings(["units=16,32", "noise=0.5"])
    [('--units', '16', '--noise', '0.5'), ('--units', '32', '--noise', '0.5')]
    """
    choices = []
    for text in vary:
        name, _, values = text.partition("=")
        if not name or not values:
            raise ValueError(
                f"--vary must be an option and its values, such as units=16,32, got {text!r}"
            )
        choices.append([(f"--{name}", value) for value in values.split(",")])
    return [tuple(itertools.chain(*chosen)) for chosen in itertools.product(*choices)]


def folds_of(labels: np.ndarray, classes: Sequence[str], folds: int) -> list[np.ndarray]:
    """The examples that each fold holds out, with each class spread over the folds.

    Raises:
      ValueError: a class has fewer examples than there are folds.
    """
    counts = np.bincount(labels, minlength=len(classes))
    rarest = int(counts.argmin())
    if folds < 2 or counts[rarest] < folds:
        raise ValueError(
            f"--folds must lie between 2 and {counts[rarest]}, the number of training examples of "
            f"the class {classes[rarest]}, got {folds}"
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=SPLIT_SEED)
    return [held_out for _, held_out in splitter.split(labels, labels)]


def cross_validate(
    config: Config,
    examples: Examples,
    classes: Sequence[str],
    features: int,
    folds: int,
    setting: str,
) -> Score:
    """Train each seed once for each fold on the other folds, all in one program.

    Args:
      config: the options.
      examples: the training set, as the network reads it. Its scale is that of all folds.
      classes: the names of the classes.
      features: see `build_model`.
      folds: the number of folds.
      setting: the options that vary.

    Raises:
      ValueError: a class has fewer examples than there are folds, or a batch needs more examples
        than the other folds have.
    """
    held_out = folds_of(examples.labels, classes, folds)
    everyone = np.arange(len(examples.labels))
    kept = len(everyone) - max(map(len, held_out))  # folds differ in size by a few examples
    rng = np.random.default_rng(SPLIT_SEED)
    members = np.stack(
        [np.sort(rng.permutation(np.setdiff1d(everyone, fold))[:kept]) for fold in held_out]
    )
    model = build_model(config, len(classes), features)
    members = np.repeat(members, config.seeds, axis=0)
    _, _, params = collections.deque(train(config, model, examples, members), maxlen=1).pop()
    probabilities = predict(model, params, examples)
    probabilities = probabilities.reshape(folds, config.seeds, *probabilities.shape[1:])
    of_fold = np.empty(len(everyone), int)
    for number, fold in enumerate(held_out):
        of_fold[fold] = number
    tested = probabilities[of_fold, :, everyone]  # [N, seeds, V], each by the models of its fold
    right = tested.argmax(-1) == examples.labels[:, None]
    of_label = tested[everyone, :, examples.labels]
    loss = -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean()
    return Score(setting, right.mean(0), float(loss))


def best(scores: Sequence[Score]) -> Score:
    """The score with the highest mean accuracy, and of equal ones the lowest loss."""
    return max(scores, key=lambda score: (score.accuracies.mean(), -score.loss))


def score_table(scores: Sequence[Score], count: int, folds: int) -> Table:
    """A table of all settings; the best one is marked."""
    table = Table(
        title=f"Cross-validation on {count} training examples, {folds} folds", box=box.SIMPLE
    )
    table.add_column("options")
    for column in ("mean", "worst seed", "best seed", "loss"):
        table.add_column(column, justify="right")
    for score in scores:
        numbers = score.accuracies.mean(), score.accuracies.min(), score.accuracies.max()
        table.add_row(
            score.setting or "the defaults",
            *(f"{number:.2%}" for number in numbers),
            f"{score.loss:.4f}" + (" best" if score is best(scores) and len(scores) > 1 else ""),
        )
    return table
