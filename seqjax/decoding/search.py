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
    completions,
    exclude_from,
    greedy_target,
    is_repeated,
    mean_weights,
    select_live,
    take,
)
from seqjax.decoding.request import (
    Decoded,
    Request,
    check_request,
    first_state,
    next_logits,
    one_hot,
    permitted,
    write_at,
)
from seqjax.engine.validation import contexts
from seqjax.operations.masking import check_tokens, resolve_mask
from seqjax.types import Array, Cell, Params, PyTree, Role, State


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

    At each step, all continuations of the K live hypotheses compete by log-probability for the K
    places of the next step. Each continuation by the end symbol enters a list of the N finished
    hypotheses with the highest rank instead, so a finished hypothesis is never lost. The search
    ends when no live hypothesis can still enter the lists, or after ``max_length`` steps. The live
    hypotheses of the last step then enter the lists, unfinished. They rank by the same formula,
    since finished sequences and those that are cut off together have a probability of 1.

    The hypothesis that `decode` finds keeps its place among the live ones. The best hypothesis
    therefore never ranks below it, which a plain beam search does not guarantee. A beam that is
    wide enough for all sequences finds the best ones exactly. Of equal candidates, the earlier
    hypothesis and then the lower token wins.

    Only state and tokens get the axis of the beam. Parameters and context are not copied. The
    cell runs under `jax.vmap`.

    Args:
      model: a cell that maps tokens to the logits of the next token, such as a `LanguageModel`.
      params: the parameters of the model, with a context if it attends to one.
      start: ``int[B]``, the first input of each row, with any number of batch axes, or none.
      beam: the width of the beam and other options.
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
    return _beam_search(model, request, excluded, beam, int(max_length))


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


def _is_alignment(model: Cell) -> np.ndarray:
    """Which leaves of the state are weights of a context."""
    return np.array([role is Role.ALIGNMENT for role in jax.tree.leaves(model.roles)], bool)


class _Search(NamedTuple):
    position: Array  # int32[]
    state: State  # [B, K, ...]
    token: Array  # int32[B, K], the last one, which the next step reads
    tokens: Array  # int32[B, K, max_length], of the live hypotheses
    scores: Array  # [B, K], -inf where there is no hypothesis
    coverage: Array | None  # [B, K, S], the sum of the weights so far
    greedy: Array  # int32[B], the place of the greedy hypothesis; K after its end
    listed: Hypotheses  # [B, G, N / G]


