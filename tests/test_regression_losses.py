"""The losses of real targets and counts against plain loops, and what must not change them."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from seqjax import losses

B, T, D = 3, 5, 2
RNG = np.random.default_rng(0)
MEAN = RNG.normal(size=(B, T, D))
LOG_DEVIATION = RNG.normal(size=(B, T, D))
TARGETS = RNG.normal(size=(B, T, D))
COUNTS = RNG.poisson(3.0, (B, T, D))
QUANTILES = (0.1, 0.5, 0.8)
PREDICTED_QUANTILES = RNG.normal(size=(B, T, D, 3))
LENGTHS = np.array([5, 0, 2])
WEIGHTS = RNG.uniform(size=(B, T)) * (RNG.uniform(size=(B, T)) > 0.3)


def pinball(predictions, target):
    total = 0.0
    for q, prediction in zip(QUANTILES, predictions, strict=True):
        total += (
            q * (target - prediction) if target > prediction else (1 - q) * (prediction - target)
        )
    return total / len(QUANTILES)


# of each loss: its arrays, and the loss of one feature as a plain function of numbers
CASES = {
    "squared_error": ((MEAN, TARGETS), lambda p, y: (p - y) ** 2),
    "absolute_error": ((MEAN, TARGETS), lambda p, y: abs(p - y)),
    "quantile_loss": ((PREDICTED_QUANTILES, TARGETS), pinball),
    "gaussian_loss": (
        (MEAN, LOG_DEVIATION, TARGETS),
        lambda m, s, y: -scipy.stats.norm.logpdf(y, m, math.exp(s)),
    ),
    "poisson_loss": ((MEAN, COUNTS), lambda r, k: -scipy.stats.poisson.logpmf(k, math.exp(r))),
}
NAMES = [*CASES]


def call(name, *arrays, **options):
    more = (QUANTILES,) if name == "quantile_loss" else ()
    return getattr(losses, name)(*arrays, *more, **options)


def plain_steps(name, feature_axes=1):
    """The loss of each step, by a plain loop over steps and features."""
    arrays, loss = CASES[name]
    steps = np.zeros((B, T))
    for b, t in itertools.product(range(B), range(T)):
        features = range(D if feature_axes else 1)
        steps[b, t] = np.mean([loss(*(array[b, t, d] for array in arrays)) for d in features])
    return steps


def plain_average(steps, weights, over_time, over_batch):
    if not (over_time or over_batch):
        return weights * steps
    axis = (0,) * over_batch + (1,) * over_time
    total = weights.sum(axis)
    return (weights * steps).sum(axis) / np.where(total == 0, 1, total)


def mask_of(masked):
    weights = {
        "none": np.ones((B, T)),
        "lengths": 1.0 * (np.arange(T) < LENGTHS[:, None]),
        "weights": WEIGHTS,
    }[masked]
    return weights, {"lengths": {"lengths": LENGTHS}, "weights": {"weights": WEIGHTS}}.get(
        masked, {}
    )


AVERAGES = list(itertools.product((False, True), repeat=2))
MASKS = ["none", "lengths", "weights"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize(("over_time", "over_batch"), AVERAGES)
@pytest.mark.parametrize("time_major", [False, True])
def test_equals_a_plain_loop(name, masked, over_time, over_batch, time_major):
    weights, given = mask_of(masked)
    arrays = CASES[name][0]
    if time_major:
        arrays = tuple(array.swapaxes(0, 1) for array in arrays)
        given = {key: value.T if key == "weights" else value for key, value in given.items()}
    found = call(
        name,
        *arrays,
        **given,
        average_over_time=over_time,
        average_over_batch=over_batch,
        time_major=time_major,
    )
    expected = plain_average(plain_steps(name), weights, over_time, over_batch)
    np.testing.assert_allclose(found.T if time_major else found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize(("over_time", "over_batch"), AVERAGES)
def test_masked_mean_equals_a_plain_mean(masked, over_time, over_batch):
    weights, given = mask_of(masked)
    values = MEAN[..., 0]
    averages = {"average_over_time": over_time, "average_over_batch": over_batch}
    expected = plain_average(values, weights, over_time, over_batch)
    found = losses.masked_mean(values, **given, **averages)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)
    given = {key: value.T if key == "weights" else value for key, value in given.items()}
    found = losses.masked_mean(values.T, **given, **averages, time_major=True)
    np.testing.assert_allclose(found.T, expected, rtol=1e-12, atol=1e-15)


def test_masked_mean_of_the_cross_entropies_of_steps_is_sequence_loss():
    logits, labels = jnp.asarray(PREDICTED_QUANTILES[:, :, 0]), RNG.integers(0, 3, (B, T))
    steps = losses.sequence_loss(logits, labels, average_over_time=False, average_over_batch=False)
    for (over_time, over_batch), masked in itertools.product(AVERAGES, MASKS):
        given = mask_of(masked)[1] | {
            "average_over_time": over_time,
            "average_over_batch": over_batch,
        }
        np.testing.assert_array_equal(
            losses.masked_mean(steps, **given), losses.sequence_loss(logits, labels, **given)
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_no_or_several_feature_and_batch_axes(name):
    arrays = CASES[name][0]
    steps = plain_steps(name)
    first = tuple(array[:, :, 0] for array in arrays)  # no feature axis
    alone = plain_steps(name, feature_axes=0)
    options = {"average_over_time": False, "average_over_batch": False}
    np.testing.assert_allclose(call(name, *first, feature_axes=0, **options), alone, atol=1e-12)
    # one axis of features as two
    split = tuple(array.reshape(B, T, 1, D, *array.shape[3:]) for array in arrays)
    np.testing.assert_allclose(call(name, *split, feature_axes=2, **options), steps, atol=1e-12)
    # no batch axis, and two
    one = tuple(array[0] for array in arrays)
    np.testing.assert_allclose(call(name, *one), steps[0].mean(), rtol=1e-12)
    two = tuple(array[None] for array in arrays)
    rows = call(name, *two, lengths=LENGTHS[None], average_over_batch=False)
    expected = plain_average(steps, mask_of("lengths")[0], True, False)
    np.testing.assert_allclose(rows, expected[None], rtol=1e-12, atol=1e-14)


def closed_form(name):
    """The gradient of each feature's loss with respect to each array that is predicted."""
    if name == "squared_error":
        return (2 * (MEAN - TARGETS),)
    if name == "absolute_error":
        return (np.sign(MEAN - TARGETS),)
    if name == "quantile_loss":
        share = np.array(QUANTILES)
        return (np.where(TARGETS[..., None] > PREDICTED_QUANTILES, -share, 1 - share) / 3,)
    if name == "gaussian_loss":
        z = (TARGETS - MEAN) / np.exp(LOG_DEVIATION)
        return -z / np.exp(LOG_DEVIATION), 1 - z**2
    return (np.exp(MEAN) - COUNTS,)


