"""Run a Python program with an allocator that keeps its memory: ``python -m seqjax.launch``.

::

    python -m seqjax.launch train.py --epochs 3
    python -m seqjax.launch -m package.module --help

On Linux glibc returns large arrays that are freed to the system, and gets new ones from it page by
page, at every call of a compiled program anew. A program that calls one training step after another
may spend a third of its time on that; one that takes many steps in a call (as
`seqjax.training.train_steps`) does not, and needs no launcher. docs/performance.md has the figures.

The price is memory: what was needed once is kept until the program ends. Importing seqjax changes
none of this, and a variable that is set already stays as it is.
"""

import os
import sys
from collections.abc import Mapping

SETTINGS: Mapping[str, str] = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # large pages, where the system grants them
    "MALLOC_MMAP_MAX_": "0",  # no array gets a mapping of its own, which its end would unmap
    "MALLOC_TOP_PAD_": str(2**28),  # the heap grows by 256 MiB at once
    "MALLOC_TRIM_THRESHOLD_": str(2**40),  # and never shrinks
}
"""The environment variables, read by glibc when a process starts; others ignore them."""


def launch(arguments: list[str]) -> None:
    """Replace this process by ``python ARGUMENTS`` with `SETTINGS`."""
    os.execve(sys.executable, [sys.executable, *arguments], {**SETTINGS, **os.environ})


if __name__ == "__main__":
    if not sys.argv[1:] or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if sys.argv[1:] else 2)
    launch(sys.argv[1:])
