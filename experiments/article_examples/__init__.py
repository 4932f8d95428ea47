"""Runs the worked examples of the articles with the library and compares the results.

"RNNs in TensorFlow, a Practical Guide" (Britz, 2016) and its Chinese digest, "Introduction to
Recurrent Networks in TensorFlow" (Hafner, 2016) and "Recurrent Neural Networks in TensorFlow I"
(Pitis, 2016) use small arrays as examples. Each example here gives the expected value, which the
article prints or plain NumPy computes, and the value that the library computes::

    python -m experiments.article_examples
"""
