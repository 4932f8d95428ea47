"""The command line of ``python -m seqjax.data.convert``."""

import os
import sys

from seqjax.data.convert.csv import csv
from seqjax.data.convert.inspection import inspect
from seqjax.data.convert.jsonl import jsonl
from seqjax.data.convert.npz import npz
from seqjax.data.convert.text import text
from seqjax.data.convert.tfds import tfds
from seqjax.data.convert.ts import ts
from seqjax.terminal import replace_what_cannot_be_shown


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    import tyro

    replace_what_cannot_be_shown()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # TensorFlow logs about it at every start
    commands = {f.__name__: f for f in (text, csv, jsonl, npz, ts, tfds, inspect)}
    try:
        tyro.extras.subcommand_cli_from_dict(
            commands,
            prog="python -m seqjax.data.convert",
            description="Convert files to data sets of records, and inspect them.",
            args=arguments,
            config=(tyro.conf.PositionalMetavarFromFieldName, tyro.conf.OmitArgPrefixes),
        )
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; a data set that was there before is unchanged", file=sys.stderr)
        return 130
    return 0
