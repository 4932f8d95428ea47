"""Compares ways to unroll a character model: build times, and the training times of an article.

"Recurrent Neural Networks in TensorFlow II" (Pitis, 2016) builds a character model, three layers of
100 LSTM units over 200 steps, in three ways and trains each for 3 epochs on tiny-shakespeare: as a
static graph of all steps, as a dynamic loop (``dynamic_rnn``, which takes lengths), and by
``scan``. Here `seqjax.unroll` builds and trains the same model:

- ``static``: a Python loop, so the program contains every step;
- ``dynamic``: a scan with the lengths of all rows, which the compiler cannot know to be full;
- ``scan``: a scan;
- ``auto``: the default of the library, a scan with the derivative of the library.

Building means tracing and compiling here. TensorFlow built a graph and compiled nothing. The model
trains on the whole text, as in the article.

A full run::

    python -m experiments.unroll_comparison

takes 9 minutes on 2 CPU cores, most of them for the static builds. The table has the seconds to
build the step and to train an epoch, and those of the article on its own machine:

=======  =====  ========  =================
way      build  epoch     article
=======  =====  ========  =================
static       -         -  25.64, then 39.3
dynamic   4.04      18.8  0.53, then 32.2
scan      3.37      18.6  0.65, then 33.9
auto      3.21      15.8
=======  =====  ========  =================

The static program took 19.8, 64 and 214 s to build for 25, 50 and 100 steps. It is omitted for
more steps, where a build may take longer than ``--cap``. The others took 2.7 to 7.2 s at every
length from 25 to 1600. With seed 0 the mean losses of the three epochs are 3.5656, 3.2402 and
3.0513 in all three ways that trained; those of the article are 3.5332, 3.3144 and 3.2176 (static),
3.5579, 3.3225 and 3.2829 (dynamic), and 3.5536, 3.3205 and 3.2743 (scan).
"""
