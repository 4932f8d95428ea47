"""The answers of tasks from sequence to sequence against plain Python, and their chance levels."""

import collections
import fractions
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.tasks import Addition, Reversal, SequencePair, Sorting

N = 4000
LONGEST = 6
TASKS = {"reversal": Reversal(symbols=4), "sorting": Sorting(symbols=4), "addition": Addition()}


@functools.cache
def draw(name, length=None, max_length=LONGEST, count=N):
    """A batch as NumPy arrays."""
    sample = jax.jit(jax.vmap(lambda key: TASKS[name].sample(key, max_length, length)))
    return jax.tree.map(np.asarray, sample(jax.random.split(jax.random.key(0), count)))


def rows(pair):
    """The valid tokens of each source and target, as lists."""
    for source, n, target, m in zip(*pair, strict=True):
        yield source[:n].tolist(), target[:m].tolist()


def spelled(tokens):
    return "".join("0123456789+"[token] for token in tokens)


def plain_answer(name, source):
    if name == "reversal":
        return source[::-1]
    if name == "sorting":
        return sorted(source)
    first, second = spelled(source).split("+")
    return [int(digit) for digit in str(int(first) + int(second))]


def near(count, n, p):
    """Whether ``count`` of ``n`` is within 5 standard errors of the share ``p``."""
    return abs(count / n - p) < 5 * np.sqrt(p * (1 - p) / n)


@pytest.mark.parametrize("name", TASKS)
def test_answers_equal_plain_python(name):
    for source, target in rows(draw(name)):
        assert target == plain_answer(name, source)


@pytest.mark.slow
def test_sums_are_exact_beyond_the_integers_of_any_dtype():
    for source, target in rows(draw("addition", 30, 30, 200)):
        assert target == plain_answer("addition", source)
    for text in ("9" * 40 + "+1", "0+0", "1+" + "9" * 40, "5+95", "007+0003"):
        task, source = TASKS["addition"], TASKS["addition"].tokens(text)
        found = task.text(*task.answer(source, len(source)))
        assert found == str(sum(map(int, text.split("+"))))


@pytest.mark.parametrize("name", TASKS)
def test_shapes_dtypes_and_padding(name):
    task, pair = TASKS[name], draw(name)
    assert all(part.dtype == np.int32 for part in pair)
    size = 2 * LONGEST + 1 if name == "addition" else LONGEST
    answer = LONGEST + 1 if name == "addition" else LONGEST
    assert pair.sources.shape == (N, size)
    assert pair.targets.shape == (N, answer + 1)
    steps = np.arange(size)
    assert not pair.sources[steps >= pair.source_lengths[:, None]].any()
    past = np.arange(answer + 1) >= pair.target_lengths[:, None]
    assert (pair.targets[past] == task.end).all()
    assert set(np.unique(pair.targets[~past])) == set(range(task.answer_size))
    assert set(np.unique(pair.sources)) == set(range(task.source_size))
    assert (task.start, task.end, task.target_size) == (
        task.answer_size, task.answer_size + 1, task.answer_size + 2,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["reversal", "sorting"])
def test_lengths_and_symbols_are_uniform(name):
    pair = draw(name)
    assert all(near(count, N, 1 / LONGEST) for count in np.bincount(pair.source_lengths)[1:])
    inside = np.arange(LONGEST) < pair.source_lengths[:, None]
    counts = np.bincount(pair.sources[inside])
    assert all(near(count, counts.sum(), 1 / 4) for count in counts)
    exact = draw(name, 4)
    assert (exact.source_lengths == 4).all()
    assert exact.sources.shape == pair.sources.shape


def test_numbers_have_uniform_lengths_and_digits():
    texts = [spelled(source).split("+") for source, _ in rows(draw("addition", 3))]
    sizes = collections.Counter((len(first), len(second)) for first, second in texts)
    assert all(near(sizes[3, n], N, 1 / 6) and near(sizes[n, 3], N, 1 / 6) for n in (1, 2))
    assert near(sizes[3, 3], N, 1 / 3)
    numbers = [number for pair in texts for number in pair]
    assert not any(len(number) > 1 and number[0] == "0" for number in numbers)
    for size, place in ((1, 0), (2, 0), (3, 0), (3, 1), (3, 2)):
        digits = [int(number[place]) for number in numbers if len(number) == size]
        kinds = range(1 if size > 1 and place == 0 else 0, 10)
        counts = np.bincount(digits, minlength=10)
        assert all(near(counts[digit], len(digits), 1 / len(kinds)) for digit in kinds)


def answers_of(name, length):
    """All answers to one length with their exact probabilities."""
    found = collections.Counter()
    if name != "addition":
        for source in itertools.product(range(4), repeat=length):
            found[tuple(plain_answer(name, list(source)))] += fractions.Fraction(1, 4**length)
        return found
    longer = range(10 ** (length - 1) if length > 1 else 0, 10**length)
    for size in range(1, length + 1):
        other = range(10 ** (size - 1) if size > 1 else 0, 10**size)
        weight = fractions.Fraction(1, length * len(longer) * len(other))
        for first, second in itertools.product(longer, other):
            found[first + second] += weight
    return found


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("name", TASKS)
def test_chance_is_the_probability_of_the_most_probable_answer(name, length):
    if name == "addition" and length == 3:
        length = 2  # a million sums take seconds
    answers = answers_of(name, length)
    assert sum(answers.values()) == 1
    assert TASKS[name].chance(length) == pytest.approx(float(max(answers.values())), rel=1e-12)


@pytest.mark.slow
def test_chance_of_sums_of_three_digits():
    best = max(answers_of("addition", 3).values())
    assert Addition().chance(3) == pytest.approx(float(best), rel=1e-12)


