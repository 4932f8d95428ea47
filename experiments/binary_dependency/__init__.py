"""How far back must errors flow? Learning curves of the binary-dependency task.

"Recurrent Neural Networks in TensorFlow I" (Pitis, 2016) trains a small Elman network on a binary
sequence with dependencies 3 and 8 steps back, by truncated backpropagation over 5, 1 and 10 steps,
and holds three learning curves against the losses that a model can reach if it has learned none,
the first, or both of the dependencies. This experiment trains many seeds of each setting at once.

A full run::

    python -m experiments.binary_dependency      50 s on 2 CPU cores, 16 seeds a setting

    num_steps  units  epochs  median  best    worst   floor it can learn
            5      4       1  0.5197  0.5155  0.5230  first   0.5192
            1      4       2  0.6217  0.5587  0.6589  neither 0.6616
           10     16      10  0.4564  0.4550  0.4582  both    0.4545

Of the errors of a chunk of 5 steps only 2 get back to lag 3. With ``--truncation true`` all do, as
each goes back 5 steps, for ten times the arithmetic. Fewer updates then learn the dependency: after
400 the worst of 16 seeds stands at 0.525, and at 0.597 by chunks.
"""
