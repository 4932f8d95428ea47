"""Pooling over time against a plain loop, and what must not change it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from seqjax.pooling import attention_pool, last_valid, mean_valid

B, T, H = 4, 5, 3
RNG = np.random.default_rng(0)
YS = RNG.normal(size=(B, T, H))
SCORES = 5 * RNG.normal(size=(B, T))
LENGTHS = np.array([5, 0, 2, 1])
PADDED = np.arange(T) < LENGTHS[:, None]
HOLES = np.array([[1, 0, 1, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0]], bool)

POOLS = {
    "last": last_valid,
    "mean": mean_valid,
    "attention": lambda ys, **given: attention_pool(ys, SCORES, **given),
}


def plain(name, mask):
    pooled = np.zeros((B, H))
    for b in range(B):
        steps = np.flatnonzero(mask[b])
        if not len(steps):
            continue
        weights = {
            "last": 1.0 * (steps == steps[-1]),
            "mean": np.full(len(steps), 1 / len(steps)),
            "attention": np.exp(SCORES[b, steps]) / np.exp(SCORES[b, steps]).sum(),
        }[name]
        for weight, t in zip(weights, steps, strict=True):
            pooled[b] += weight * YS[b, t]
    return pooled


@pytest.mark.parametrize("name", POOLS)
def test_equals_a_plain_loop(name):
    pool = POOLS[name]
    for given, mask in [
        ({}, np.ones((B, T), bool)),
        ({"lengths": LENGTHS}, PADDED),
        ({"lengths": LENGTHS.astype(np.int8)}, PADDED),
        ({"mask": HOLES}, HOLES),
    ]:
        pooled = pool(YS, **given)
        np.testing.assert_allclose(pooled, plain(name, mask), rtol=1e-12, atol=1e-14)


def test_time_major_and_any_number_of_batch_axes_are_the_same_numbers():
    flipped = {"lengths": LENGTHS, "time_major": True}
    ys = YS.swapaxes(0, 1)
    np.testing.assert_array_equal(last_valid(ys, **flipped), POOLS["last"](YS, lengths=LENGTHS))
    np.testing.assert_array_equal(
        mean_valid(ys, mask=HOLES.T, time_major=True), mean_valid(YS, mask=HOLES)
    )
    np.testing.assert_array_equal(
        attention_pool(ys, SCORES.T, **flipped), attention_pool(YS, SCORES, lengths=LENGTHS)
    )
    np.testing.assert_allclose(mean_valid(YS[0]), YS[0].mean(0), rtol=1e-12)
    two = YS.reshape(2, 2, T, H)
    pooled = last_valid(two, lengths=LENGTHS.reshape(2, 2)).reshape(B, H)
    np.testing.assert_array_equal(pooled, last_valid(YS, lengths=LENGTHS))


# three examples in the first row, two in the second, none in the third; segment 3 is empty
SEGMENTS = np.array([[2, 2, 0, 1, 1], [4, 5, 5, 5, -1], [-1] * 5, [-1, 6, 6, -1, -1]])


@pytest.mark.parametrize("name", POOLS)
def test_segments_of_packed_rows_are_pooled_each_as_if_alone(name):
    def of(ys, scores, **given):
        if name == "attention":
            return attention_pool(ys, scores, **given)
        return POOLS[name](ys, **given)

    def loss(ys, scores, pool):
        pooled = pool(ys, scores)
        return (pooled**3).sum(), pooled

    def alone(ys, scores):
        return jnp.stack(
            [
                of(ys[mask.any(1)], scores[mask.any(1)], mask=mask[mask.any(1)])[0]
                if mask.any()
                else jnp.zeros(H)
                for mask in (segment == SEGMENTS for segment in range(8))
            ]
        )

    def packed(ys, scores, segments=SEGMENTS, **layout):
        return of(ys, scores, segments=segments, num_segments=8, **layout)

    gradient = jax.jit(jax.grad(loss, (0, 1), has_aux=True), static_argnums=2)
    ys = np.where(SEGMENTS[..., None] < 0, np.nan, YS)
    scores = np.where(SEGMENTS < 0, np.nan, SCORES)
    expected, result = gradient(YS, SCORES, alone), gradient(ys, scores, packed)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), result, expected)
    flipped = packed(ys.swapaxes(0, 1), scores.T, SEGMENTS.T, time_major=True)
    np.testing.assert_array_equal(flipped, expected[1])
    np.testing.assert_array_equal(jax.jit(packed)(ys, scores), expected[1])
    both = jax.jit(jax.vmap(packed))(np.stack([ys, 2 * ys]), np.stack([scores, scores]))
    np.testing.assert_allclose(both, np.stack([expected[1], 2 * expected[1]]), rtol=1e-12)
    forward = jax.jit(jax.jacfwd(packed, (0, 1)))(YS, SCORES)
    reverse = jax.jit(jax.jacrev(packed, (0, 1)))(YS, SCORES)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15), forward, reverse
    )


def test_no_steps_give_0():
    empty = np.zeros((2, 0, 3))
    for pooled in (last_valid(empty), mean_valid(empty), attention_pool(empty, empty[..., 0])):
        np.testing.assert_array_equal(pooled, np.zeros((2, 3)))


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_what_stands_at_steps_that_do_not_count_changes_no_value_and_no_gradient(name, bad):
    def loss(arrays, mask):
        ys, scores = arrays
        given = {"mask": mask}
        pooled = (
            attention_pool(ys, scores, **given) if name == "attention" else POOLS[name](ys, **given)
        )
        return (pooled**2).sum(), pooled

    gradient = jax.grad(loss, has_aux=True)
    for mask in (PADDED, HOLES):
        clean = gradient((jnp.asarray(YS), jnp.asarray(SCORES)), mask)
        ys = jnp.where(mask[..., None], YS, bad)
        dirty = gradient((ys, jnp.where(mask, SCORES, bad)), mask)
        jax.tree.map(np.testing.assert_array_equal, dirty, clean)
        assert not clean[0][0][~mask].any()


def test_the_gradient_of_the_attention_is_that_of_finite_differences():
    def loss(scores):
        return (attention_pool(YS, scores, mask=HOLES) ** 3).sum()

    check_grads(loss, (SCORES,), order=1, modes=["rev"], rtol=1e-6)


def test_scores_count_by_their_differences_however_large_they_are():
    expected = attention_pool(YS, SCORES)
    np.testing.assert_allclose(attention_pool(YS, SCORES + 1e4), expected, rtol=1e-9)
    np.testing.assert_allclose(attention_pool(YS, np.zeros((B, T))), mean_valid(YS), rtol=1e-12)
    sure = np.where(np.arange(T) == 2, 1e6, 0.0) * np.ones((B, 1))
    np.testing.assert_allclose(attention_pool(YS, sure), YS[:, 2], rtol=1e-12)


def test_sixteen_bits_are_summed_up_in_thirty_two():
    ones = jnp.ones((1, 4096, 1), jnp.bfloat16)
    assert last_valid(ones).dtype == jnp.bfloat16
    for pooled in (mean_valid(ones), attention_pool(ones, ones[..., 0])):
        assert pooled.dtype == jnp.float32
        np.testing.assert_allclose(pooled, 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: last_valid(YS[0, 0]), "ys must be floating [B, T, H], got float64 of shape (3,)"),
        (lambda: mean_valid(YS.astype(int)), "ys must be floating"),
        (lambda: last_valid(YS, lengths=[6, 0, 0, 0]), "lengths must lie in [0, 5]"),
        (lambda: last_valid(YS, lengths=LENGTHS[:2]), "lengths must be integers of shape (4,)"),
        (lambda: mean_valid(YS, lengths=LENGTHS, mask=HOLES), "give only one of them"),
        (lambda: mean_valid(YS, mask=HOLES.T), "mask must be bool of shape (4, 5)"),
        (lambda: attention_pool(YS, SCORES.T), "scores must be floating of shape (4, 5)"),
        (lambda: attention_pool(YS, HOLES), "got bool of shape (4, 5)"),
        (lambda: last_valid(YS, segments=SEGMENTS), "segments were given without num_segments"),
        (lambda: last_valid(YS, num_segments=3), "num_segments=3 was given without segments"),
        (
            lambda: mean_valid(YS, segments=SEGMENTS, num_segments=6),
            "segments must lie in [-1, 5], below num_segments, got 6 at index (3, 1)",
        ),
        (
            lambda: mean_valid(YS, segments=SEGMENTS.T, num_segments=8),
            "segments must be integers of shape (4, 5)",
        ),
        (
            lambda: mean_valid(YS, segments=SEGMENTS, num_segments=8, lengths=LENGTHS),
            "segments were given with lengths or a mask",
        ),
        (
            lambda: last_valid(YS, segments=SEGMENTS, num_segments=0),
            "num_segments must be a whole number of at least 1",
        ),
    ],
)
def test_bad_input_is_an_error_that_says_what_to_give(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011, the message is compared below
        call()
    assert message in str(error.value)
