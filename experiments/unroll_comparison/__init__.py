"""What does it cost to unroll? The table of the article, and build times over ``num_steps``.

"Recurrent Neural Networks in TensorFlow II" (Pitis, 2016) builds one character model, three layers
of 100 LSTM units over 200 steps, in three ways, and trains each for 3 epochs on tiny-shakespeare:
as a static graph that holds every step, as a loop that is run (``dynamic_rnn``, which minds
lengths), and by ``scan``. Here the same model is built and trained by `seqjax.unroll`:

- ``static``: a Python loop, so that the program holds every step;
- ``dynamic``: a scan that is given the lengths of all rows, and does not know that all are full;
- ``scan``: a scan;
- ``auto``: what the library takes by itself, a scan with a backward pass of its own.

To build is to trace and to compile; TensorFlow built a graph and compiled nothing. The model trains
on the whole text, as the article's did.

A full run::

    python -m experiments.unroll_comparison

From seed 0 the mean losses of the three epochs are 3.5656, 3.2402 and 3.0513 by scan; the article's
three runs end at 3.22, 3.28 and 3.27.
"""