def test_chance_of_long_sequences_does_not_overflow():
    assert Reversal(4).chance(10_000) == Addition().chance(10_000) == 0
    # by Stirling's formula, for 4 symbols
    assert Sorting(4).chance(10**6) == pytest.approx(2 / (np.pi * 10**6 / 2) ** 1.5, rel=1e-5)


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_its_rows_and_an_exact_length_may_be_traced(name):
    task, keys = TASKS[name], jax.random.split(jax.random.key(0), N)
    alone = task.sample(keys[3], LONGEST)
    jax.tree.map(lambda one, all_: np.testing.assert_array_equal(one, all_[3]), alone, draw(name))
    sample = jax.jit(jax.vmap(lambda key, n: task.sample(key, LONGEST, n)))
    found = sample(keys[:3], jnp.array([1, 4, LONGEST]))
    for n, length in enumerate((1, 4, np.int64(LONGEST))):
        wanted = task.sample(keys[n], LONGEST, length)
        jax.tree.map(lambda f, w: np.testing.assert_array_equal(f[n], w), found, wanted)  # noqa: B023


@pytest.mark.parametrize("name", TASKS)
def test_answer_takes_any_batch_axes_and_ignores_padding(name):
    task, pair = TASKS[name], draw(name)
    steps = np.arange(pair.sources.shape[1])
    dirty = np.where(steps < pair.source_lengths[:, None], pair.sources, -7)
    for sources in (pair.sources, dirty):
        targets, lengths = task.answer(
            sources[:6].reshape(2, 3, -1), pair.source_lengths[:6].reshape(2, 3)
        )
        assert targets.shape == (2, 3, len(steps) + 1)
        size = pair.targets.shape[1]
        np.testing.assert_array_equal(targets[..., :size].reshape(6, -1), pair.targets[:6])
        np.testing.assert_array_equal(lengths.ravel(), pair.target_lengths[:6])
        assert (np.asarray(targets[..., size:]) == task.end).all()


def test_success_counts_rows_that_equal_their_target():
    task = Reversal(symbols=4)
    pair = jax.vmap(lambda key: task.sample(key, 5, 3))(jax.random.split(jax.random.key(1), 4))
    tokens, lengths = np.array(pair.targets), np.array(pair.target_lengths)
    assert float(task.success(tokens, lengths, pair)) == 1
    assert task.success(tokens, lengths, pair).dtype == jnp.float32
    tokens[0, 1] += 1  # another symbol
    lengths[1] = 2  # a prefix of the target
    lengths[2] = 4  # more than the target
    tokens[3, 3:] = 0  # past the length
    np.testing.assert_array_equal(task.matches(tokens, lengths, pair), [False, False, False, True])
    assert float(task.success(tokens, lengths, pair)) == 0.25
    for size in (3, 4, 9):  # shorter and longer arrays than those of the target
        wide = np.zeros((4, size), np.int32)
        wide[:, :3] = pair.targets[:, :3]
        assert float(task.success(wide, np.full(4, 3), pair)) == 1
    assert float(task.success(tokens[:, :2], np.full(4, 2), pair)) == 0
    jitted = jax.jit(task.success)(tokens, lengths, pair)
    assert float(jitted) == 0.25


def test_an_empty_answer_matches_an_empty_row_only():
    task = Reversal(symbols=4)
    targets, lengths = task.answer(np.zeros((2, 3), int), np.array([0, 0]))
    assert (np.asarray(targets) == task.end).all()
    pair = SequencePair(np.zeros((2, 3), int), np.zeros(2, int), targets, lengths)
    matches = task.matches(np.zeros((2, 2), int), np.array([0, 1]), pair)
    np.testing.assert_array_equal(matches, [True, False])


KEY = jax.random.key(0)
PAIR = Reversal().sample(KEY, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Reversal(symbols=0), "symbols must be a whole number of at least 1, got 0"),
        (lambda: Sorting(symbols=1.5), "symbols must be a whole number"),
        (lambda: Reversal().sample(0, 3), "key must be one key"),
        (lambda: Reversal().sample(KEY, 0), "max_length must be a whole number of at least 1"),
        (lambda: Sorting().sample(KEY, 3, 4), "length must be at most 3, got 4"),
        (lambda: Addition().sample(KEY, 3, 0), "length must be a whole number of at least 1"),
        (lambda: Addition().sample(KEY, 3, jnp.int32(4)), "length must be at most 3, got 4"),
        (lambda: Addition().chance(0), "length must be a whole number of at least 1, got 0"),
        (lambda: Addition().tokens("12+"), "text must be two decimal numbers, such as"),
        (lambda: Addition().tokens("1+2+3"), r"got '1\+2\+3'"),
        (lambda: Addition().text([1, 2], 3), r"length an integer in \[0, S\], got \[1, 2\] and 3"),
        (lambda: Addition().answer([1, 2, 3], 3), "with a plus sign .* got '123'"),
        (lambda: Addition().answer([[1, 10, 3]], [2]), r"between them, got '1\+' in row \(0,\)"),
        (lambda: Reversal().answer([1.0], 1), "sources must be integers"),
        (lambda: Reversal().answer([1, 10], 2), r"sources must lie in \[0, 9\]"),
        (lambda: Reversal().answer([1, 2], 3), r"lengths must lie in \[0, 2\]"),
        (lambda: Reversal().success([1, 2], 2, (1, 2)), "pair must be a SequencePair from sample"),
        (lambda: Reversal().success([1.0], 1, PAIR), "tokens must be integers"),
        (lambda: Reversal().success([[1]], [1], PAIR), r"tokens must have the batch axes \(\)"),
        (lambda: Reversal().success([1], 2, PAIR), r"lengths must lie in \[0, 1\]"),
    ],
)
def test_bad_calls_are_clear_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
