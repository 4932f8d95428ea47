"""The command ``npz``: each row of arrays is an example."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from seqjax.data.convert.arrays import feature_of
from seqjax.data.convert.columns import Missing
from seqjax.data.convert.files import tracked
from seqjax.data.convert.output import Located, Output, save
from seqjax.data.schema import Schema
from seqjax.data.tfrecord import DECOMPRESSED_BYTES


def npz(
    source: Path,
    out: Path,
    /,
    sequence: tuple[str, ...] = (),
    context: tuple[str, ...] = (),
    lengths: str | None = None,
    split_by: str | None = None,
    missing: Missing = "error",
    output: Output = Output(),  # noqa: B008
    max_decompressed_bytes: int = DECOMPRESSED_BYTES,
) -> None:
    """Convert each row of the arrays of an .npz file to a sequence.

    Args:
      source: the file.
      out: directory of the data set.
      sequence: names of arrays [N, T, ...].
      context: names of arrays [N, ...].
      lengths: name of an array int[N], the number of steps of each sequence; defaults to T.
      split_by: name of an array [N] whose value is the same in all examples of a group, such as a
        person, that a split keeps together.
      missing: error, or fill: NaN of a float32 feature NAME become 0 and are marked in a feature
        NAME_missing.
      output: the files and the split.
      max_decompressed_bytes: maximum size of the decompressed arrays.
    """
    if split_by and not output.split:
        raise ValueError("--split-by needs --split, such as --split train=0.8,test=0.2")
    names = [*context, *sequence, *filter(None, (lengths, split_by))]
    arrays = _arrays(source, names, max_decompressed_bytes)
    for name, array in arrays.items():
        if array.ndim < (2 if name in sequence else 1):
            wanted = "[N, T, ...]" if name in sequence else "[N, ...]"
            raise ValueError(f"{source}: {name!r} must be {wanted}, got {array.shape}")
    if len({len(array) for array in arrays.values()}) > 1 or not names:
        shapes = {name: array.shape for name, array in arrays.items()}
        raise ValueError(f"{source}: the arrays must have N rows each, got {shapes}")
    schema = Schema(
        {name: feature_of(name, arrays[name].dtype, arrays[name].shape[1:]) for name in context},
        {name: feature_of(name, arrays[name].dtype, arrays[name].shape[2:]) for name in sequence},
    )
    if len({arrays[name].shape[1] for name in sequence}) > 1:
        shapes = {name: arrays[name].shape for name in sequence}
        raise ValueError(f"{source}: the sequences must have T steps each, got {shapes}")
    steps = arrays[sequence[0]].shape[1] if sequence else 0
    ends = arrays[lengths] if lengths else np.full(len(arrays[names[0]]), steps)
    if ends.ndim != 1 or ends.dtype.kind not in "iu" or (ends < 0).any() or (ends > steps).any():
        raise ValueError(f"{source}: {lengths!r} must be integers [N] in [0, {steps}], got {ends}")
    units = arrays[split_by] if split_by else np.zeros(len(ends))
    if units.ndim != 1 or units.dtype.kind not in "biufUS":
        raise ValueError(
            f"{source}: {split_by!r} must be numbers or texts [N], got {units.dtype} of shape "
            f"{units.shape}"
        )

    def examples() -> Iterator[Located]:
        for k, end in enumerate(tracked(ends.tolist(), source.name)):
            example = {name: arrays[name][k] for name in context}
            example |= {name: arrays[name][k, :end] for name in sequence}
            yield Located(f"{source}, row {k}", example, units[k].item() if split_by else None)

    save(source, out, schema, examples, output, missing)


def _arrays(source: Path, names: list[str], limit: int) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file, which may have any content."""
    try:
        with zipfile.ZipFile(source) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > limit:
            raise ValueError(
                f"it decompresses to {size:,} bytes, more than {limit:,}; increase "
                "--max-decompressed-bytes if this is intended"
            )
        with np.load(source) as file:
            return {name: file[name] for name in names}
    except KeyError as error:
        raise ValueError(f"{source}: {error.args[0]}") from None
    except Exception as error:  # for a damaged file, NumPy, zipfile and zlib raise many types
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ValueError(f"{source}: cannot be read as .npz: {reason}") from None
