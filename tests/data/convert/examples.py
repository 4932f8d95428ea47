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


def mutations(content, count, rng):
    """Change, remove, repeat or add bytes, or cut the end."""
    for k in range(count):
        changed = bytearray(content)
        at = int(rng.integers(len(content)))
        match k % 5:
            case 0:
                changed[at] ^= 1 << int(rng.integers(8))
            case 1:
                del changed[at : at + int(rng.integers(1, 9))]
            case 2:
                changed[at:at] = changed[at : at + int(rng.integers(1, 9))]
            case 3:
                changed[at:at] = rng.bytes(int(rng.integers(1, 3)))
            case 4:
                del changed[at:]
        yield bytes(changed)
