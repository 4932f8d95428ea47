"""Command output on terminals that cannot show every character."""

import io
import sys


def replace_what_cannot_be_shown() -> None:
    """Make standard output and error print ``?`` for characters that their encoding lacks.

    Commands call this before they print; otherwise Python raises ``UnicodeEncodeError``. Streams
    that are not an ``io.TextIOWrapper``, such as those of a notebook, are left unchanged.

    >>> replace_what_cannot_be_shown()
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