def gradient_of(name, derivative=jax.grad, **given):
    arrays = CASES[name][0]
    predicted = tuple(map(jnp.asarray, arrays[:-1]))
    return derivative(lambda predicted: call(name, *predicted, arrays[-1], **given))(predicted)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("masked", MASKS)
def test_the_gradient_is_that_of_the_closed_form(name, masked):
    weights, given = mask_of(masked)
    found = gradient_of(name, **given)
    for gradient, of_feature in zip(found, closed_form(name), strict=True):
        share = (weights / weights.sum() / D).reshape(B, T, *(1,) * (of_feature.ndim - 2))
        np.testing.assert_allclose(gradient, share * of_feature, rtol=1e-12, atol=1e-15)
    forward = gradient_of(name, jax.jacfwd, **given)
    for one, other in zip(found, forward, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["squared_error", "gaussian_loss", "poisson_loss"])
def test_the_derivative_in_a_direction_is_that_of_a_complex_step(name):
    h = 1e-30
    step = {
        "squared_error": lambda p, y: (p - y) ** 2,
        "gaussian_loss": lambda m, s, y: (y - m) ** 2 * np.exp(-2 * s) / 2 + s,
        "poisson_loss": lambda r, k: np.exp(r) - k * r,
    }[name]
    arrays = CASES[name][0]
    directions = tuple(RNG.normal(size=(B, T, D)) for _ in arrays[:-1])
    moved = (a + 1j * h * d for a, d in zip(arrays[:-1], directions, strict=True))
    expected = step(*moved, arrays[-1]).imag.mean() / h
    found = sum(
        (gradient * direction).sum()
        for gradient, direction in zip(gradient_of(name), directions, strict=True)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_stands_past_the_lengths_changes_no_value_and_no_gradient(name, dtype):
    padding = np.arange(T) >= LENGTHS[:, None]
    *predicted, targets = (array.astype(float) for array in CASES[name][0])  # targets stay float64

    def filled(array, fill):
        array = array.copy()
        array[:, :, 0] = np.where(
            padding.reshape(B, T, *(1,) * (array.ndim - 3)), fill, array[:, :, 0]
        )
        return array

    def value_and_grad(predicted, targets, **given):
        return jax.value_and_grad(lambda a: call(name, *a, targets, **given))(predicted)

    def forward(predicted, targets, **given):
        return jax.jacfwd(lambda a: call(name, *a, targets, **given))(predicted)

    compiled, compiled_forward = jax.jit(value_and_grad), jax.jit(forward)
    clean = [jnp.asarray(array, dtype) for array in predicted]
    expected = compiled(clean, targets, lengths=LENGTHS)
    tolerance = 1e-6 if dtype == np.float32 else 1e-13
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    # 200 and -200 are finite numbers whose exponential is not, in float32
    for fill in (np.nan, np.inf, -np.inf, 1e300, -1e300, 1e25, 200.0, -200.0):
        with np.errstate(over="ignore"):
            padded = [jnp.asarray(filled(array, fill).astype(dtype)) for array in predicted]
        given = padded, filled(targets, -fill)  # not the predictions, or the error would be 0
        for mask in ({"lengths": LENGTHS}, {"weights": 1.0 * ~padding}):
            jax.tree.map(np.testing.assert_array_equal, compiled(*given, **mask), expected)
            for one, other in zip(compiled_forward(*given, **mask), expected[1], strict=True):
                np.testing.assert_allclose(one, other, tolerance, tolerance)
        # not compiled, where the values of targets are checked and NumPy's are converted
        found = call(name, *padded, given[1], lengths=LENGTHS)
        np.testing.assert_allclose(found, expected[0], tolerance)


@pytest.mark.parametrize("fill", [np.nan, np.inf, 1e300])
def test_masked_mean_ignores_values_without_a_weight(fill):
    padding = np.arange(T) >= LENGTHS[:, None]
    values = jnp.asarray(np.where(padding, fill, MEAN[..., 0]))
    found = jax.value_and_grad(losses.masked_mean)(values, lengths=LENGTHS)
    expected = jax.value_and_grad(losses.masked_mean)(jnp.asarray(MEAN[..., 0]), lengths=LENGTHS)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("name", NAMES)
def test_the_derivative_with_respect_to_a_weight_is_right_at_0(name):
    arrays = CASES[name][0]
    found = jax.grad(lambda weights: call(name, *arrays, weights=weights))(jnp.asarray(WEIGHTS))
    steps, total = plain_steps(name), WEIGHTS.sum()
    expected = (steps - (WEIGHTS * steps).sum() / total) / total
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_empty_rows_has_no_loss_and_no_gradient(name):
    assert call(name, *CASES[name][0], lengths=np.zeros(B, int)) == 0
    for gradient in gradient_of(name, lengths=np.zeros(B, int)):
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_sixteen_bits_are_summed_up_in_thirty_two(name, dtype):
    rows, steps = 64, 400
    arrays = [jnp.ones((rows, steps, *array.shape[2:]), dtype) for array in CASES[name][0]]
    arrays[-1] = 3 * arrays[-1]
    loss = call(name, *arrays)
    assert loss.dtype == jnp.float32
    one = {
        "squared_error": 4,
        "absolute_error": 2,
        "quantile_loss": 2 * np.mean(QUANTILES),
        "gaussian_loss": -scipy.stats.norm.logpdf(3, 1, np.e),
        "poisson_loss": -scipy.stats.poisson.logpmf(3, np.e),
    }[name]
    np.testing.assert_allclose(loss, one, rtol=1e-5)
    assert losses.masked_mean(arrays[0][..., 0].reshape(rows, -1)).dtype == jnp.float32


def test_sixteen_bit_predictions_are_not_compared_in_sixteen_bits():
    # 2049 is no float16: rounded to it, the error would be 0
    target = np.full((1, 1, 1), 2049.0, np.float32)
    assert losses.squared_error(jnp.full((1, 1, 1), 2048.0, jnp.float16), target) == 1


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.73])
def test_the_quantile_loss_is_lowest_at_the_empirical_quantile(quantile):
    sample = RNG.normal(size=301)
    targets = jnp.asarray(sample)[:, None]

    def loss(prediction):
        predictions = jnp.full((301, 1, 1), prediction)
        return losses.quantile_loss(predictions, targets, (quantile,))

    candidates = np.sort(sample)
    found = candidates[np.argmin(jax.vmap(loss)(jnp.asarray(candidates)))]
    np.testing.assert_equal(found, np.quantile(sample, quantile, method="inverted_cdf"))


