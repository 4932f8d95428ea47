"""Runs the command line."""

import sys

from seqjax.data.convert.command_line import main

if __name__ == "__main__":
    sys.exit(main())
