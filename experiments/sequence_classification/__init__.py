"""Sequence classification: one label for a whole sequence, here an image read row by row.

"Introduction to Recurrent Networks in TensorFlow" (Hafner, 2016) puts a softmax on the last output
of three layers of 200 GRU units with dropout.
"""
