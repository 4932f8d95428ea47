"""Wrong calls of every public function, drawn at random: each must end in a clear error.

::

    python -m benchmarks.wrong_calls    a minute on 2 cores

A draw takes a valid call from `calls`, replaces one argument by a value of one of the `kinds`, and
makes the call. The result is one of

- ``error``: a ``ValueError`` that seqjax raises;
- ``signature``: Python's ``TypeError`` for a missing or unknown argument;
- ``harmless``: the call returns, and the argument accepts the value. If the value means the same as
  the valid one, the results must be equal;
- ``silent``: the call returns, though the argument does not accept the value;
- ``crash``: any other exception.
"""
