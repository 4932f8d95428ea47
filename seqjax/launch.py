"""Run a Python program with allocator settings that keep freed memory: ``python -m seqjax.launch``.

::

    python -m seqjax.launch train.py --epochs 3
    python -m seqjax.launch -m package.module --help

On Linux, glibc returns large freed arrays to the system, and requests them again, page by page, at
each call of a compiled program. A program that calls a training step in a loop can spend up to 40%
of its time on this. A program that takes many steps per call, with `seqjax.training.train_steps`,
does not need the launcher. The performance page of the documentation has measurements.

The process then keeps its peak memory until it ends. Importing seqjax does not change these
settings, and environment variables that are already set keep their values.
"""

import os
import sys
from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # large pages, where the system grants them
    "MALLOC_MMAP_MAX_": "0",  # no separate mappings, which are unmapped when they are freed
    "MALLOC_TOP_PAD_": str(2**28),  # the heap grows by 256 MiB at once
    "MALLOC_TRIM_THRESHOLD_": str(2**40),  # and never shrinks
}
"""Environment variables that glibc reads when a process starts; other C libraries ignore them."""


def launch(arguments: list[str]) -> None:
    """Replace this process with ``python ARGUMENTS``, with `SETTINGS` in the environment."""
    os.execve(sys.executable, [sys.executable, *arguments], {**SETTINGS, **os.environ})


if __name__ == "__main__":
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] else 2)
    launch(sys.argv[1:])
