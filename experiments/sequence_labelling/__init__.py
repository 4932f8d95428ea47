"""A label for every step: what does a network gain by reading a sequence from both ends?

"Introduction to Recurrent Networks in TensorFlow" (Hafner, 2016) labels each step of a sequence,
and "RNNs in TensorFlow, a Practical Guide" (Britz, 2016) recommends for that to read it from both
ends. Here both ways meet a task whose exact answer is known, and real text.

**Look-ahead**: a binary sequence that depends on another one 3 steps back and 4 steps ahead. No
network that reads forward can know the second. A full run::

    python -m experiments.sequence_labelling lookahead       51 s on 2 CPU cores, 8 seeds

    network        floor   mean    best    worst   reached
    forward        0.5192  0.5196  0.5187  0.5215  8 of 8
    bidirectional  0.4545  0.4552  0.4546  0.4569  8 of 8

Both see windows of 32 steps. In training and on the fresh data of the final loss only those steps
count whose dependencies both lie inside of the window, so that the floors are exact.

**Truecasing**: given a line in lower case, say which letters were upper case. The lines become
SequenceExample records, and come back in buckets of similar lengths. A full run::

    python -m experiments.sequence_labelling truecasing      2.3 minutes on 2 CPU cores, 4 seeds

    held-out lines of tiny_shakespeare      accuracy  F1 mean  worst   best
    always lower                              0.8779   0.0000
    upper at line start                       0.9142   0.4755
    counts, 10 before                         0.9551   0.7978
    counts, 5 each side                       0.9650   0.8440
    forward GRU, 24,066 parameters            0.9535   0.7859  0.7737  0.8011
    bidirectional GRU, 25,918 parameters      0.9859   0.9415  0.9367  0.9457

66% of the upper case letters are in the names of speakers, "TRANIO:", which are written like other
words, "Tranio", where no colon ends the line. The past does not tell which it will be, and 38% of
them are in names that no training line has: the forward GRU knows no more than the counts of what
was before, and only what reads from the end gets further.
"""
