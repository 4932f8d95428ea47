"""Measure every number, table and figure of the five articles, and say what agrees.

    python -m experiments.reproduce             4.5 minutes on 2 CPU cores
    python -m experiments.reproduce --full      26 minutes: the articles' own sizes, many seeds

It runs the experiments by their own command lines, one after the other, and holds what they write
against what the articles say. The folder gets ``report.html``, one page with all figures in it, and
``report.md``. The exit code is 1 if a number disagrees or could not be measured.
"""
