"""What the tests of the converter share."""

import numpy as np

from seqjax.data.convert import main
from seqjax.data.records import RecordSource


def run(*arguments):
    return main([str(argument) for argument in arguments])


def read(directory):
    source = RecordSource(directory)
    examples = source.read(np.arange(len(source.lengths)))
    return [{name: value.tolist() for name, value in example.items()} for example in examples]


def file(directory, name, content):
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
