"""Scores of trained models and of baselines."""

from collections.abc import Sequence
from pathlib import Path

from experiments.pronunciation.baselines import baselines
from experiments.pronunciation.decoding import pronounce
from experiments.pronunciation.score import Score, score
from experiments.pronunciation.trained import load, speaker_of


def evaluate(
    runs: Sequence[Path],
    which: str,
    part: str,
    beam: int | None,
    threshold: float | None,
    with_baselines: bool,
) -> dict[str, Score]:
    """Score the models of one or more runs, which decode together.

    Args:
      runs: the folders of the runs.
      which: the checkpoint, ``"best"`` or ``"last"``.
      part: the words to score, ``"test"`` or ``"validation"``.
      beam: the width of the beam search, or None for greedy decoding.
      threshold: in nats, how far below the best pronunciation the beam search drops one, or None.
      with_baselines: whether to score the baselines too.

    Returns:
      The scores by the name of the model.

    Raises:
      ValueError: there is no run, a folder holds no run, or the runs do not fit together.
    """
    if not runs:
        raise ValueError("give the folder of at least one run")
    trained = [load(run, which) for run in runs]
    speaker = speaker_of(trained)
    dictionary = trained[0].dictionary()
    words = getattr(dictionary, part)
    scores: dict[str, Score] = {}
    if with_baselines:
        scores |= {baseline.name: baseline.score for baseline in baselines(dictionary, part)}
    found = pronounce(speaker, list(words), beam, threshold=threshold)
    how = "greedy" if beam is None else f"beam {beam}"
    if threshold is not None:
        how += f", threshold {threshold:g}"
    name = "attention" if len(runs) == 1 else f"attention, {len(runs)} models"
    scores[f"{name}, {how}"] = score(
        {word: hypotheses[0].phonemes for word, hypotheses in found.items()}, words
    )
    return scores
