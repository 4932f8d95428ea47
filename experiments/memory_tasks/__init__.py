"""What can a recurrent network keep, and compute of it? Four tasks, beside chance and the optimum.

Each cell is trained on each task at one length, with many seeds at once, and tested there and at
longer ones. All four tasks can be solved exactly, so their least loss is 0; the loss of a model
that sees nothing is known exactly too (`seqjax.tasks`). A test loss of at most 6% of that is called
solved, which is a squared error of 0.01 in the adding problem, and one of at least 95% at chance.

A full run::

    python -m experiments.memory_tasks       7.7 minutes of CPU time, 8 seeds

    task    length  cell    chance    mean   least    most  verdict    x2  x4
    adding     200  rnn     0.1667  0.1793  0.1688  0.2128  at chance   0   0
                    gru     0.1667  0.0016  0.0009  0.0028  solved      0   0
                    mingru  0.1667  0.0042  0.0028  0.0057  solved      0   0
    parity      16  rnn     0.6931  0.0047  0.0001  0.0159  solved      6   6
                    gru     0.6931  0.0004  0.0001  0.0012  solved      8   8
                    mingru  0.6931  0.6979  0.6936  0.7155  at chance   0   0
    copy        10  rnn     2.0794  0.0138  0.0083  0.0225  solved      0   0
                    gru     2.0794  0.0106  0.0028  0.0239  solved      0   0
                    mingru  2.0794  0.8331  0.7836  0.8617  between     0   0
    recall       3  rnn     2.3026  1.0697  1.0459  1.0980  between     0   0
                    gru     2.3026  1.0352  1.0198  1.0445  between     0   0
                    mingru  2.3026  1.1404  1.1064  1.1702  between     0   0

The last columns count the seeds that solve it at twice and four times the length, too.

Adding asks a network to keep two numbers for up to 200 steps, parity to keep one bit and to flip
it. A linear recurrence whose factors lie in (0, 1), as the minGRU's do, can keep and cannot flip.
"""
