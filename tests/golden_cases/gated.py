"""The smaller cells of TensorFlow's contrib."""

<<<<<<< HEAD
import jax.numpy as jnp

from seqjax import GRU, NAS, SRU, UGRNN, IndRNN, IntersectionRNN, MinimalRNN
from seqjax.cells import (
    BasicRNNParams,
    IntersectionRNNParams,
    MinimalRNNParams,
    NASParams,
    SRUParams,
    UGRNNParams,
)
from tests.golden_cases.core import gru_params, simple


def ugrnn_params(get):
    """Columns are g, c, and the forget bias is added at run time."""
    kernel = get("kernel")
    return UGRNNParams(kernel[:-4], kernel[-4:], get("bias").at[:4].add(0.7))


def intersection_params(get):
    """Columns are gh, h, gy, y, and the forget bias is added to both gates at run time."""
    kernel = get("kernel")
    forget_bias = jnp.repeat(jnp.array([1.0, 0.0, 1.0, 0.0]), 5)
    return IntersectionRNNParams(kernel[:-5], kernel[-5:], get("bias") + forget_bias)


def nas_params(get):
    """Without bias and projection."""
    return NASParams(get("__kernel"), get("recurrent_kernel"), None, None)


def sru_params(get):
    """Columns are n, f, r, s."""
    n, f, r, s = jnp.split(get("kernel"), 4, axis=1)
    return SRUParams(jnp.concatenate([f, r, n, s], 1), get("bias"))


def indrnn_params(get):
    """The recurrent kernel is a row."""
    return BasicRNNParams(get("kernel_w"), get("kernel_u")[0], get("bias"))


def minimal_params(get, units=4):
    """One kernel holds the rows of all three."""
    return MinimalRNNParams(*jnp.split(get("kernel"), [5, 5 + units]), get("bias"))
=======
import functools
>>>>>>> interop

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
