"""The command ``tfds``: a data set of tensorflow-datasets."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from seqjax.data.convert.arrays import feature_of
from seqjax.data.convert.columns import Missing
from seqjax.data.convert.files import tracked
from seqjax.data.convert.output import Files, Located, save
from seqjax.data.schema import BYTES, Feature, Schema
from seqjax.data.tensorflow import tensorflow_without_gpus


def tfds(
    name: str,
    out: Path,
    /,
    split: str = "train",
    sequence: tuple[str, ...] = (),
    context: tuple[str, ...] = (),
    data_dir: Path | None = None,
    missing: Missing = "error",
    output: Files = Files(),  # noqa: B008
) -> None:
    """Convert a data set of tensorflow-datasets, which is downloaded if needed.

    Args:
      name: the data set, such as imdb_reviews, optionally with config and version.
      out: directory of the data set.
      split: the split, such as train or test[:10%].
      sequence: features [T, ...], or texts, whose bytes are the steps. A nested feature is
        FEATURE/PART.
      context: features of fixed shape.
      data_dir: directory of the files of tensorflow-datasets.
      missing: error, or fill: NaN of a float32 feature NAME become 0 and are marked in a feature
        NAME_missing.
      output: the files.
    """
    import tensorflow_datasets

    tensorflow_without_gpus()
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
        dataset = tensorflow_datasets.as_numpy(builder.as_dataset(split=split))
    except (tensorflow_datasets.core.DatasetNotFoundError, AssertionError, ValueError) as error:
        raise ValueError(f"tensorflow-datasets: {error}") from None
    info = dict(_flat(builder.info.features.get_tensor_info()))
    absent = {*sequence, *context} - info.keys()
    if absent or not (sequence or context):
        found = {
            key: f"{np.dtype(value.np_dtype)}{list(value.shape)}" for key, value in info.items()
        }
        raise ValueError(f"{name}: select features with --sequence and --context, from {found}")

    def feature(key: str, skip: int) -> Feature:
        shape = info[key].shape[skip:]
        if None in shape or len(info[key].shape) < skip:
            raise ValueError(f"{name}: {key!r} has shape {info[key].shape}; expected a fixed shape")
        return feature_of(key, np.dtype(info[key].np_dtype), shape)

    texts = {key for key in sequence if info[key].np_dtype == BYTES and not info[key].shape}
    schema = Schema(
        {key: feature(key, 0) for key in context},
        {key: Feature(np.uint8) if key in texts else feature(key, 1) for key in sequence},
    )

    def examples() -> Iterator[Located]:
        for k, flat in enumerate(dict(_flat(example)) for example in tracked(dataset, name)):
            example = {
                key: np.frombuffer(flat[key], np.uint8)
                if key in texts
                else np.asarray(flat[key], schema_feature.dtype)
                for key, schema_feature in (*schema.context.items(), *schema.sequence.items())
            }
            yield Located(f"{name}, example {k}", example)

    save(name, out, schema, examples, output, missing)


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Name the leaves of nested dictionaries."""
    if not isinstance(tree, dict):
        yield path, tree
        return
    for name, value in tree.items():
        yield from _flat(value, f"{path}/{name}" if path else name)
