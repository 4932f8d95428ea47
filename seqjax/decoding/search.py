"""Beam search, with length and coverage penalties, diverse groups and constraints."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.arrays import as_int32, given_array
from seqjax.decoding.beam import Beam
from seqjax.decoding.candidates import (
    Hypotheses,
    best,
    choose,
    completions,
    exclude_from,
    is_repeated,
    take,
)
from seqjax.decoding.live import States, step_live
from seqjax.decoding.request import (
    Decoded,
    Request,
    check_request,
    first_state,
    map_rows,
    next_logits,
    permitted,
    write_at,
)
from seqjax.engine.validation import contexts
from seqjax.operations.masking import check_tokens, resolve_mask
from seqjax.types import Array, Cell, Params, Role, State


def beam_search(
    model: Cell,
    params: Params,
    start: Array,
    beam: Beam,
    *,
    end: int,
    max_length: int,
    state: State | None = None,
    forbidden: Array | None = None,
    prefix: Array | None = None,
    prefix_lengths: Array | None = None,
    forbidden_prefixes: Array | None = None,
    forbidden_prefix_lengths: Array | None = None,
) -> Decoded:
    """Search for the sequences with the highest rank, see `Beam`.

    At each step, the K live hypotheses have ``K * V`` continuations. Of the K likeliest ones, those
    by the end symbol enter the n-best list, which keeps the N hypotheses with the highest rank. The
    K likeliest of the others are live at the next step. A finished hypothesis therefore takes no
    place from a live one. The search ends when no live hypothesis can still enter the list, or
    after ``max_length`` steps. The live hypotheses of the last step then enter the list,
    unfinished. They rank by the same formula: the probabilities of all sequences, finished or cut
    off, sum to 1.

    The hypothesis that `decode` finds keeps its place among the live ones and enters the list. The
    best hypothesis therefore never ranks below it, which a plain beam search does not guarantee. A
    beam of width 1 without penalties finds just this hypothesis. A beam that is wide enough for all
    continuations finds the best sequences exactly. Of equal candidates, the earlier hypothesis and
    then the lower token wins.

    Rows end at different steps, and a threshold drops unlikely hypotheses. Each step therefore runs
    the live hypotheses alone, in arrays that are just large enough, if a batch size is known when
    the program is compiled. If more than two thirds are live, all run under `jax.vmap` over the
    axis of the beam, and the context is not copied. This changes no result.

    Args:
      model: a cell that maps tokens to the logits of the next token, such as a `LanguageModel`.
      params: the parameters of the model, with a context if it attends to one.
      start: ``int[B]``, the first input of each row, with any number of batch axes, or none.
      beam: the width of the beam and other options. Each `Beam` compiles a separate program.
      end: the end symbol, in ``[0, V)``.
      max_length: the largest number of tokens, with the end symbol. Each value compiles a separate
        program.
      state: the state before the first step, arrays ``[B, ...]``; defaults to `Cell.first_state`.
      forbidden: ``bool[V]`` or ``bool[B, V]``, True at tokens that must not be chosen.
      prefix: ``int[B, P]``, the first tokens of each row, without an end symbol. They are part of
        the result and its score, and may be forbidden ones.
      prefix_lengths: ``int[B]`` in ``[0, P]``, the number of tokens of each prefix; defaults to P.
      forbidden_prefixes: ``int[F, Q]``, or ``int[B, F, Q]`` for each row. No hypothesis begins with
        one of these F sequences. One that ends in the end symbol excludes one whole sequence.
      forbidden_prefix_lengths: ``int[F]`` or ``int[B, F]``, the number of tokens of each forbidden
        prefix, where 0 stands for no prefix; defaults to Q.

    Returns:
      The `Decoded` hypotheses, with an axis of N after B, the highest rank first. If fewer than N
      exist, the others have a score of ``-inf`` and a length of 0. Scores are log-probabilities
      without penalties.

    Raises:
      ValueError: the arguments do not fit together, or ``coverage_penalty`` is given and the model
        attends to no context. Values of arrays are checked outside of `jax.jit` only.

    >>> import seqjax
    >>> model = seqjax.LanguageModel(seqjax.GRU(4), vocabulary_size=5)
    >>> params = model.init(jax.random.key(0), input_size=5)
    >>> found = beam_search(model, params, jnp.array([1, 2]), Beam(4), end=0, max_length=7)
    >>> found.tokens.shape, found.scores.shape
    ((2, 4, 7), (2, 4))
    """
    request = check_request(
        "beam_search", model, params, start, end, max_length, state, forbidden, prefix,
        prefix_lengths,
    )  # fmt: skip
    if not isinstance(beam, Beam):
        raise ValueError(f"beam must be a Beam, such as Beam(width=8), got {beam!r}")
    if beam.coverage_penalty and not (_is_alignment(model).any() and contexts(request.params)):
        raise ValueError(
            f"Beam: coverage_penalty={beam.coverage_penalty} needs a model that attends to a "
            "context, such as a seqjax.ContextAttention inside of a seqjax.LanguageModel, got "
            f"{model}; use coverage_penalty=0"
        )
    excluded = _check_forbidden_prefixes(
        forbidden_prefixes, forbidden_prefix_lengths, request.start.shape, model.output_size
    )
    return _beam_search(model, request._replace(excluded=excluded), beam, int(max_length))


def _check_forbidden_prefixes(
    prefixes: Array | None, lengths: Array | None, batch_shape: tuple[int, ...], size: int
) -> Array | None:
    """Return ``int32[B, F, Q]``, -1 past the lengths; None if there is none."""
    if prefixes is None:
        if lengths is not None:
            raise ValueError("forbidden_prefix_lengths were given without forbidden_prefixes")
        return None
    prefixes = given_array("forbidden_prefixes", prefixes)
    leading = prefixes.shape[:-2] if prefixes.ndim >= 2 else None
    if leading not in ((), batch_shape) or not jnp.issubdtype(prefixes.dtype, jnp.integer):
        raise ValueError(
            "forbidden_prefixes must be integers [F, Q], or [B, F, Q] with the batch axes "
            f"{batch_shape} of start, got {prefixes.dtype} of shape {prefixes.shape}"
        )
    mask = resolve_mask(
        lengths, None, prefixes.shape, prefixes.ndim - 1, "forbidden_prefix_lengths"
    )
    check_tokens("forbidden_prefixes", prefixes, size, mask)
    tokens = as_int32(prefixes)
    if mask is not None:
        tokens = jnp.where(mask, tokens, -1)
    return jnp.broadcast_to(tokens, (*batch_shape, *tokens.shape[-2:])) if tokens.size else None


def _mean_weights(model: Cell, states: States) -> Array:
    """The weights ``[B, K, S]`` of the last step, averaged over the heads of all layers."""
    rows, alignment = jax.tree.leaves(states.rows), _is_alignment(model)
    leaves = [a[states.places] for a, found in zip(rows, alignment, strict=True) if found]
    return jnp.concatenate(leaves, -2).mean(-2)


def _is_alignment(model: Cell) -> np.ndarray:
    """Which leaves of the state are weights of a context."""
    return np.array([role is Role.ALIGNMENT for role in jax.tree.leaves(model.roles)], bool)


class _Search(NamedTuple):
    position: Array  # int32[]
    states: States
    token: Array  # int32[B, K], the last one, which the next step reads
    tokens: Array  # int32[B, K, max_length], of the live hypotheses
    scores: Array  # [B, K], -inf where there is no hypothesis
    coverage: Array | None  # [B, K, S], the sum of the weights so far
    greedy: Array  # int32[B], the place of the greedy hypothesis; K after its end
    listed: Hypotheses  # [B, G, N / G]


@functools.partial(jax.jit, static_argnames=("model", "beam", "max_length"))
def _beam_search(model: Cell, request: Request, beam: Beam, max_length: int) -> Decoded:
    batch_shape = request.start.shape
    request = request._replace(state=first_state(model, request))
    request = map_rows(lambda a: a.reshape(-1, *a.shape[len(batch_shape) :]), request)
    search = _finish(model, request, beam, _start(model, request, beam, max_length))
    cut_off = _hypotheses(request, beam, search, jnp.asarray(max_length, jnp.int32), False)
    is_cut = search.position == max_length
    cut_off = cut_off._replace(ranks=jnp.where(is_cut, cut_off.ranks, -jnp.inf))
    listed = best(search.listed, cut_off, search.listed.ranks.shape[-1])
    listed = jax.tree.map(lambda a: a.reshape(a.shape[0], -1, *a.shape[3:]), listed)
    if beam.groups > 1:
        listed = listed._replace(ranks=jnp.where(is_repeated(listed), -jnp.inf, listed.ranks))
    (tokens, lengths, finished, scores), ranks = best(listed, None, beam.n_best or beam.width)
    is_none = ranks == -jnp.inf
    decoded = Decoded(
        jnp.where(jnp.expand_dims(is_none, -1), request.end, tokens),
        jnp.where(is_none, 0, lengths),
        finished & ~is_none,
        jnp.where(is_none, -jnp.inf, scores),
    )
    return jax.tree.map(lambda a: a.reshape(*batch_shape, *a.shape[1:]), decoded)


def _start(model: Cell, request: Request, beam: Beam, max_length: int) -> _Search:
    """One live hypothesis in each group, without tokens."""
    K, G, n_best = beam.width, beam.groups, beam.n_best or beam.width
    rows, end = request.start.shape[0], request.end
    logits = jax.eval_shape(
        lambda: next_logits(model, request.params, request.state, request.start)[1]
    )

    def to_beam(a: Array) -> Array:
        return jnp.broadcast_to(a[:, None], (rows, K, *a.shape[1:]))

    places = K * jnp.arange(rows, dtype=jnp.int32)
    states = States(jax.tree.map(lambda a: jnp.repeat(a, K, 0), request.state), to_beam(places))
    is_first = jnp.arange(K, dtype=jnp.int32) % (K // G) == 0  # of its group
    scores = jnp.where(is_first, 0, jnp.full(K, -jnp.inf, logits.dtype))
    shape = rows, G, -(-n_best // G)
    nothing = jnp.full(shape, -jnp.inf, logits.dtype)
    no_lengths, no_tokens = jnp.zeros(shape, jnp.int32), jnp.full((*shape, max_length), end)
    coverage = None
    if beam.coverage_penalty:
        coverage = jnp.zeros_like(_mean_weights(model, states))
    return _Search(
        jnp.zeros((), jnp.int32),
        states,
        to_beam(request.start),
        jnp.full((rows, K, max_length), end),
        jnp.broadcast_to(scores, (rows, K)),
        coverage,
        jnp.zeros(rows, jnp.int32),
        Hypotheses(Decoded(no_tokens, no_lengths, jnp.zeros(shape, bool), nothing), nothing),
    )


def _finish(model: Cell, request: Request, beam: Beam, search: _Search) -> _Search:
    """Search until no row runs any more."""
    max_length = search.tokens.shape[-1]

    def goes_on(search: _Search) -> Array:
        return (search.position < max_length) & _is_running(beam, search).any()

    def advance(search: _Search) -> _Search:
        return _advance(model, request, beam, search)

    return jax.lax.while_loop(goes_on, advance, search)


def _is_running(beam: Beam, search: _Search) -> Array:
    """``bool[B]``, whether a live hypothesis may still enter the list of its group.

    A live hypothesis with score s <= 0 ends with a score of at most s, since no log-probability is
    above 0, and with at most max_length tokens. cp is at most 0, and lp grows with the length, so
    its rank is at most s / lp(max_length). It has to rank above the last of a full list to enter
    it; the last of any other list ranks at -inf.
    """
    rows, width = search.scores.shape
    scores = search.scores.reshape(rows, beam.groups, width // beam.groups)
    penalties = _length_penalties(beam, search)
    bound = scores.max(-1) / penalties[-1]
    return ~(search.listed.ranks[..., -1] >= bound).all(-1)


def _length_penalties(beam: Beam, search: _Search) -> Array:
    """The length penalty lp of 0, 1, ..., max_length tokens."""
    lengths = np.arange(search.tokens.shape[-1] + 1)
    # rounding cannot change the order of these numbers, of which the last is the largest
    return jnp.asarray(((5 + lengths) / 6) ** beam.length_penalty, search.scores.dtype)


def _hypotheses(
    request: Request, beam: Beam, search: _Search, length: Array, finished: bool
) -> Hypotheses:
    """The live hypotheses, of ``length`` tokens; an end symbol is added if ``finished``."""
    rows, width = search.scores.shape
    ranks = search.scores / _length_penalties(beam, search)[length + int(finished)]
    if search.coverage is not None:
        tiny = float(np.finfo(search.coverage.dtype).tiny)
        valid = contexts(request.params)[0].mask[:, None] > 0
        logs = jnp.where(valid, jnp.log(search.coverage.clip(tiny, 1)), 0).sum(-1)
        ranks = ranks + beam.coverage_penalty * logs.astype(ranks.dtype)
    decoded = Decoded(
        search.tokens,
        jnp.broadcast_to(length, ranks.shape),
        jnp.full(ranks.shape, finished),
        search.scores,
    )
    groups = rows, beam.groups, width // beam.groups
    return jax.tree.map(lambda a: a.reshape(*groups, *a.shape[2:]), Hypotheses(decoded, ranks))


def _advance(model: Cell, request: Request, beam: Beam, search: _Search) -> _Search:
    position, states, token, tokens, scores, coverage, greedy, listed = search
    size = model.output_size
    # a hypothesis whose score is NaN is live, and so comes into the result
    is_live = jnp.expand_dims(_is_running(beam, search), -1) & (scores != -jnp.inf)
    states, logits = step_live(model, request, states, token, is_live)
    logits, totals = exclude_from(
        permitted(request, position, size),
        None if request.excluded is None else completions(request.excluded, tokens, position, size),
        logits,
        jnp.expand_dims(scores, -1) + jax.nn.log_softmax(logits),
    )
    # top_k sorts NaN by its sign; a positive one comes first, and so into the result
    totals = jnp.where(jnp.isnan(totals), jnp.nan, totals)
    totals = jnp.where(jnp.expand_dims(is_live, -1), totals, -jnp.inf)
    if coverage is not None:
        coverage = coverage + _mean_weights(model, states)
    ended = listed.decoded.scores.max(-1)
    ending, parents, token, scores, greedy = choose(
        logits, totals, ended, greedy, request.end, beam
    )
    search = search._replace(scores=ending, coverage=coverage)
    more = _hypotheses(request, beam, search, position, True)
    listed = best(listed, more, listed.ranks.shape[-1])
    places, tokens, coverage = take((states.places, tokens, coverage), parents)
    states, tokens = states._replace(places=places), write_at(tokens, position, token)
    return _Search(position + 1, states, token, tokens, scores, coverage, greedy, listed)
