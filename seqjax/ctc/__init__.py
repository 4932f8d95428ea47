"""Connectionist temporal classification (CTC): a target that is shorter than its input.

The network outputs logits of V classes at each of T steps; one class is the blank. An alignment
picks one class for each step. Its labelling follows by merging equal adjacent classes and then
dropping blanks. So the alignments ``a-ab-`` and ``-aabb`` have the labellings ``aab`` and ``ab``.
The probability of a labelling is the sum of the probabilities of its alignments::

    p(labelling) = sum over its alignments of the product over t of softmax(logits[t])[alignment[t]]

`ctc_loss` is its negative logarithm. `greedy_decode` finds the labelling of the most probable
alignment, and `beam_decode` searches for the most probable labellings. An encoder alone is enough,
such as a `seqjax.Bidirectional` with a `seqjax.OutputProjection`::

    state, logits = seqjax.unroll(model, params, xs, lengths=lengths)
    loss = ctc_loss(logits, targets, lengths=lengths, target_lengths=target_lengths)
    best = beam_decode(logits, width=16, lengths=lengths)
"""

from seqjax.ctc.decoding import Labelling, beam_decode, greedy_decode
from seqjax.ctc.loss import ctc_loss

__all__ = ["Labelling", "beam_decode", "ctc_loss", "greedy_decode"]
