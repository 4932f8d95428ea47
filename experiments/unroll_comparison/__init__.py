"""What does it cost to unroll? The table of the article, and build times over ``num_steps``.

"Recurrent Neural Networks in TensorFlow II" (Pitis, 2016) builds one character model, three layers
of 100 LSTM units over 200 steps, in three ways, and trains each for 3 epochs on tiny-shakespeare:
as a static graph that holds every step, as a loop that is run (``dynamic_rnn``, which minds
lengths), and by ``scan``. Here the same model is built and trained by `seqjax.unroll`:

- ``static``: a Python loop, so that the program holds every step;
- ``dynamic``: a scan that is given the lengths of all rows, and does not know that all are full;
- ``scan``: a scan;
- ``auto``: what the library takes by itself, a scan whose derivative the library derives.

To build is to trace and to compile; TensorFlow built a graph and compiled nothing. The model trains
on the whole text, as the article's did.

A full run::

    python -m experiments.unroll_comparison

took 9 minutes on 2 CPU cores, most of them for the static builds. Seconds to build the step, and
for an epoch; the article's on its own machine:

=======  =====  ========  =================
way      build  an epoch  the article's
=======  =====  ========  =================
static       -         -  25.64, then 39.3
dynamic   4.04      18.8  0.53, then 32.2
scan      3.37      18.6  0.65, then 33.9
auto      3.21      15.8
=======  =====  ========  =================

The static program took 19.8, 64 and 214 s to build for 25, 50 and 100 steps and is left out beyond,
where it would take more than ``--cap``; the others took 2.7 to 7.2 s at every length from 25 to
1600. From seed 0 the mean losses of the three epochs are 3.5656, 3.2402 and 3.0513 by all three;
the article's are 3.5332, 3.3144 and 3.2176 (static), 3.5579, 3.3225 and 3.2829 (dynamic), and
3.5536, 3.3205 and 3.2743 (scan).
"""