@functools.partial(jax.jit, static_argnames=("model", "beam", "max_length"))
def _beam_search(
    model: Cell, request: Request, excluded: Array | None, beam: Beam, max_length: int
) -> Decoded:
    params, start, end = request.params, request.start, request.end
    batch_shape, axis = start.shape, start.ndim  # the axis of the beam
    K, G, n_best = beam.width, beam.groups, beam.n_best or beam.width
    state = first_state(model, request)
    logits = jax.eval_shape(lambda: next_logits(model, params, state, start)[1])
    dtype, size = logits.dtype, logits.shape[-1]
    alignment, covered = _is_alignment(model), contexts(params)
    # rounding cannot change the order of these numbers, of which the last is the largest
    penalties = jnp.asarray(((5 + np.arange(max_length + 1)) / 6) ** beam.length_penalty, dtype)

    def to_beam(tree: PyTree) -> PyTree:
        def one(a: Array) -> Array:
            shape = (*a.shape[:axis], K, *a.shape[axis:])
            return jnp.broadcast_to(jnp.expand_dims(a, axis), shape)

        return jax.tree.map(one, tree)

    def in_groups(tree: PyTree) -> PyTree:
        return jax.tree.map(
            lambda a: a.reshape(*batch_shape, G, K // G, *a.shape[axis + 1 :]), tree
        )

    def hypotheses(
        tokens: Array, length: Array, finished: bool, scores: Array, coverage: Array | None
    ) -> Hypotheses:
        """Hypotheses of ``length`` tokens, to which an end symbol is added if ``finished``."""
        ranks = scores / penalties[length + int(finished)]
        if coverage is not None:
            tiny = float(np.finfo(coverage.dtype).tiny)
            valid = jnp.expand_dims(covered[0].mask, axis) > 0
            logs = jnp.where(valid, jnp.log(coverage.clip(tiny, 1)), 0).sum(-1).astype(dtype)
            ranks = ranks + beam.coverage_penalty * logs
        shape = scores.shape
        lengths = jnp.broadcast_to(length, shape)
        return in_groups(
            Hypotheses(Decoded(tokens, lengths, jnp.full(shape, finished), scores), ranks)
        )

    def is_running(search: _Search) -> Array:
        # A live hypothesis with score s <= 0 ends with a score of at most s, since no
        # log-probability is above 0, and with at most max_length tokens. cp is at most 0, and lp
        # grows with the length, so its rank is at most s / lp(max_length). It has to rank above
        # the last of a full list to enter it; the last of any other list ranks at -inf.
        bound = in_groups(search.scores).max(-1) / penalties[-1]
        is_settled = search.listed.ranks[..., -1] >= bound
        return (search.position < max_length) & ~is_settled.all()

    def advance(search: _Search) -> _Search:
        position, state, token, tokens, scores, coverage, greedy, listed = search

        def one(state: State, token: Array) -> tuple[State, Array]:
            return next_logits(model, params, state, token)

        state, logits = jax.vmap(one, in_axes=axis, out_axes=axis)(state, token)
        logits, totals = exclude_from(
            permitted(request, position, size),
            None if excluded is None else completions(excluded, tokens, position, size),
            logits,
            jnp.expand_dims(scores, -1) + jax.nn.log_softmax(logits),
        )
        if coverage is not None:
            coverage = coverage + mean_weights(state, alignment)
        ending = jax.lax.dynamic_index_in_dim(totals, end, axis + 1, keepdims=False)
        ended = hypotheses(tokens, position, True, ending, coverage)
        listed = best(listed, ended, listed.ranks.shape[-1])

        target = greedy_target(logits, totals, greedy, end, K // G)
        is_end = one_hot(jnp.broadcast_to(end, scores.shape), size)
        parents, token, scores, greedy = select_live(
            jnp.where(is_end, -jnp.inf, totals), target, beam
        )
        state, tokens, coverage = take((state, tokens, coverage), parents)
        tokens = write_at(tokens, position, token)
        return _Search(position + 1, state, token, tokens, scores, coverage, greedy, listed)

    def start_search() -> _Search:
        is_first = jnp.arange(K, dtype=jnp.int32) % (K // G) == 0  # of its group
        scores = jnp.where(is_first, 0, jnp.full(K, -jnp.inf, dtype))
        tokens = jnp.full((*batch_shape, K, max_length), end)
        shape = *batch_shape, G, -(-n_best // G)
        nothing = jnp.full(shape, -jnp.inf, dtype)
        no_lengths, no_tokens = jnp.zeros(shape, jnp.int32), jnp.full((*shape, max_length), end)
        coverage = None
        if beam.coverage_penalty:
            coverage = jnp.zeros_like(mean_weights(to_beam(state), alignment))
        return _Search(
            jnp.zeros((), jnp.int32),
            to_beam(state),
            to_beam(start),
            tokens,
            jnp.broadcast_to(scores, (*batch_shape, K)),
            coverage,
            jnp.zeros(batch_shape, jnp.int32),
            Hypotheses(Decoded(no_tokens, no_lengths, jnp.zeros(shape, bool), nothing), nothing),
        )

    search = jax.lax.while_loop(is_running, advance, start_search())
    cut_off = hypotheses(
        search.tokens,
        jnp.asarray(max_length, jnp.int32),
        False,
        jnp.where(search.position == max_length, search.scores, -jnp.inf),
        search.coverage,
    )
    listed = best(search.listed, cut_off, search.listed.ranks.shape[-1])
    listed = jax.tree.map(lambda a: a.reshape(*batch_shape, -1, *a.shape[axis + 2 :]), listed)
    if G > 1:
        listed = listed._replace(ranks=jnp.where(is_repeated(listed), -jnp.inf, listed.ranks))
    (tokens, lengths, finished, scores), ranks = best(listed, None, n_best)
    is_none = ranks == -jnp.inf
    return Decoded(
        jnp.where(jnp.expand_dims(is_none, -1), end, tokens),
        jnp.where(is_none, 0, lengths),
        finished & ~is_none,
        jnp.where(is_none, -jnp.inf, scores),
    )
