"""Tests which attention mechanisms an encoder-decoder model needs, and at which lengths.

Each model is trained on one task from sequence to sequence, at all lengths up to L, with several
seeds in one batch. Greedy decoding is then tested at every length up to 2 L. The answers are known
exactly (``seqjax.tasks``). An answer counts if all of its tokens and its end are right.

The full preset::

    python -m experiments.sequence_tasks          4.4 minutes on 2 cores, 2 seeds

    task       L  attention  1 to L    at L   1.5 L    2 L
    reversal  10  none        83.1%   28.6%    0.0%   0.0%
                  additive   100.0%   99.9%    1.1%   0.0%
                  general     99.9%   99.6%    5.6%   0.0%
                  location   100.0%  100.0%   94.2%  50.9%
                  monotonic   71.8%   17.0%    0.0%   0.0%
    sorting   10  none       100.0%   99.9%   15.4%   0.0%
                  additive   100.0%   99.8%    2.9%   0.0%
                  general    100.0%   99.8%   11.0%   0.0%
                  location    99.9%   99.4%    2.5%   0.0%
                  monotonic   92.9%   80.5%   25.6%   0.0%
    addition   3  none        59.3%    9.6%    0.0%   0.0%
                  additive    90.2%   72.4%    0.0%   0.0%
                  general     84.7%   56.1%    0.0%   0.0%
                  location    82.5%   51.9%    1.1%   0.0%
                  monotonic   64.7%   10.8%    0.0%   0.0%

The quick preset trains one seed on reversal, without attention and with location-sensitive
attention::

    python -m experiments.sequence_tasks --preset quick               53 s of CPU time

    reversal  10  none        83.8%   28.7%    0.0%    0.0%
                  location   100.0%  100.0%  100.0%  100.0%
"""
