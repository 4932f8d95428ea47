"""Sequence labelling: compares a forward and a bidirectional network.

"Introduction to Recurrent Networks in TensorFlow" (Hafner, 2016) labels each step of a sequence,
and "RNNs in TensorFlow, a Practical Guide" (Britz, 2016) recommends bidirectional networks for such
tasks. This experiment compares both on a task with exact losses and on text.

**Look-ahead**: a binary sequence depends on another sequence 3 steps back and 4 steps ahead. A
forward network cannot know the second dependency. A full run::

    python -m experiments.sequence_labelling lookahead       51 s on 2 CPU cores, 8 seeds

    network        floor   mean    best    worst   reached
    forward        0.5192  0.5196  0.5187  0.5215  8 of 8
    bidirectional  0.4545  0.4552  0.4546  0.4569  8 of 8

Both networks read windows of 32 steps. The loss counts only the steps whose dependencies both lie
in the window, so the floors are exact. The final loss is measured on new data.

**Truecasing**: given a line in lower case, predict which letters were upper case. The lines are
written as SequenceExample records and read in buckets of similar lengths. A full run::

    python -m experiments.sequence_labelling truecasing      2.3 minutes on 2 CPU cores, 4 seeds

    held-out lines of tiny_shakespeare      accuracy  F1 mean  worst   best
    always lower                              0.8779   0.0000
    upper at line start                       0.9142   0.4755
    counts, 10 before                         0.9551   0.7978
    counts, 5 each side                       0.9650   0.8440
    forward GRU, 24,066 parameters            0.9528   0.7813  0.7776  0.7895
    bidirectional GRU, 25,918 parameters      0.9865   0.9440  0.9405  0.9492

66% of the upper case letters are in the names of speakers, such as "TRANIO:". Without a colon at
the end of the line the same name is written "Tranio", so the past does not determine the case.
38% of these letters are in names that occur in no training line. The forward GRU therefore does no
better than the counts of the past, and only the models that read the future do better.
"""
