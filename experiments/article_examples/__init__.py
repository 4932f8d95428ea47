"""The worked examples of the articles, run by the library, beside what they show.

"RNNs in TensorFlow, a Practical Guide" (Britz, 2016) and its Chinese digest, "Introduction to
Recurrent Networks in TensorFlow" (Hafner, 2016) and "Recurrent Neural Networks in TensorFlow I"
(Pitis, 2016) explain with small arrays. Each example here states what has to come out, as the
article prints it or by plain NumPy, and what came out.

    python -m experiments.article_examples
"""
