"""CTC against plain loops in NumPy and against all alignments, and what must not change it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from seqjax.ctc import Labelling, beam_decode, ctc_loss, greedy_decode

B, T, N, V = 4, 6, 3, 4
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(B, T, V))
LENGTHS = np.array([6, 0, 4, 5])
TARGETS = {0: [[1, 1, 3], [2, 2, 2], [2, 3, 2], [3, 1, 1]], 2: [[1, 1, 3], [0, 0, 0], [0, 3, 1]]}
TARGETS[2].append([1, 0, 0])
TARGET_LENGTHS = np.array([3, 0, 3, 0])


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def forward(logits, target, blank):
    """The log-probability of a labelling of one row, by the recursion of Graves et al., in loops.

    Sums run over probabilities, not over logarithms, and over labels with blanks between them.
    """
    p = np.exp(log_softmax(logits))
    labels = [blank]
    for token in target:
        labels += [token, blank]
    alpha = np.zeros(len(labels))
    alpha[0] = 1  # before the first step, as if a blank had come
    for t in range(len(logits)):
        new = np.zeros(len(labels))
        for s, label in enumerate(labels):
            total = alpha[s]
            if s >= 1 and (t > 0 or s == 1):
                total += alpha[s - 1]
            if s >= 2 and label != blank and label != labels[s - 2]:
                total += alpha[s - 2]
            new[s] = total * p[t, label]
        alpha = new
    return np.log(alpha[-1] + (alpha[-2] if len(labels) > 1 and len(logits) else 0))


def labelling_of(alignment, blank):
    merged = [token for token, _ in itertools.groupby(alignment)]
    return tuple(token for token in merged if token != blank)


def enumerate_labellings(logits, blank):
    """All labellings of one row with their log-probabilities, from all alignments."""
    log_p, found = log_softmax(logits), {}
    for alignment in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        score = np.exp(sum(log_p[t, label] for t, label in enumerate(alignment)))
        labelling = labelling_of(alignment, blank)
        found[labelling] = found.get(labelling, 0) + score
    return {labelling: np.log(p) if p else -np.inf for labelling, p in found.items()}


def oracle(blank, lengths=LENGTHS, target_lengths=TARGET_LENGTHS):
    targets = TARGETS[blank]
    rows = zip(LOGITS, targets, lengths, target_lengths, strict=True)
    return np.array([-forward(x[:n], y[:m], blank) for x, y, n, m in rows])


def given(blank=0, **changes):
    arguments = {
        "logits": jnp.asarray(LOGITS),
        "targets": np.array(TARGETS[blank]),
        "lengths": LENGTHS,
        "target_lengths": TARGET_LENGTHS,
        "blank": blank,
    }
    return arguments | changes


@pytest.mark.parametrize("blank", [0, 2])
def test_the_loss_equals_loops_and_all_alignments(blank):
    losses = ctc_loss(**given(blank), average_over_batch=False)
    assert losses.dtype == jnp.float64
    np.testing.assert_allclose(losses, oracle(blank), rtol=1e-10)
    assert losses[1] == 0  # an empty row
    for row in (0, 2, 3):
        table = enumerate_labellings(LOGITS[row, : LENGTHS[row]], blank)
        target = tuple(TARGETS[blank][row][: TARGET_LENGTHS[row]])
        np.testing.assert_allclose(losses[row], -table[target], rtol=1e-10)
        np.testing.assert_allclose(sum(map(np.exp, table.values())), 1, rtol=1e-10)
    np.testing.assert_allclose(ctc_loss(**given(blank)), oracle(blank).mean(), rtol=1e-10)


def test_the_gradient_equals_finite_differences_of_the_loops():
    grads = np.asarray(jax.grad(lambda x: ctc_loss(**given(logits=x)))(jnp.asarray(LOGITS)))
    for b, t, v in itertools.product((0, 2, 3), (0, 2, 5), range(V)):
        values = []
        for side in (1, -1):
            logits = LOGITS[b, : LENGTHS[b]].copy()
            if t < LENGTHS[b]:
                logits[t, v] += side * 1e-6
            values.append(-forward(logits, TARGETS[0][b][: TARGET_LENGTHS[b]], 0) / B)
        np.testing.assert_allclose(grads[b, t, v], (values[0] - values[1]) / 2e-6, atol=1e-9)
    assert not grads[1].any()
    check_grads(lambda x: ctc_loss(**given(logits=x)), (LOGITS,), order=1, modes=["rev"], rtol=1e-6)


def test_the_loss_equals_that_of_optax():
    def reference(logits):
        mask = (np.arange(T) >= LENGTHS[:, None]).astype(float)
        inside = (np.arange(N) >= TARGET_LENGTHS[:, None]).astype(float)
        with jax.numpy_dtype_promotion("standard"):
            return optax.ctc_loss(logits, mask, np.array(TARGETS[0]), inside).mean()

    for ours, theirs in zip(
        jax.value_and_grad(lambda x: ctc_loss(**given(logits=x)))(jnp.asarray(LOGITS)),
        jax.value_and_grad(reference)(jnp.asarray(LOGITS)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-14)


def test_layouts_batch_axes_and_dtypes():
    expected = ctc_loss(**given(), average_over_batch=False)
    major = given(logits=jnp.asarray(LOGITS).swapaxes(0, 1))
    np.testing.assert_array_equal(
        ctc_loss(**major, time_major=True, average_over_batch=False), expected
    )
    two = {
        name: np.reshape(value, (2, 2, *np.shape(value)[1:]))
        for name, value in given().items()
        if name != "blank"
    }
    losses = ctc_loss(**two, average_over_batch=False)
    np.testing.assert_allclose(losses.reshape(-1), expected, rtol=1e-14)
    row = ctc_loss(LOGITS[2], TARGETS[0][2], lengths=4, target_lengths=3)
    np.testing.assert_allclose(row, expected[2], rtol=1e-14)
    mapped = jax.vmap(lambda x, y, n, m: ctc_loss(x, y, lengths=n, target_lengths=m))(
        jnp.asarray(LOGITS), jnp.asarray(TARGETS[0]), jnp.asarray(LENGTHS), jnp.array([3, 0, 3, 0])
    )
    np.testing.assert_allclose(mapped, expected, rtol=1e-14)
    for dtype, tolerance in ((jnp.float32, 1e-6), (jnp.bfloat16, 0.02)):
        low = ctc_loss(**given(logits=jnp.asarray(LOGITS, dtype)), average_over_batch=False)
        assert low.dtype == jnp.float32
        np.testing.assert_allclose(low, expected, rtol=tolerance)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_padding_changes_no_value_and_no_gradient(bad):
    padding = np.arange(T) >= LENGTHS[:, None]
    targets = np.where(np.arange(N) >= TARGET_LENGTHS[:, None], -99, TARGETS[0])
    logits = jnp.where(padding[..., None], bad, LOGITS)
    clean = jax.value_and_grad(lambda x: ctc_loss(**given(logits=x)))(jnp.asarray(LOGITS))
    dirty = jax.value_and_grad(lambda x: ctc_loss(**given(logits=x, targets=targets)))(logits)
    jax.tree.map(np.testing.assert_array_equal, dirty, clean)
    assert not np.asarray(clean[1])[padding].any()
    inputs = {"lengths": LENGTHS}
    for decode in (greedy_decode, lambda x, **given: beam_decode(x, 5, **given)):
        jax.tree.map(
            np.testing.assert_array_equal, decode(logits, **inputs), decode(LOGITS, **inputs)
        )


def test_an_impossible_target_is_an_error_and_inside_of_jit_infinite():
    lengths = np.array([6, 0, 2, 5])  # of row 2, for 3 targets
    with pytest.raises(ValueError, match="3 targets need at least 3 steps, got 2 at row 2"):
        ctc_loss(**given(lengths=lengths))
    with pytest.raises(ValueError, match="1 targets need at least 1 steps, got 0 at row 1"):
        ctc_loss(**given(target_lengths=np.array([3, 1, 3, 0])))
    repeated = np.array([[1, 1, 1], *TARGETS[0][1:]])
    with pytest.raises(ValueError, match="2 of which repeats its predecessor, need at least 5"):
        ctc_loss(**given(targets=repeated, lengths=np.array([4, 0, 4, 5])))

    def losses(logits, lengths):
        return ctc_loss(**given(logits=logits, lengths=lengths), average_over_batch=False)

    @jax.jit
    def mean_and_gradient(logits, lengths):
        return jax.value_and_grad(lambda x: losses(x, lengths).mean())(logits)

    for dtype in (jnp.float64, jnp.float32):
        logits = jnp.asarray(LOGITS, dtype)
        found = jax.jit(losses)(logits, lengths)
        np.testing.assert_array_equal(np.isinf(found), [False, False, True, False])
        loss, grads = mean_and_gradient(logits, lengths)
        _, possible = mean_and_gradient(logits, LENGTHS)
        assert loss == jnp.inf
        assert not grads[2].any()
        np.testing.assert_array_equal(grads[0], possible[0])
        np.testing.assert_array_equal(grads[3], possible[3])
        assert np.isfinite(np.asarray(grads)).all()


def test_a_class_with_a_logit_of_minus_infinity_has_no_probability():
    logits = np.array(LOGITS)
    logits[0, :, 3] = -np.inf  # in the target of row 0
    logits[2, :2, 1] = -np.inf  # not in the target of row 2
    logits[3, 0, 2] = -np.inf
    losses = ctc_loss(**given(logits=logits), average_over_batch=False)
    assert losses[0] == np.inf
    for row in (2, 3):
        target = TARGETS[0][row][: TARGET_LENGTHS[row]]
        expected = -forward(logits[row, : LENGTHS[row]], target, 0)
        np.testing.assert_allclose(losses[row], expected, rtol=1e-10)
    grads = jax.grad(lambda x: ctc_loss(**given(logits=x), average_over_batch=False)[2:].sum())(
        jnp.asarray(logits)
    )
    assert np.isfinite(np.asarray(grads)).all()
    scores = beam_decode(logits, 100, lengths=LENGTHS).scores
    table = enumerate_labellings(logits[2, :4], 0)
    expected = sorted((s for s in table.values() if s > -np.inf), reverse=True)
    np.testing.assert_allclose(scores[2, : len(expected)], expected, rtol=1e-10)
    assert (np.asarray(scores[2, len(expected) :]) == -np.inf).all()


def test_a_low_probability_stays_exact():
    # a loss above 1e5, with which optax stands for infinity by default
    logits = np.zeros((1, 50, 3))
    logits[..., 1] = -4000.0
    loss = ctc_loss(logits, np.full((1, 25), 1), average_over_batch=False)
    expected = 25 * 4000 + 50 * np.log(2)
    np.testing.assert_allclose(loss, [expected], rtol=1e-4)
    logits[..., 1] = -40_000.0
    loss = ctc_loss(logits, np.full((1, 25), 1), average_over_batch=False)
    assert 0.9 * 1e6 < float(loss[0]) < 1.1e6


def test_a_wrong_token_makes_the_loss_nan_where_it_cannot_be_an_error():
    for token in (0, -1, V):
        targets = np.array(TARGETS[0])
        targets[0, 1] = token
        losses = jax.jit(lambda y: ctc_loss(**given(targets=y), average_over_batch=False))(targets)
        np.testing.assert_array_equal(np.isnan(losses), [True, False, False, False])


def test_no_steps_no_targets_and_no_rows():
    assert ctc_loss(np.zeros((2, 0, V)), np.zeros((2, 0), int)) == 0
    losses = ctc_loss(LOGITS, np.zeros((B, 0), int), average_over_batch=False)
    np.testing.assert_allclose(losses, -log_softmax(LOGITS)[..., 0].sum(-1), rtol=1e-12)
    no_rows = LOGITS[:0], np.zeros((0, 3), int)
    assert ctc_loss(*no_rows, average_over_batch=False).shape == (0,)
    assert ctc_loss(*no_rows) == 0  # as seqjax.sequence_loss
    found = beam_decode(np.zeros((2, 0, V)), 3)
    assert found.tokens.shape == (2, 3, 0)
    np.testing.assert_array_equal(found.scores, [[0, -np.inf, -np.inf]] * 2)
    assert greedy_decode(np.zeros((2, 0, V))).tokens.shape == (2, 0)


def test_greedy_decoding_is_the_labelling_of_the_best_alignment():
    logits = np.round(3 * RNG.normal(size=(40, T, V)), 3)
    lengths = RNG.integers(0, T + 1, 40)
    for blank in (0, 3):
        found = greedy_decode(logits, lengths=lengths, blank=blank)
        assert found.tokens.dtype == found.lengths.dtype == jnp.int32
        for row, n in enumerate(lengths):
            labelling = labelling_of(logits[row, :n].argmax(-1), blank)
            m = len(labelling)
            assert tuple(found.tokens[row].tolist()) == labelling + (blank,) * (T - m)
            assert found.lengths[row] == m
            expected = log_softmax(logits[row, :n]).max(-1).sum() if n else 0
            np.testing.assert_allclose(found.scores[row], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("blank", "classes"), [(0, 3), (1, 3), (0, 2), (0, 1)])
def test_a_wide_beam_finds_all_labellings_with_their_probabilities(blank, classes):
    steps, rows = 5, 3
    logits = 2 * RNG.normal(size=(rows, steps, classes))
    lengths = np.array([5, 3, 0])
    width = 1 + sum((classes - 1) ** n for n in range(1, steps + 1))
    found = beam_decode(logits, width, lengths=lengths, blank=blank)
    for row, n in enumerate(lengths):
        table = enumerate_labellings(logits[row, :n], blank)
        count = len(table)
        scores = np.asarray(found.scores[row])
        assert (np.diff(scores[:count]) <= 0).all()
        assert (scores[count:] == -np.inf).all()
        assert not found.lengths[row, count:].any()
        mine = {}
        for tokens, size, score in zip(
            found.tokens[row].tolist(), found.lengths[row].tolist(), scores, strict=True
        ):
            assert tokens[size:] == [blank] * (steps - size)
            if score > -np.inf:
                mine[tuple(tokens[:size])] = score
        assert mine.keys() == table.keys()
        for labelling, score in table.items():
            np.testing.assert_allclose(mine[labelling], score, rtol=1e-10, atol=1e-13)


def plain_beam(logits, width, blank):
    """Prefix beam search with dictionaries of probabilities."""
    p = np.exp(log_softmax(logits))
    beam = {(): (1.0, 0.0)}
    for t in range(len(logits)):
        new = {}
        for prefix, (with_blank, with_label) in beam.items():
            for token in range(logits.shape[1]):
                if token == blank:
                    add = prefix, ((with_blank + with_label) * p[t, token], 0.0)
                elif prefix and token == prefix[-1]:
                    old = new.get(prefix, (0.0, 0.0))
                    new[prefix] = old[0], old[1] + with_label * p[t, token]
                    add = (*prefix, token), (0.0, with_blank * p[t, token])
                else:
                    add = (*prefix, token), (0.0, (with_blank + with_label) * p[t, token])
                old = new.get(add[0], (0.0, 0.0))
                new[add[0]] = old[0] + add[1][0], old[1] + add[1][1]
        beam = dict(sorted(new.items(), key=lambda item: -sum(item[1]))[:width])
    return [(prefix, np.log(sum(mass))) for prefix, mass in beam.items()]


@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_narrow_beam_equals_a_plain_prefix_search(width):
    logits = 2 * RNG.normal(size=(20, 9, V))
    found = beam_decode(logits, width, blank=1)
    for row in range(20):
        expected = plain_beam(logits[row], width, 1)
        np.testing.assert_allclose(found.scores[row], [s for _, s in expected], rtol=1e-10)
        for n, (prefix, _) in enumerate(expected):
            assert tuple(found.tokens[row, n, : found.lengths[row, n]].tolist()) == prefix
            # the score is a lower bound of the log-probability
            loss = -forward(logits[row], prefix, 1)
            assert found.scores[row, n] <= -loss + 1e-10


def test_the_best_labelling_is_no_less_probable_than_the_greedy_one():
    logits = RNG.normal(size=(30, 6, 3))
    greedy, best = greedy_decode(logits), beam_decode(logits, 127, n_best=1)
    losses = ctc_loss(
        logits, greedy.tokens, target_lengths=greedy.lengths, average_over_batch=False
    )
    assert (np.asarray(-losses) >= np.asarray(greedy.scores) - 1e-12).all()
    assert (np.asarray(best.scores[:, 0]) >= np.asarray(-losses) - 1e-9).all()
    exact = ctc_loss(
        logits, best.tokens[:, 0], target_lengths=best.lengths[:, 0], average_over_batch=False
    )
    np.testing.assert_allclose(best.scores[:, 0], -exact, rtol=1e-10)


def test_decoding_in_any_layout_and_inside_of_jit():
    whole = beam_decode(LOGITS, 4, lengths=LENGTHS)
    assert isinstance(whole, Labelling)
    assert whole.tokens.dtype == whole.lengths.dtype == jnp.int32
    major = beam_decode(LOGITS.swapaxes(0, 1), 4, lengths=LENGTHS, time_major=True)
    jitted = jax.jit(lambda x, n: beam_decode(x, 4, lengths=n))(LOGITS, LENGTHS)
    two = beam_decode(LOGITS.reshape(2, 2, T, V), 4, lengths=LENGTHS.reshape(2, 2))
    two = jax.tree.map(lambda a: a.reshape(4, *a.shape[2:]), two)
    best = beam_decode(LOGITS, 4, n_best=2, lengths=LENGTHS)
    for other in (major, jitted, two):
        jax.tree.map(np.testing.assert_array_equal, other, whole)
    jax.tree.map(lambda b, w: np.testing.assert_array_equal(b, w[:, :2]), best, whole)
    for row in range(B):
        alone = beam_decode(LOGITS[row], 4, lengths=LENGTHS[row])
        jax.tree.map(lambda a, w: np.testing.assert_array_equal(a, w[row]), alone, whole)  # noqa: B023
    flipped = greedy_decode(LOGITS.swapaxes(0, 1), lengths=LENGTHS, time_major=True)
    jax.tree.map(np.testing.assert_array_equal, flipped, greedy_decode(LOGITS, lengths=LENGTHS))
    low = beam_decode(jnp.asarray(LOGITS, jnp.bfloat16), 4)
    assert low.scores.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ctc_loss(**given(logits=LOGITS.astype(int))), "logits must be floating"),
        (lambda: ctc_loss(**given(logits=LOGITS[0, 0])), r"got float64 of shape \(4,\)"),
        (lambda: ctc_loss(**given(targets=np.ones((B, N)))), "targets must be integers"),
        (lambda: ctc_loss(**given(targets=np.ones((3, N), int))), r"the batch axes \(4,\)"),
        (lambda: ctc_loss(**given(targets=np.full((B, N), V))), r"targets must lie in \[0, 3\]"),
        (
            lambda: ctc_loss(**given() | {"blank": 1}),
            r"targets must not hold the blank, 1, .* \(0, 0\)",
        ),
        (lambda: ctc_loss(**given() | {"blank": V}), "blank must be at most 3, got 4"),
        (lambda: ctc_loss(**given() | {"blank": -1}), "blank must be a whole number"),
        (lambda: ctc_loss(**given(lengths=LENGTHS + 1)), r"lengths must lie in \[0, 6\]"),
        (
            lambda: ctc_loss(**given(target_lengths=TARGET_LENGTHS + 1)),
            r"^target_lengths must lie in \[0, 3\]",
        ),
        (lambda: ctc_loss(**given(), average_over_batch=1), "average_over_batch must be True or"),
        (lambda: greedy_decode(LOGITS, blank=V), "greedy_decode: blank must be at most 3"),
        (lambda: beam_decode(LOGITS, 0), "beam_decode: width must be a whole number of at least 1"),
        (lambda: beam_decode(LOGITS, 2, n_best=3), "n_best must be at most 2, got 3"),
        (lambda: beam_decode(LOGITS, 2, lengths=[1]), "lengths must be integers of shape"),
    ],
)
def test_bad_calls_are_clear_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
