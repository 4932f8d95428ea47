"""Integers are checked as they were given: none wraps around to a valid one."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import seqjax
from seqjax import decoding, losses, pooling, sampling, truncation
from seqjax.operations.affine import affine
from seqjax.operations.masking import lengths_to_mask

CELL = seqjax.BasicRNN(4)
PARAMS = CELL.init(jax.random.key(0), 3, jnp.float64)
MODEL = seqjax.LanguageModel(seqjax.GRU(2), 3)
MODEL_PARAMS = MODEL.init(jax.random.key(0), 3)
XS = jnp.ones((2, 5, 3))
LOGITS = jnp.ones((2, 5, 3))
STARTS, AT_MOST_5 = np.zeros(2, int), {"end": 0, "max_length": 5}
WRONG = [
    np.int64(2**32),
    np.int64(2**32 + 1),
    np.int64(-(2**32)),
    np.int64(-1),
    np.uint32(2**32 - 1),
    np.uint64(2**64 - 1),
    np.uint8(255),
    np.int8(-1),
]


def with_one(value, shape):
    array = np.zeros(shape, value.dtype)
    array.reshape(-1)[-1] = value
    return array


TOKENS = {
    "unroll": lambda a: seqjax.unroll(CELL, PARAMS, a),
    "truncated_unroll": lambda a: truncation.truncated_unroll(CELL, PARAMS, a, 2),
    "truncated_chunk": lambda a: truncation.truncated_chunk(
        CELL, PARAMS, a[:, :4], 2, initial_state=CELL.initial_state((2,), jnp.float64)
    ),
    "sequence_loss": lambda a: losses.sequence_loss(LOGITS, a),
    "prime": lambda a: sampling.prime(MODEL, MODEL_PARAMS, a),
    "decode": lambda a: decoding.decode(MODEL, MODEL_PARAMS, a, **AT_MOST_5),
    "beam_search": lambda a: decoding.beam_search(
        MODEL, MODEL_PARAMS, STARTS, decoding.Beam(2), forbidden_prefixes=a, **AT_MOST_5
    ),
    "scheduled_sampling": lambda a: decoding.scheduled_sampling(
        MODEL, MODEL_PARAMS, a, jax.random.key(0), 0.5
    ),
}
LENGTHS = {
    "unroll": lambda a: seqjax.unroll(CELL, PARAMS, XS, lengths=a),
    "truncated_unroll": lambda a: truncation.truncated_unroll(CELL, PARAMS, XS, 2, lengths=a),
    "sequence_loss": lambda a: losses.sequence_loss(LOGITS, np.zeros((2, 5), int), lengths=a),
    "decode": lambda a: decoding.decode(
        MODEL, MODEL_PARAMS, STARTS, prefix=XS[..., 0].astype(int), prefix_lengths=a, **AT_MOST_5
    ),
    "scheduled_sampling": lambda a: decoding.scheduled_sampling(
        MODEL, MODEL_PARAMS, np.zeros((2, 5), int), jax.random.key(0), 0.5, lengths=a
    ),
    "last_valid": lambda a: pooling.last_valid(XS, lengths=a),
    "mean_valid": lambda a: pooling.mean_valid(XS, lengths=a),
    "attention_pool": lambda a: pooling.attention_pool(XS, XS[..., 0], lengths=a),
}


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("call", TOKENS.values(), ids=TOKENS)
def test_tokens_out_of_range_are_errors_in_any_dtype(call, value):
    tokens = with_one(value, (2, 5))
    tokens[:, 3] = value  # within the chunk
    with pytest.raises(ValueError, match=r"must lie in \[0, 2\], the vocabulary, got"):
        call(tokens)


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("call", LENGTHS.values(), ids=LENGTHS)
def test_lengths_out_of_range_are_errors_in_any_dtype(call, value):
    with pytest.raises(ValueError, match=r"lengths must lie in \[0, 5\]"):
        call(with_one(value, 2))


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_one_token_out_of_range_is_an_error_in_any_dtype(value):
    with pytest.raises(ValueError, match=rf"x must lie in \[0, 2\], the vocabulary, got {value}"):
        seqjax.step(CELL, PARAMS, None, value)  # of rank 0
    with pytest.raises(ValueError, match="x must lie"):
        seqjax.step(CELL, PARAMS, None, int(value))


def test_chunks_refuse_integers_that_jax_would_wrap():
    code = """
import numpy as np, seqjax.truncation
try:
    seqjax.truncation.chunks(np.array([[2**32, 1]]), 1)
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = "streams must hold integers in [-2147483648, 2147483647], got int64[1, 2]"
    assert done.stdout.strip() == expected


def test_with_32_bits_nothing_wraps_around_either():
    code = """
import jax, numpy as np, seqjax
from seqjax import losses
cell = seqjax.BasicRNN(4)
params = cell.init(jax.random.key(0), 3)
wide = np.array([[0, 2**32]])
for call in (
    lambda: seqjax.unroll(cell, params, wide),
    lambda: seqjax.unroll(cell, params, np.zeros((2, 5), int), lengths=wide[0]),
    lambda: seqjax.step(cell, params, None, wide[0]),
    lambda: losses.sequence_loss(np.zeros((1, 2, 3), "float32"), wide),
    # the number of valid steps is traced, so that the tokens cannot be checked: they give NaN
    lambda: jax.jit(lambda n: seqjax.unroll(cell, params, wide, lengths=n))(np.array([2])),
):
    try:
        _, ys = call()
        print("NaN" if np.isnan(ys[0, 1]).all() else "wrapped")
    except ValueError as error:
        print("error" if "got 4294967296 at index" in str(error) else error)
_, ys = seqjax.unroll(cell, params, wide, lengths=np.array([1]))  # padding may hold anything
print(np.isfinite(ys).all())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["error"] * 4 + ["NaN", "True"]


def test_under_jit_wide_integers_do_not_wrap_around_to_valid_ones():
    wide = jnp.array([2**32, 2**32 + 1, -(2**32), 1])
    assert np.isnan(jax.jit(affine)(wide, jnp.ones((3, 2))))[:, 0].tolist() == [True] * 3 + [False]
    mask = jax.jit(lengths_to_mask, static_argnums=1)(wide, 3)
    assert mask.sum(1).tolist() == [3, 3, 0, 1]


def test_no_check_of_values_runs_under_jit():
    def run(tokens, lengths):
        _, ys = seqjax.unroll(CELL, PARAMS, tokens, lengths=lengths)
        return pooling.last_valid(ys, lengths=lengths), losses.sequence_loss(ys, tokens)

    arguments = jnp.zeros((2, 5), int), jnp.array([5, 2])
    with jax.transfer_guard_device_to_host("disallow"):
        jax.jit(run)(*arguments)
