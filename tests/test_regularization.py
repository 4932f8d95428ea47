"""Weight dropout: which weights, how many, and what stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax import GRU, LRU, LSTM, LanguageModel, Stack, unroll
from seqjax.regularization import drop_weights


def test_recurrent_weights_of_all_layers_are_dropped_or_scaled_and_no_others():
    model = LanguageModel(Stack([LSTM(30), GRU(30)]), vocabulary_size=5)
    params = model.init(jax.random.key(0), 5, jnp.float64)
    dropped = drop_weights(jax.random.key(1), params, 0.25)
    shares = []
    for (path, before), after in zip(
        jax.tree.leaves_with_path(params), jax.tree.leaves(dropped), strict=True
    ):
        name = jax.tree_util.keystr(path[-1:], simple=True)
        if name not in ("recurrent_kernel", "gate_kernel", "candidate_kernel"):
            np.testing.assert_array_equal(after, before)
            continue
        kept = np.asarray(after) != 0
        np.testing.assert_allclose(after[kept], (before / 0.75)[kept], rtol=1e-14)
        shares.append(kept)
        # five standard deviations of a mean of so many coins
        assert abs(kept.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / kept.size)
    assert len(shares) == 3
    assert not np.array_equal(shares[1][:, :30], shares[2])  # each kernel has a mask of its own


def test_the_gradient_flows_to_kept_weights_alone_and_is_that_of_the_scaled_ones():
    cell = LSTM(4)
    params = cell.init(jax.random.key(0), 3, jnp.float64)
    xs = jax.random.normal(jax.random.key(2), (2, 5, 3))

    def loss(params):
        return jnp.square(unroll(cell, params, xs)[1]).sum()

    dropped = drop_weights(jax.random.key(1), params, 0.5)
    have = jax.grad(lambda p: loss(drop_weights(jax.random.key(1), p, 0.5)))(params)
    want = jax.grad(loss)(dropped).recurrent_kernel
    want = np.where(dropped.recurrent_kernel == 0, 0, 2 * want)
    np.testing.assert_allclose(have.recurrent_kernel, want, rtol=1e-12)


def test_at_rate_0_nothing_changes_and_what_cannot_be_is_an_error():
    params = LSTM(4).init(jax.random.key(0), 3)
    assert drop_weights(jax.random.key(1), params, 0.0) is params
    with pytest.raises(ValueError, match=r"rate .*\[0, 1\)"):
        drop_weights(jax.random.key(1), params, 1.0)
    params = LRU(4, 4).init(jax.random.key(0), 3)
    with pytest.raises(ValueError, match="no parameter has the name recurrent_kernel or"):
        drop_weights(jax.random.key(1), params, 0.5)