def test_the_quantile_loss_of_the_median_is_half_the_absolute_error():
    median = losses.quantile_loss(MEAN[..., None], TARGETS, [0.5], lengths=LENGTHS)
    half = losses.absolute_error(MEAN, TARGETS, lengths=LENGTHS) / 2
    np.testing.assert_allclose(median, half, rtol=1e-14)


def test_quantiles_may_be_an_array_of_numpy():
    found = losses.quantile_loss(PREDICTED_QUANTILES, TARGETS, np.array(QUANTILES))
    assert found == losses.quantile_loss(PREDICTED_QUANTILES, TARGETS, QUANTILES)


def test_a_rate_of_0_is_possible_and_predicts_the_count_0():
    log_rate = jnp.full((1, 2, 1), -jnp.inf)
    targets = np.array([[[0], [2]]])
    found = losses.poisson_loss(
        log_rate, targets, average_over_time=False, average_over_batch=False
    )
    np.testing.assert_array_equal(found, [[0, np.inf]])
    gradient = jax.grad(lambda r: losses.poisson_loss(r, targets))(log_rate)
    np.testing.assert_array_equal(gradient, [[[0], [-1]]])


@pytest.mark.parametrize("count", [-1.0, 0.5, np.nan, np.inf])
def test_a_target_that_is_no_count_is_nan_where_it_cannot_be_an_error(count):
    targets = jnp.asarray(COUNTS, float).at[0, 0, 0].set(count)
    assert jnp.isnan(jax.jit(losses.poisson_loss)(jnp.asarray(MEAN), targets))


