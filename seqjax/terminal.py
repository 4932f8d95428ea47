"""Output of commands on terminals that cannot show every character."""

import io
import sys


def replace_what_cannot_be_shown() -> None:
    """Let standard output and error show ``?`` for a character that their encoding lacks.

    For commands, before they print: by itself Python ends with an error there. A stream that a
    notebook or a test put in their place stays as it is if it has no encoding.

    >>> replace_what_cannot_be_shown()
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
