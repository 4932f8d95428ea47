"""Learning curves of the binary-dependency task for several lengths of backpropagation.

"Recurrent Neural Networks in TensorFlow I" (Pitis, 2016) trains a small Elman network on a binary
sequence with dependencies 3 and 8 steps back, by truncated backpropagation over 5, 1 and 10 steps.
It compares three learning curves with the losses of a model that has learned none, the first, or
both of the dependencies. This experiment trains many seeds of each setting in one batch.

A full run::

    python -m experiments.binary_dependency      50 s on 2 CPU cores, 16 seeds per setting

    num_steps  units  epochs  median  best    worst   floor it can learn
            5      4       1  0.5197  0.5155  0.5230  first   0.5192
            1      4       2  0.6217  0.5587  0.6589  neither 0.6616
           10     16      10  0.4564  0.4550  0.4582  both    0.4545

Only 2 of the 5 errors of a chunk flow back to lag 3. With ``--truncation true`` all of them do,
because each flows back 5 steps; this takes ten times the arithmetic. The dependency is then learned
in fewer updates: after 400, the worst of 16 seeds has a loss of 0.525, and of 0.597 with chunks.
"""
