"""What this machine offers to the process."""

import os


def usable_cores() -> int:
    """The number of CPU cores that this process may use; a cluster may grant a part of them.

    >>> 1 <= usable_cores() <= (os.cpu_count() or 1)
    True
    """
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
