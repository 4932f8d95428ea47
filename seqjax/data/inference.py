"""The schema of records, inferred from the records themselves."""

import itertools
import logging
import os
from pathlib import Path

from seqjax.data.parsing import NO_MESSAGE, dtype_and_count, parse_message
from seqjax.data.schema import Feature, Schema
from seqjax.data.shards import read_compressed, read_records
from seqjax.data.survey import foreign_files
from seqjax.data.tfrecord import DECOMPRESSED_BYTES, CorruptRecordError

_logger = logging.getLogger(__name__)


def infer_schema(
    path: str | os.PathLike[str],
    *,
    records: int = 100,
    max_decompressed_bytes: int = DECOMPRESSED_BYTES,
) -> Schema:
    """Infer a schema from the first records of a file.

    A feature whose size differs between records, or between steps, becomes one of lists, such as
    ``int64[*]``. In ``tf.train.Example`` messages it becomes a sequence. Features that a schema
    cannot describe are omitted and logged as a warning.

    Args:
      path: a file or a pattern; see `seqjax.data.records.RecordSource`.
      records: the number of records to read.
      max_decompressed_bytes: see `seqjax.data.records.RecordSource`.

    Raises:
      CorruptRecordError: one of the records is damaged, or there are no records.
      ValueError: there is no such file.

    >>> import tempfile
    >>> import numpy as np
    >>> from seqjax.data.records import write
    >>> directory = tempfile.mkdtemp()
    >>> schema = Schema(sequence={"x": Feature(np.float32, (2,))})
    >>> write(directory, schema, [{"x": np.zeros((n, 2))} for n in range(3)])
    3
    >>> infer_schema(directory + "/*.tfrecord") == schema
    True
    """
    forms: dict[tuple[str, str], set[tuple[str, int]]] = {}  # dtypes and sizes by kind and name
    files = foreign_files(Path(path), max_decompressed_bytes)
    numbered = (
        (f"{file.path}: record {number}", record)
        for file in files
        for number, record in enumerate(read_records(file, read_compressed))
    )
    for name, record in itertools.islice(numbered, records):
        message = record.payload is not None and parse_message(record.payload)
        if not message:
            raise CorruptRecordError(f"{name}: {record.problem or NO_MESSAGE}")
        for key, value in message.context.feature.items():
            forms.setdefault(("context", key), set()).add(dtype_and_count(value))
        for key, steps in message.feature_lists.feature_list.items():
            forms.setdefault(("sequence", key), set()).update(map(dtype_and_count, steps.feature))
    if not forms:
        raise CorruptRecordError(f"{path}: holds no record with features")
    is_flat = all(kind == "context" for kind, _ in forms)
    schema: dict[str, dict[str, Feature]] = {"context": {}, "sequence": {}}
    for (kind, name), found in sorted(forms.items()):
        dtypes, sizes = sorted({d for d, _ in found if d}), {size for _, size in found}
        if len(dtypes) != 1:
            _logger.warning("%s: %s is omitted, because it holds %s", path, name, sorted(found))
        elif len(sizes) == 1:
            schema[kind][name] = Feature(dtypes[0], () if sizes == {1} else tuple(sizes))
        elif is_flat:
            schema["sequence"][name] = Feature(dtypes[0])
        else:
            schema[kind][name] = Feature(dtypes[0], (None,))
    return Schema(**schema)
