"""Published experiments, one package each: ``python -m experiments.NAME --help``.

The options are in ``config.py``, which needs no JAX, so that ``--help`` is quick; the work is in
``experiment.py``.
"""
