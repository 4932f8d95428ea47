"""Measure every number, table and figure of the five articles, and compare them.

    python -m experiments.reproduce             4.5 minutes on 2 CPU cores
    python -m experiments.reproduce --full      26 minutes: the articles' own sizes, many seeds

It runs the command line of each experiment in turn and compares the results with the articles. It
writes ``report.html``, one page that includes all figures, and ``report.md``. The exit code is 1 if
a number disagrees or could not be measured.
"""
