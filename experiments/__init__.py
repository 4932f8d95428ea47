"""Published experiments, one package each: ``python -m experiments.NAME --help``.

``config.py`` has the options and needs no JAX, so ``--help`` is fast. ``experiment.py`` has the
experiment.
"""