def test_counts_are_integers_or_floats_of_any_width():
    expected = losses.poisson_loss(MEAN, COUNTS)
    for dtype in (np.uint8, np.int32, np.uint64, np.float32, jnp.bfloat16, np.float64):
        assert losses.poisson_loss(MEAN, COUNTS.astype(dtype)) == expected


@pytest.mark.parametrize("count", [1e3, 1e4])
def test_the_error_of_large_counts_in_float32_is_as_documented(count):
    counts = RNG.poisson(count, (1, 1000))
    log_rate = np.full((1, 1000), np.log(count), np.float32)
    options = {"feature_axes": 0, "average_over_time": False, "average_over_batch": False}
    found = np.asarray(losses.poisson_loss(log_rate, counts, **options), float)
    expected = -scipy.stats.poisson.logpmf(counts, np.exp(log_rate.astype(float)))
    assert np.abs(found - expected).max() < {1e3: 0.002, 1e4: 0.03}[count]


ONES = np.ones((B, T, D))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("masked_mean", {"values": np.ones((B, T), int)}, r"values must be floating \[B, T\], got "
         r"int64 of shape \(3, 5\); convert other numbers with values.astype"),
        ("masked_mean", {"values": np.float64(1)}, "values must be floating"),
        ("masked_mean", {"values": ONES[..., 0], "weights": np.ones(T)}, r"weights must have shape "
         r"\(3, 5\), the batch and time axes of the values"),
        ("squared_error", {"predictions": ONES.astype(int)}, r"predictions must be floating "
         r"\[B, T, D\] for feature_axes=1, got int64 of shape \(3, 5, 2\)"),
        ("squared_error", {"predictions": np.ones(2)}, "predictions must be floating"),
        ("squared_error", {"feature_axes": 3}, r"floating \[B, T, \*D\] for feature_axes=3"),
        ("squared_error", {"feature_axes": -1}, "feature_axes must be a whole number of at"),
        ("squared_error", {"feature_axes": True}, "feature_axes must be a whole number"),
        ("squared_error", {"targets": ONES[..., 0]}, r"targets must be real numbers of shape "
         r"\(3, 5, 2\), that of the predictions, got float64 of shape \(3, 5\); reshape"),
        ("squared_error", {"targets": ONES > 0}, "targets must be real numbers .* got bool"),
        ("squared_error", {"targets": 1j * ONES}, "targets must be real numbers .* got complex"),
        ("squared_error", {"predictions": ONES[..., :0], "targets": ONES[..., :0]}, "at least one"),
        ("squared_error", {"lengths": LENGTHS + 1}, r"lengths must lie in \[0, 5\]"),
        ("squared_error", {"lengths": LENGTHS, "weights": WEIGHTS}, "were both given"),
        ("squared_error", {"weights": np.ones(T)}, "axes of the predictions"),
        ("squared_error", {"average_over_time": 1}, "squared_error: average_over_time must be"),
        ("squared_error", {"time_major": None}, "squared_error: time_major must be True or False"),
        ("absolute_error", {"targets": ONES[:, 1:]}, "targets must be real numbers of shape"),
        ("quantile_loss", {"quantiles": (0.5, 0.1, 0.9)}, r"quantiles must be ascending numbers in "
         r"\(0, 1\), such as \(0.1, 0.5, 0.9\), got \(0.5, 0.1, 0.9\)"),
        ("quantile_loss", {"quantiles": (0.5, 0.5, 0.9)}, "quantiles must be ascending"),
        ("quantile_loss", {"quantiles": (0.0, 0.5, 0.9)}, "quantiles must be ascending"),
        ("quantile_loss", {"quantiles": (0.1, 0.5, 1)}, "quantiles must be ascending"),
        ("quantile_loss", {"quantiles": (0.1, np.nan, 0.9)}, "quantiles must be ascending"),
        ("quantile_loss", {"quantiles": ()}, "quantiles must be ascending"),
        ("quantile_loss", {"quantiles": 0.5}, "quantiles must be ascending"),
        ("quantile_loss", {"quantiles": "0.5"}, "quantiles must be ascending"),
        ("quantile_loss", {"quantiles": (0.1, 0.9)}, r"predictions must be floating \[B, T, D, 2\] "
         r"for feature_axes=1 and 2 quantiles, got float64 of shape \(3, 5, 2, 3\)"),
        ("quantile_loss", {"targets": PREDICTED_QUANTILES}, r"shape \(3, 5, 2\), that of the "
         "predictions without the quantiles"),
        ("gaussian_loss", {"log_deviation": ONES[..., :1]}, r"log_deviation must be floating of "
         r"shape \(3, 5, 2\), that of the mean, .*broadcast_to"),
        ("gaussian_loss", {"log_deviation": ONES.astype(int)}, "log_deviation must be floating"),
        ("gaussian_loss", {"mean": "abc"}, "mean must be an array of numbers"),
        ("poisson_loss", {"targets": COUNTS - 9}, "targets must be whole numbers of at least 0, "
         r"the counts, got -\d at index \(0, 0, 0\); shorten lengths, or give weights of 0"),
        ("poisson_loss", {"targets": COUNTS + 0.5}, "targets must be whole numbers"),
        ("poisson_loss", {"targets": np.nan * COUNTS}, "targets must be whole numbers .* got nan"),
        ("poisson_loss", {"targets": np.inf * ONES}, "targets must be whole numbers .* got inf"),
    ],
)  # fmt: skip
def test_bad_input_is_a_clear_error(name, changes, message):
    valid = {
        "masked_mean": {"values": ONES[..., 0]},
        "squared_error": {"predictions": MEAN, "targets": TARGETS},
        "absolute_error": {"predictions": MEAN, "targets": TARGETS},
        "quantile_loss": {
            "predictions": PREDICTED_QUANTILES,
            "targets": TARGETS,
            "quantiles": QUANTILES,
        },
        "gaussian_loss": {"mean": MEAN, "log_deviation": LOG_DEVIATION, "targets": TARGETS},
        "poisson_loss": {"log_rate": MEAN, "targets": COUNTS},
    }[name]
    with pytest.raises(ValueError, match=message):
        getattr(losses, name)(**valid | changes)
