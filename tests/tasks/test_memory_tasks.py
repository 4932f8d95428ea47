"""What the memory tasks ask, against plain loops, and their chance levels, against data."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.tasks import Adding, AssociativeRecall, Copy, DelayedParity

N = 20_000
CASES = {
    "adding": (Adding(), 7),
    "copy": (Copy(symbols=3, count=2), 4),
    "parity": (DelayedParity(delay=2), 5),
    "parity_every_step": (DelayedParity(delay=2, every_step=True), 5),
    "recall": (AssociativeRecall(keys=4, values=3), 3),
}


@functools.cache
def draw(name):
    """A batch of N examples as NumPy arrays."""
    task, length = CASES[name]
    sample = jax.jit(jax.vmap(lambda key: task.sample(key, length)))
    return jax.tree.map(np.asarray, sample(jax.random.split(jax.random.key(0), N)))


def near(counts, probability):
    """Whether each of ``counts``, out of their sum, is within 5 standard errors of its share."""
    n, p = counts.sum(), probability
    return (np.abs(counts / n - p) < 5 * np.sqrt(p * (1 - p) / n)).all()


def answers(name):
    """The targets at the steps that ask."""
    example = draw(name)
    return example.targets[example.weights == 1]


@pytest.mark.parametrize("name", CASES)
def test_dtypes_shapes_and_tokens_that_are_in_range(name):
    task, _ = CASES[name]
    inputs, targets, weights = draw(name)
    assert targets.shape == weights.shape == inputs.shape[:2]
    assert set(np.unique(weights)) <= {0.0, 1.0}
    assert weights.dtype == np.float32
    if name == "adding":
        assert inputs.shape[2:] == (task.input_size,)
        assert inputs.dtype == targets.dtype == np.float32
    else:
        assert inputs.dtype == targets.dtype == np.int32
        assert set(np.unique(inputs)) == set(range(task.input_size))  # all of them occur
        assert set(np.unique(answers(name))) == set(range(task.output_size))


@pytest.mark.parametrize("name", CASES)
def test_the_best_that_sees_nothing_has_the_loss_of_chance(name):
    task, _ = CASES[name]
    example = draw(name)
    if name == "adding":  # no constant beats the mean, whose loss is the variance
        errors = (answers(name).astype(np.float64) - 1) ** 2
        assert abs(errors.mean() - task.chance) < 5 * errors.std() / np.sqrt(N)
        ones = task.loss(jnp.ones((*example.targets.shape, 1)), example)
        np.testing.assert_allclose(ones, errors.mean(), rtol=1e-6)
        grid = (np.arange(400) + 0.5) / 400  # the integral over the unit square
        exact = ((grid[:, None] + grid - 1) ** 2).mean()
        assert task.chance == pytest.approx(exact, abs=1e-5)
    else:  # all answers are as likely, so that no guess beats the uniform one
        assert near(np.bincount(answers(name)), 1 / task.output_size)
        logits = jnp.zeros((*example.targets.shape, task.output_size))
        assert float(task.loss(logits, example)) == pytest.approx(task.chance, abs=1e-12)
        assert task.chance == pytest.approx(math.log(task.output_size))


@pytest.mark.parametrize("name", CASES)
def test_who_knows_all_answers_has_the_loss_of_the_optimum(name):
    task, _ = CASES[name]
    example = draw(name)
    if name == "adding":
        outputs = jnp.asarray(example.targets)[..., None]
    else:
        outputs = 1000.0 * jax.nn.one_hot(example.targets, task.output_size)
    assert float(task.loss(outputs, example)) == task.optimum == 0
    noise = 1000 * (1 - jnp.asarray(example.weights, outputs.dtype))[..., None]
    assert float(task.loss(outputs + noise, example)) == 0  # other steps do not count


def test_adding_marks_one_step_of_each_half_and_asks_for_their_sum():
    inputs, targets, weights = draw("adding")
    values, marks = inputs[..., 0], inputs[..., 1]
    assert near(marks[:, :3].sum(0), 1 / 3)
    assert near(marks[:, 3:].sum(0), 1 / 4)
    np.testing.assert_array_equal(marks.sum(1), 2)
    for n in range(100):
        first, second = np.flatnonzero(marks[n])
        assert first < 3 <= second
        assert targets[n, -1] == pytest.approx(values[n, first] + values[n, second])
    np.testing.assert_array_equal(weights, [[0] * 6 + [1]] * N)
    assert not targets[:, :-1].any()
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 5 * math.sqrt(1 / 12 / values.size)


def test_copy_gives_the_symbols_back_after_the_signal():
    inputs, targets, weights = draw("copy")
    symbols, blank, signal = 3, 3, 4
    for n in range(100):
        kept = [*inputs[n, :2]]
        assert max(kept) < symbols
        assert [*inputs[n, 2:]] == [blank, blank, blank, signal, blank, blank]
        assert [*targets[n, -2:]] == kept
        assert [*weights[n]] == [0, 0, 0, 0, 0, 0, 1, 1]
    pairs = symbols * inputs[:, 0] + inputs[:, 1]  # independent of each other
    assert near(np.bincount(pairs), 1 / 9)


def test_parity_of_the_coins_so_far():
    inputs, targets, weights = draw("parity")
    for n in range(100):
        odd = False
        for t in range(7):
            assert inputs[n, t] in ((0, 1) if t < 5 else (2,))
            odd ^= bool(inputs[n, t] == 1)
            assert targets[n, t] == odd
    np.testing.assert_array_equal(weights, [[0] * 6 + [1]] * N)
    assert draw("parity_every_step").weights.all()
    assert near(np.bincount(inputs[:, :5].ravel()), 1 / 2)


def test_whoever_lacks_one_coin_is_at_chance_of_parity():
    for length in range(1, 8):
        rest_to_parities = {}
        for coins in itertools.product((0, 1), repeat=length):
            for missing in range(length):
                known = (missing, coins[:missing], coins[missing + 1 :])
                rest_to_parities.setdefault(known, []).append(sum(coins) % 2)
        assert all(sorted(parities) == [0, 1] for parities in rest_to_parities.values())


def test_recall_asks_for_the_value_behind_one_of_the_keys():
    inputs, targets, weights = draw("recall")
    keys, values, asked = inputs[:, 0:6:2], inputs[:, 1:6:2], inputs[:, 6]
    assert keys.min() >= 3
    assert values.max() < 3
    for n in range(100):
        assert len({*keys[n]}) == 3
        assert targets[n, 6] == dict(zip(keys[n], values[n], strict=True))[asked[n]]
    np.testing.assert_array_equal(weights, [[0] * 6 + [1]] * N)
    assert near((keys == asked[:, None]).sum(0), 1 / 3)  # each place is asked for as often
    cells = np.bincount(3 * (asked - 3) + targets[:, 6])  # the key alone tells nothing
    assert near(cells, 1 / 12)


@pytest.mark.parametrize(("values", "length"), [(3, 1), (3, 4), (2, 5), (1, 3)])
def test_the_loss_of_values_without_their_keys_is_a_mean_over_all_of_them(values, length):
    losses = []
    for example in itertools.product(range(values), repeat=length):
        losses += [-math.log(example.count(value) / length) for value in example]
    exact = AssociativeRecall(values=values).values_alone(length)
    assert exact == pytest.approx(np.mean(losses), abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_a_sample_follows_from_its_key(name):
    task, length = CASES[name]
    keys = jax.random.split(jax.random.key(0), N)
    alone = task.sample(keys[3], length)
    for mine, batched in zip(alone, draw(name), strict=True):
        np.testing.assert_array_equal(mine, batched[3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Copy(symbols=0), "symbols must be a whole number of at least 1, got 0"),
        (lambda: Copy(count=1.5), "count must be a whole number"),
        (lambda: DelayedParity(delay=-1), "delay must be a whole number of at least 0, got -1"),
        (lambda: DelayedParity(delay=0.5), "delay must be a whole number"),
        (lambda: AssociativeRecall(keys=0), "keys must be a whole number"),
        (lambda: AssociativeRecall(values=0), "values must be a whole number"),
    ],
)
def test_bad_tasks_are_clear_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("task", "length", "message"),
    [
        (Adding(), 1, "length must be at least 2, for two marks, got 1"),
        (Copy(), 0, "length must be a whole number of at least 1, got 0"),
        (DelayedParity(), 0, "length must be a whole number of at least 1, got 0"),
        (AssociativeRecall(keys=4), 5, "length must be at most keys=4, .* got 5"),
        (AssociativeRecall(), 0, "length must be a whole number of at least 1, got 0"),
    ],
)
def test_bad_lengths_are_clear_errors(task, length, message):
    with pytest.raises(ValueError, match=message):
        task.sample(jax.random.key(0), length)
