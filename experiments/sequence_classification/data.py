"""Data sets of labelled sequences by name or path."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from experiments.processes import ALL
from experiments.sequence_classification import archive, records
from experiments.sequence_classification.config import ARCHIVES
from experiments.sequence_classification.sets import HELD_OUT, Examples, Split, held_out, numbers

PARTS = ("train", "validation", "test")  # directories of a data set that is split
DRAWN = f"drawn at random, with {HELD_OUT:.0%} of each class in the test set"


def load(
    dataset: str, inputs: str | None = None, label: str | None = None, tokens: bool = False
) -> Split:
    """Read a data set, in all processes together.

    Args:
      dataset: ``"digits"``, ``"mnist"``, ``"uea:NAME"``, or the path of TFRecords as
        `seqjax.data.records.RecordSource` takes it. A directory with the directories ``train`` and
        ``test``, and optionally ``validation``, is used as it is split.
      inputs: the sequence feature of the records; defaults to the only numeric one.
      label: the context feature with the class, a number or a text; defaults to the only integer
        feature, or to the only text feature if there is no integer.
      tokens: whether the steps of records are tokens.

    Returns:
      All sets as they are stored, not scaled. For digits and for records that are not split, a
      fifth of each class is drawn for the test set. Records whose sequences all have as many steps
      as features are treated as images.

    Raises:
      ValueError: there is no such data set, or it does not hold labelled sequences.
    """
    kind, _, name = dataset.partition(":")
    if kind in ARCHIVES:
        return ALL.together(lambda: archive.load(name))
    if dataset == "digits":
        images, labels = load_digits(return_X_y=True)
        examples = images_to_rows(images.reshape(-1, 8, 8), labels)
        return Split(*held_out(examples, HELD_OUT, "test"), DRAWN, numbers(10), images=True)
    if dataset == "mnist":
        return ALL.together(_mnist)
    parts = ALL.by_first(lambda: [part for part in PARTS if (Path(dataset) / part).is_dir()])
    if {"train", "test"} <= {*parts}:
        return _split_records(Path(dataset), parts, inputs, label, tokens)
    read = records.read(Path(dataset), inputs, label, tokens)
    return Split(
        *held_out(read.examples, HELD_OUT, "test"),
        DRAWN,
        read.classes,
        _are_images(read.examples),
        inputs=read.inputs,
        label=read.label,
    )


def images_to_rows(images: np.ndarray, labels: np.ndarray) -> Examples:
    """Read images ``[N, H, W]`` row by row: H steps of W features.

    >>> images_to_rows(np.zeros((5, 8, 6)), np.zeros(5)).xs.shape
    (5, 8, 6)
    """
    lengths = np.full(len(images), images.shape[1], np.int32)
    return Examples(images.astype(np.float32), lengths, labels.astype(np.int32))


def _are_images(examples: Examples) -> bool:
    if examples.holds_tokens:
        return False
    steps, features = examples.xs.shape[1:]
    return steps == features > 1 and bool((examples.lengths == steps).all())


def _split_records(
    folder: Path, parts: list[str], inputs: str | None, label: str | None, tokens: bool
) -> Split:
    """Read the directories ``parts``."""
    train = records.read(folder / "train", inputs, label, tokens)
    others: dict[str, Examples | None] = {"validation": None}
    for part in ("validation", "test"):
        if part not in parts:
            continue
        read = records.read(folder / part, train.inputs, train.label, tokens, train.classes)
        examples = read.examples
        strange = int((examples.labels == records.UNKNOWN).sum())
        if strange:
            raise ValueError(
                f"{folder / part}: {strange} of {len(examples.labels)} examples have a class that "
                f"{folder / 'train'} does not have, or none; write data sets with the same classes"
            )
        if examples.xs.shape[2:] != train.examples.xs.shape[2:]:
            raise ValueError(
                f"{folder / part}: {train.inputs!r} has {examples.xs.shape[2]} numbers a step, but "
                f"{train.examples.xs.shape[2]} in {folder / 'train'}; write the same features"
            )
        others[part] = examples
    test = others["test"]
    assert test is not None
    return Split(
        train.examples, test, f"that of the directories in {folder}", train.classes,
        _are_images(train.examples), others["validation"], train.inputs, train.label,
    )  # fmt: skip


def _mnist() -> Split:
    import tensorflow_datasets

    try:
        from seqjax.data.tensorflow import tensorflow_without_gpus

        tensorflow_without_gpus()
        sets = tensorflow_datasets.load(
            "mnist", split=["train", "test"], batch_size=-1, as_supervised=True
        )
    except (ImportError, OSError, ValueError) as error:  # a failed download raises OSError
        raise ValueError(
            f"--dataset mnist: tensorflow-datasets cannot load it: {error}. It needs TensorFlow "
            "(pip install -e '.[records]') and, for the first download, a network connection. "
            "Otherwise use --dataset digits, or the path of records of images that python -m "
            "seqjax.data.convert made"
        ) from None
    train, test = (
        images_to_rows(np.asarray(images)[..., 0], np.asarray(labels)) for images, labels in sets
    )
    return Split(train, test, "as published", numbers(10), images=True)
