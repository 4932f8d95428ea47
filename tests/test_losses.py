"""`sequence_loss` against a plain loop, and what must not change it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax import sequence_loss

B, T, V = 3, 5, 4
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(B, T, V))
TARGETS = RNG.integers(0, V, (B, T))
TARGETS[:, 0] = 0  # class 0 is a class like any other
LENGTHS = np.array([5, 0, 2])


def plain(weights, average_over_time, average_over_batch, smoothing=0.0):
    losses = np.zeros((B, T))
    for b, t in itertools.product(range(B), range(T)):
        p = np.exp(LOGITS[b, t]) / np.exp(LOGITS[b, t]).sum()
        for v in range(V):
            share = smoothing / V + (1 - smoothing) * (v == TARGETS[b, t])
            losses[b, t] -= weights[b, t] * share * np.log(p[v])
    axes = {(True, True): (0, 1), (True, False): (1,), (False, True): (0,)}
    if not (average_over_time or average_over_batch):
        return losses
    axis = axes[average_over_time, average_over_batch]
    total = weights.sum(axis)
    return losses.sum(axis) / np.where(total == 0, 1, total)


@pytest.mark.parametrize("time_major", [False, True])
@pytest.mark.parametrize("over_time", [False, True])
@pytest.mark.parametrize("over_batch", [False, True])
@pytest.mark.parametrize("masked", ["none", "lengths", "weights"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_equals_a_plain_loop(over_time, over_batch, masked, time_major, smoothing):
    weights = {
        "none": np.ones((B, T)),
        "lengths": 1.0 * (np.arange(T) < LENGTHS[:, None]),
        "weights": RNG.uniform(size=(B, T)),
    }[masked]
    given = {"lengths": {"lengths": LENGTHS}, "weights": {"weights": weights}}.get(masked, {})
    logits, targets = LOGITS, TARGETS
    if time_major:
        logits, targets = logits.swapaxes(0, 1), targets.T
        given = {k: v.T if k == "weights" else v for k, v in given.items()}
    loss = sequence_loss(
        logits,
        targets,
        average_over_time=over_time,
        average_over_batch=over_batch,
        time_major=time_major,
        label_smoothing=smoothing,
        **given,
    )
    expected = plain(weights, over_time, over_batch, smoothing)
    np.testing.assert_allclose(loss.T if time_major else loss, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.1, 0.9])
def test_smoothed_value_and_gradient_equal_those_of_optax(smoothing):
    weights = RNG.uniform(size=(B, T))
    labels = optax.smooth_labels(jax.nn.one_hot(TARGETS, V, dtype=jnp.float64), smoothing)

    def reference(logits):
        return (weights * optax.softmax_cross_entropy(logits, labels)).sum() / weights.sum()

    def ours(logits):
        return sequence_loss(logits, TARGETS, weights=weights, label_smoothing=smoothing)

    for found, wanted in zip(
        jax.value_and_grad(ours)(jnp.asarray(LOGITS)),
        jax.value_and_grad(reference)(jnp.asarray(LOGITS)),
        strict=True,
    ):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
    # the gradient in closed form: softmax minus the smoothed labels
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    expected = weights[..., None] * (p - np.asarray(labels)) / weights.sum()
    np.testing.assert_allclose(jax.grad(ours)(jnp.asarray(LOGITS)), expected, atol=1e-15)


def test_no_smoothing_is_the_same_program():
    given = jnp.asarray(LOGITS, jnp.float32), TARGETS
    plain_program = jax.make_jaxpr(sequence_loss)(*given)
    smoothed = jax.make_jaxpr(lambda *a: sequence_loss(*a, label_smoothing=0))(*given)
    assert str(smoothed) == str(plain_program)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_what_stands_past_the_lengths_changes_no_value_and_no_gradient(smoothing):
    def loss_of(*arguments, **given):
        return sequence_loss(*arguments, label_smoothing=smoothing, **given)

    padding = np.arange(T) >= LENGTHS[:, None]
    clean = jax.value_and_grad(loss_of)(jnp.asarray(LOGITS), TARGETS, lengths=LENGTHS)
    logits = jnp.where(padding[..., None], jnp.nan, LOGITS)
    targets = np.where(padding, -99, TARGETS)
    for given in ({"lengths": LENGTHS}, {"weights": 1.0 * ~padding}):
        loss, grads = jax.value_and_grad(loss_of)(logits, targets, **given)
        np.testing.assert_array_equal(loss, clean[0])
        np.testing.assert_array_equal(grads, clean[1])


@pytest.mark.parametrize("huge", [3e38, 8e37])
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
def test_what_is_huge_past_the_lengths_overflows_nothing(huge, smoothing):
    logits = np.array([[[1.0, 2.0, 1.5], [huge, -huge, -huge]]], np.float32)
    value, grads = jax.value_and_grad(sequence_loss)(
        jnp.asarray(logits),
        np.array([[1, 1]]),
        lengths=np.array([1]),
        label_smoothing=smoothing,
    )
    total = np.log(np.exp(logits[0, 0]).sum())
    np.testing.assert_allclose(value, total - 2 + smoothing / 2, rtol=1e-6)
    assert jnp.isfinite(grads).all()


def test_sixteen_bits_are_summed_up_in_thirty_two():
    for dtype in (jnp.float16, jnp.bfloat16):
        loss = sequence_loss(jnp.zeros((256, 300, 4), dtype), np.zeros((256, 300), int))
        assert loss.dtype == jnp.float32
        np.testing.assert_allclose(loss, np.log(4), rtol=1e-6)


def test_a_target_that_is_no_class_is_nan_where_it_cannot_be_an_error():
    for target in (-1, V):
        targets = jnp.asarray(TARGETS).at[0, 0].set(target)
        assert jnp.isnan(jax.jit(sequence_loss)(jnp.asarray(LOGITS), targets))


def test_a_batch_of_empty_rows_has_no_loss():
    assert sequence_loss(LOGITS, TARGETS, lengths=np.zeros(B, int)) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"logits": np.zeros((B, T, V), int)}, "logits must be floating"),
        ({"logits": np.zeros(V)}, r"logits must be floating \[B, T, V\], got float64 of shape"),
        ({"targets": TARGETS[:, :-1]}, r"targets must be integers of shape \(3, 5\)"),
        ({"targets": 1.0 * TARGETS}, "targets must be integers"),
        ({"targets": TARGETS + V}, r"targets must lie in \[0, 3\]"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be a probability in \[0, 1\), got 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing must be a probability"),
        ({"weights": np.ones(T)}, r"weights must have shape \(3, 5\)"),
        ({"lengths": LENGTHS + 1}, r"lengths must lie in \[0, 5\]"),
        ({"lengths": LENGTHS, "weights": np.ones((B, T))}, "lengths and weights were both given"),
    ],
)
def test_bad_input_is_a_clear_error(changes, message):
    with pytest.raises(ValueError, match=message):
        sequence_loss(**{"logits": LOGITS, "targets": TARGETS, **changes})
