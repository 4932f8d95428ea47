"""The exact losses, the data that has them, and both on tasks drawn at random."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from seqjax.tasks import BinaryDependency


def test_the_losses_of_the_article():
    task = BinaryDependency()
    expected = {(): 0.661563238158, (3,): 0.519166699707, (3, 8): 0.454454367449}
    for known, loss in expected.items():
        assert abs(task.expected_loss(known) - loss) < 1e-12


@st.composite
def tasks(draw):
    lags = draw(st.lists(st.integers(-9, 9), min_size=0, max_size=4, unique=True))
    changes = draw(st.lists(st.floats(-0.4, 0.4), min_size=len(lags), max_size=len(lags)))
    base = draw(st.floats(0, 1))
    assume(base + sum(c for c in changes if c > 0) <= 1)
    assume(base + sum(c for c in changes if c < 0) >= 0)
    return BinaryDependency(list(zip(lags, changes, strict=True)), base)


@settings(max_examples=100)
@given(tasks(), st.data())
def test_expected_loss_equals_the_sum_over_every_combination(task, data):
    lags = [lag for lag, _ in task.dependencies]
    known = data.draw(st.sets(st.sampled_from(lags))) if lags else set()
    by_known = {}
    for xs in itertools.product((0, 1), repeat=len(lags)):
        p = task.base_rate + sum(x * c for x, (_, c) in zip(xs, task.dependencies, strict=True))
        seen = tuple(x for x, lag in zip(xs, lags, strict=True) if lag in known)
        by_known.setdefault(seen, []).append(p)
    total = 0.0
    for ps in by_known.values():
        p = min(max(np.mean(ps), 0), 1)
        total -= sum(q * np.log(q) for q in (p, 1 - p) if q > 0) / len(by_known)
    assert abs(task.expected_loss(known) - total) < 1e-12
    if len(known) < len(lags):
        assert task.expected_loss(lags) <= task.expected_loss(known) + 1e-12


@pytest.mark.parametrize(
    "dependencies", [[(3, 0.5), (8, -0.25)], [(-4, 0.3), (3, -0.4)], [(0, 0.5)], []]
)
def test_the_ideal_predictor_has_the_expected_loss_on_data(dependencies):
    task = BinaryDependency(dependencies)
    n = 400_000
    xs, ys = (np.asarray(a) for a in task.sample(jax.random.key(0), n))
    for count in range(len(dependencies) + 1):
        known = [lag for lag, _ in dependencies[:count]]
        p = np.full(n, 0.5)
        for lag, change in dependencies:
            p += change * (np.array([xs[(t - lag) % n] for t in range(n)]) if lag in known else 0.5)
        losses = -np.log(np.where(ys == 1, p, 1 - p))
        error = losses.std() / np.sqrt(n)
        assert abs(losses.mean() - task.expected_loss(known)) < 4 * error + 1e-12


def test_expected_loss_is_exact_near_certainty():
    p = 5e-10
    exact = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    assert BinaryDependency([], p).expected_loss([]) == pytest.approx(exact, rel=1e-6)
    assert BinaryDependency([(1, 0.1), (2, 0.2)], 0.7).expected_loss([1, 2]) >= 0
    assert BinaryDependency([(np.int64(3), 0.5)]).dependencies == ((3, 0.5),)


def test_data_are_circular_and_fair():
    task = BinaryDependency([(2, 1.0)], base_rate=0.0)  # Y is X two steps ago
    xs, ys = task.sample(jax.random.key(1), 1000)
    np.testing.assert_array_equal(ys, np.roll(xs, 2))
    assert 400 < xs.sum() < 600
    again, other = (task.sample(jax.random.key(n), 1000)[0] for n in (1, 2))
    np.testing.assert_array_equal(again, xs)
    assert (other != xs).any()
    assert xs.dtype == ys.dtype == jnp.int32


def test_probabilities_of_a_batch():
    xs = jnp.array([[0, 1, 1], [1, 0, 0]])
    ps = BinaryDependency([(1, 0.5), (-1, -0.25)], 0.5).probabilities(xs)
    np.testing.assert_allclose(ps, [[0.75, 0.25, 1.0], [0.5, 1.0, 0.25]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([(3, 0.5), (8, 0.25)],), r"got 1.25 for X\[t-3\] = 1 and X\[t-8\] = 1"),
        (([(3, -0.6), (-2, 0.1)],), r"got -0.1 for X\[t-3\] = 1 and X\[t\+2\] = 0"),
        (([], 1.5), r"got 1.5 \(base_rate 1.5, dependencies \[\]\)"),
        (([(3, 0.1), (3, 0.1)],), "each lag must be given once"),
        (([(0.5, 0.1)],), r"pairs of a whole number \(lag\) and a number \(change\)"),
        (((3, 0.5),), "pairs of a whole number"),
        (([(3,)],), "pairs of a whole number"),
        (([(1, float("nan"))],), "must lie in"),
    ],
)
def test_bad_tasks_are_clear_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        BinaryDependency(*arguments)


def test_bad_calls_are_clear_errors():
    with pytest.raises(ValueError, match="known must be lags of this task"):
        BinaryDependency().expected_loss([4])
    with pytest.raises(ValueError, match="more than the longest lag, 8, got 8"):
        BinaryDependency().sample(jax.random.key(0), 8)
