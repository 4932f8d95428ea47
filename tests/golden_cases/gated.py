"""The smaller cells of TensorFlow's contrib."""

import functools

from seqjax import GRU, NAS, SRU, UGRNN, IndRNN, IntersectionRNN, MinimalRNN
from seqjax.interop import tensorflow
from tests.golden_cases.core import simple

UGRNN_READER = functools.partial(tensorflow.from_ugrnn, forget_bias=0.7)
CASES = {
    "contrib_grublockcellv2": simple(GRU(4), tensorflow.from_gru),
    "contrib_indrnn": simple(IndRNN(4), tensorflow.from_ind_rnn),
    "contrib_intersection": simple(IntersectionRNN(5), tensorflow.from_intersection_rnn),
    "contrib_minimalrnn": simple(MinimalRNN(4), tensorflow.from_minimal_rnn),
    "contrib_nas": simple(NAS(4), tensorflow.from_nas),
    "contrib_sru": simple(SRU(4), tensorflow.from_sru),
    "contrib_ugrnn": simple(UGRNN(4), UGRNN_READER),
}
