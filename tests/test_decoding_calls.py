"""Decoding: constraints, compilation, batch axes and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import seqjax.export  # registers the types of results  # noqa: F401
from seqjax import (
    GRU,
    Bidirectional,
    ContextAttention,
    LanguageModel,
    WithState,
    unroll,
    with_context,
)
from seqjax.attention import General
from seqjax.decoding import Beam, beam_search, decode
from seqjax.decoding.greedy import _decode
from seqjax.decoding.search import _beam_search
from seqjax.sampling import Sampling
from tests.drawn import params_of

V, END, L = 4, 2, 3
START = np.array([1, 3], np.int32)
BEAM = Beam(36, n_best=45)  # finds all 40 sequences
MODEL = LanguageModel(GRU(3), V)
PARAMS = params_of(MODEL, V)
ATTENTION = LanguageModel(ContextAttention(GRU(3), General(), memory_size=2), V, embedding_size=2)
UNBOUND = params_of(ATTENTION, V, jnp.float32)
MEMORY = jnp.ones((2, 3, 2), jnp.float32)
BOUND = with_context(ATTENTION, UNBOUND, MEMORY)
DECODINGS = {
    "decode": lambda model, params, start, **options: decode(model, params, start, **options),
    "beam_search": lambda model, params, start, **options: beam_search(
        model, params, start, Beam(2, n_best=1), **options
    ),
}


def found_by(**constraints):
    """All sequences of each row, with their scores."""
    found = beam_search(MODEL, PARAMS, START, BEAM, end=END, max_length=L, **constraints)
    rows = []
    for tokens, lengths, finished, scores in zip(*map(np.asarray, found), strict=True):
        counts = lengths + finished
        every = zip(tokens.tolist(), counts.tolist(), scores.tolist(), strict=True)
        rows.append({tuple(t[:count]): score for t, count, score in every if score > -np.inf})
    return rows


@pytest.mark.slow
@pytest.mark.parametrize(
    ("constraints", "possible"),
    [
        (
            {"forbidden": np.array([True, False, False, False])},
            lambda row, tokens: 0 not in tokens,
        ),
        (
            {"forbidden": np.eye(V, dtype=bool)[[3, END]]},
            lambda row, tokens: [3, END][row] not in tokens,
        ),
        (
            {"prefix": np.array([[3, 0, 1], [0, 1, 1]], np.int8)},
            lambda row, tokens: tokens[:3] == [(3, 0, 1), (0, 1, 1)][row],
        ),
        (
            {"prefix": [[3, -1, -1], [0, 1, 9]], "prefix_lengths": [1, 2]},
            lambda row, tokens: tokens[:2] == (0, 1) if row else tokens[:1] == (3,),
        ),
        (
            {"prefix": [[3], [0]], "prefix_lengths": [0, 1], "forbidden": np.arange(V) == 0},
            lambda row, tokens: tokens[0] == 0 and 0 not in tokens[1:] if row else 0 not in tokens,
        ),
        (
            {"forbidden_prefixes": [[1, 0, 9, 9, 9, 9], [0, END, 9, 9, 9, 9], [3, 3, 3, 3, 3, 3]],
             "forbidden_prefix_lengths": [2, 2, 6]},
            lambda row, tokens: tokens[:2] not in [(1, 0), (0, END)],
        ),
        (
            {"forbidden_prefixes": [[[1, 0]], [[3, 1]]],
             "forbidden_prefix_lengths": [[2], [0]]},
            lambda row, tokens: row or tokens[:2] != (1, 0),
        ),
        (
            {"forbidden_prefixes": [[1, 0]], "prefix": [[1, 0], [1, 1]]},
            lambda row, tokens: row and tokens[:2] == (1, 1),
        ),
    ],
)  # fmt: skip
def test_constraints_leave_exactly_the_possible_sequences(constraints, possible):
    found, every = found_by(**constraints), found_by()
    assert [len(row) for row in every] == [40, 40]
    for row in range(2):
        expected = {t: score for t, score in every[row].items() if possible(row, t)}
        assert found[row].keys() == expected.keys()
        np.testing.assert_allclose([found[row][t] for t in expected], [*expected.values()])


@pytest.mark.slow
def test_decode_obeys_constraints():
    options = {"end": END, "max_length": L, "prefix": [[3, 3], [0, 9]], "prefix_lengths": [2, 1]}
    forbidden = np.array([[True, False, True, False], [False, True, True, False]])
    decoded = decode(MODEL, PARAMS, START, **options, forbidden=forbidden)
    every = found_by()
    assert decoded.tokens[:, 0].tolist() == [3, 0]
    assert decoded.tokens[0, 1] == 3
    for row in range(2):
        tokens = tuple(decoded.tokens[row].tolist())
        assert not forbidden[row][list(tokens[2 - row :])].any()
        np.testing.assert_allclose(decoded.scores[row], every[row][tokens])
    best = beam_search(MODEL, PARAMS, START, Beam(1), **options, forbidden=forbidden)
    np.testing.assert_array_equal(best.tokens[:, 0], decoded.tokens)
    drawn = decode(
        MODEL, PARAMS, np.tile(START, 50), end=END, max_length=L, forbidden=forbidden[0],
        sampling=Sampling(2.0), key=jax.random.key(0),
    )  # fmt: skip
    assert {*np.unique(drawn.tokens)} == {1, 3}


def test_new_values_do_not_compile_a_new_program():
    sizes = []
    for n in range(3):
        params = with_context(ATTENTION, UNBOUND, MEMORY * n, lengths=np.array([n, 1]))
        options = {"end": n, "max_length": 5, "forbidden": np.arange(V) == n + 1}
        start = np.array([n, 0])
        decode(ATTENTION, params, start, **options)
        beam_search(ATTENTION, params, start, Beam(2, coverage_penalty=0.1), **options)
        sizes.append((_decode._cache_size(), _beam_search._cache_size()))
    assert sizes[0] == sizes[1] == sizes[2]


@pytest.mark.parametrize("name", DECODINGS)
def test_any_batch_axes_and_inside_of_jit(name):
    run = DECODINGS[name]

    def under_jit(params, memory, start):
        bound = with_context(ATTENTION, params, memory)
        return run(ATTENTION, bound, start, end=END, max_length=5)

    flat = jax.jit(under_jit)(UNBOUND, MEMORY, START)
    nested = run(
        ATTENTION, with_context(ATTENTION, UNBOUND, MEMORY[:, None]), START[:, None],
        end=END, max_length=5,
    )  # fmt: skip
    single = run(
        ATTENTION, with_context(ATTENTION, UNBOUND, MEMORY[0]), START[0], end=END, max_length=5
    )
    for whole, other, one in zip(flat, nested, single, strict=True):
        np.testing.assert_allclose(other[:, 0], whole, rtol=1e-6)
        np.testing.assert_allclose(one, whole[0], rtol=1e-6)


def shapes_in(jaxpr):
    for equation in jaxpr.eqns:
        yield from (variable.aval.shape for variable in equation.outvars)
        for inner in jax.tree.leaves(
            equation.params, is_leaf=lambda p: hasattr(getattr(p, "jaxpr", p), "eqns")
        ):
            if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                yield from shapes_in(getattr(inner, "jaxpr", inner))


def test_the_beam_does_not_copy_the_context():
    memory = jnp.ones((2, 11, 13), jnp.float32)
    model = LanguageModel(ContextAttention(GRU(3), General(), memory_size=13), V, embedding_size=2)
    params = with_context(model, model.init(jax.random.key(0), V), memory)

    def run(params):
        return beam_search(model, params, START, Beam(7), end=END, max_length=5)

    shapes = {*shapes_in(jax.make_jaxpr(run)(params))}
    assert any({7, 11} <= {*shape} for shape in shapes)  # the weights of attention
    assert not any({7, 11, 13} <= {*shape} or {7, 11, 3} <= {*shape} for shape in shapes)


def test_scores_of_16_bit_parameters_are_float32():
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), PARAMS)
    one = decode(MODEL, params, START, end=END, max_length=L)
    best = beam_search(MODEL, params, START, Beam(2), end=END, max_length=L)
    assert one.scores.dtype == best.scores.dtype == jnp.float32


def test_it_is_exported_for_any_batch():
    def run(start):
        return beam_search(MODEL, PARAMS, start, Beam(2), end=END, max_length=L)

    (rows,) = export.symbolic_shape("rows")
    exported = export.export(jax.jit(run))(jax.ShapeDtypeStruct((rows,), jnp.int32))
    found = export.deserialize(exported.serialize()).call(START)
    for part, expected in zip(found, run(START), strict=True):
        np.testing.assert_array_equal(part, expected)


@pytest.mark.parametrize("name", DECODINGS)
def test_the_search_may_start_from_a_state(name):
    state, _ = unroll(MODEL, PARAMS, np.array([[0, 3], [1, 1]]))
    found = DECODINGS[name](MODEL, PARAMS, START, end=END, max_length=3, state=state)
    tokens = found.tokens[:, 0] if name == "beam_search" else found.tokens
    scores = found.scores[:, 0] if name == "beam_search" else found.scores
    _, logits = unroll(
        MODEL, PARAMS, jnp.concatenate([START[:, None], tokens[:, :-1]], 1), initial_state=state
    )
    gains = jnp.take_along_axis(jax.nn.log_softmax(logits), tokens[..., None], -1)[..., 0]
    counts = (tokens != END).cumprod(-1).sum(-1) + 1
    expected = jnp.where(jnp.arange(3)[None] < counts[:, None], gains, 0).sum(-1)
    np.testing.assert_allclose(scores, expected)


@pytest.mark.parametrize("name", DECODINGS)
def test_a_loss_may_decode_with_parameters_without_a_gradient(name):
    def loss(params):
        fixed = jax.lax.stop_gradient(params)
        found = DECODINGS[name](MODEL, fixed, START, end=END, max_length=3)
        return (params.readout_bias * found.scores.mean()).sum()

    assert np.isfinite(jax.grad(loss)(PARAMS).readout_bias).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_parameters_that_are_nan_give_scores_that_are_nan(dtype):
    params = jax.tree.map(lambda a: (a * jnp.nan).astype(dtype), PARAMS)
    assert np.isnan(decode(MODEL, params, START, end=END, max_length=3).scores).all()
    found = beam_search(MODEL, params, START, Beam(2), end=END, max_length=3)
    assert np.isnan(found.scores).all()


@pytest.mark.parametrize("beam", [Beam(4), Beam(4, threshold=1.0)])
def test_a_row_that_is_nan_changes_no_other(beam):
    rows = 40  # so many hypotheses that the live ones run alone
    start = jnp.arange(rows, dtype=jnp.int32) % V
    state = MODEL.initial_state((rows,), jnp.float64)
    options = {"beam": beam, "end": END, "max_length": 6}
    expected = beam_search(MODEL, PARAMS, start, state=state, **options)
    broken = jax.tree.map(lambda a: a.at[3].set(jnp.nan), state)
    found = beam_search(MODEL, PARAMS, start, state=broken, **options)
    assert np.isnan(found.scores[3]).any()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.delete(a, 3, 0), np.delete(b, 3, 0))


BOTH = Bidirectional(GRU(2), GRU(2))
STATEFUL = WithState(MODEL)


@pytest.mark.parametrize("name", DECODINGS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "GRU"}, "cell must be a seqjax cell"),
        ({"model": BOTH, "params": BOTH.init(jax.random.key(0), V)}, "cannot run step by step"),
        ({"model": STATEFUL}, "must be one array of logits, got a OutputAndState"),
        ({"model": ATTENTION, "params": UNBOUND}, "the parameters hold no context; bind one"),
        (
            {"model": ATTENTION, "params": BOUND, "start": [0, 0, 0]},
            r"context of params has the batch axes \(2,\), but the inputs have \(3,\)",
        ),
        ({"start": [1.0, 2.0]}, r"start must be integers \[B\].*, got float64\[2\]"),
        ({"start": [1, V]}, r"start must lie in \[0, 3\], the vocabulary, got 4 at index 1"),
        ({"start": np.zeros(0, int)}, "the batch must not be empty"),
        ({"end": V}, "end must be at most 3, got 4"),
        ({"end": -1}, "end must be a whole number of at least 0, got -1"),
        ({"end": 1.0}, "end must be a whole number"),
        ({"max_length": 0}, "max_length must be a whole number of at least 1, got 0"),
        (
            {"state": MODEL.initial_state((3,), jnp.float64)},
            r"must be float64 of shape \(2, 3\) for this batch, got .* shape \(3, 3\)",
        ),
        ({"forbidden": [0, 1, 0, 0]}, r"forbidden must be bool of shape \(4,\) or \(2, 4\)"),
        ({"forbidden": np.ones((2, V), bool)}, "leave at least one token possible in each row"),
        ({"prefix": [0, 1]}, r"prefix must be integers \[B, P\] with the batch axes \(2,\)"),
        ({"prefix": [[0], [V]]}, r"prefix must lie in \[0, 3\], the vocabulary, got 4"),
        ({"prefix": [[0, 1], [1, END]]}, "prefix must not hold the end symbol, 2; leave it out"),
        ({"prefix": np.zeros((2, 6), int)}, "prefix holds up to 6 tokens, more than max_length=5"),
        (
            {"prefix": [[0], [0]], "prefix_lengths": [2, 0]},
            r"prefix_lengths must lie in \[0, 1\].* got 2",
        ),
        ({"prefix_lengths": [1, 1]}, "prefix_lengths were given without a prefix"),
    ],
)
def test_arguments_that_do_not_fit_are_value_errors(name, changes, message):
    arguments = {"model": MODEL, "params": PARAMS, "start": START, "end": END, "max_length": 5}
    with pytest.raises(ValueError, match=message):
        DECODINGS[name](**(arguments | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beam": 8}, "beam must be a Beam, such as .* got 8"),
        ({"beam": Beam(2, coverage_penalty=0.1)}, "needs a model that attends to a context"),
        ({"forbidden_prefixes": [0, 1]}, r"must be integers \[F, Q\], or \[B, F, Q\] with"),
        ({"forbidden_prefixes": [[0, V]]}, r"forbidden_prefixes must lie in \[0, 3\]"),
        (
            {"forbidden_prefixes": [[0, 1]], "forbidden_prefix_lengths": [3]},
            r"forbidden_prefix_lengths must lie in \[0, 2\]",
        ),
        ({"forbidden_prefix_lengths": [3]}, "were given without forbidden_prefixes"),
    ],
)
def test_a_beam_search_that_cannot_be_is_a_value_error(changes, message):
    arguments = {"beam": Beam(2), "end": END, "max_length": 5} | changes
    with pytest.raises(ValueError, match=message):
        beam_search(MODEL, PARAMS, START, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be a whole number of at least 1, got 0"),
        ({"width": 2.0}, "width must be a whole number"),
        ({"width": 2, "n_best": 0}, "n_best must be a whole number of at least 1, got 0"),
        ({"width": 2, "length_penalty": -0.1}, "length_penalty must be at least 0, got -0.1"),
        ({"width": 2, "threshold": -1}, "threshold must be at least 0, got -1"),
        ({"width": 2, "threshold": "4"}, "threshold must be a"),
        ({"width": 2, "coverage_penalty": None}, "coverage_penalty must be a finite number"),
        ({"width": 4, "groups": 3}, "groups must divide width=4 into equal parts, got 3"),
        ({"width": 4, "diversity": 0.5}, "needs at least 2 groups, got groups=1"),
        ({"width": 4, "groups": 2, "diversity": -1.0}, "diversity must be at least 0"),
    ],
)
def test_bad_options_of_a_beam_are_value_errors(options, message):
    with pytest.raises(ValueError, match=message):
        Beam(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": 0.8}, "sampling must be a Sampling, such as .* got 0.8"),
        ({"sampling": Sampling(0.8)}, "sampling at temperature 0.8 needs key=jax.random.key"),
        ({"key": 3}, "key must be one key"),
    ],
)
def test_a_draw_that_cannot_be_is_a_value_error(options, message):
    with pytest.raises(ValueError, match=message):
        decode(MODEL, PARAMS, START, end=END, max_length=3, **options)
