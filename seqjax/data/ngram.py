"""N-gram language models, whose loss is a baseline for other language models."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from seqjax.checks import check_size
from seqjax.data.text import check_token_row


def ngram_loss(train: Any, validation: Any, order: int, vocabulary_size: int) -> float:
    """Return the loss of one n-gram model; see `ngram_losses`.

    >>> round(ngram_loss([0, 1] * 50, [0, 1] * 10, order=2, vocabulary_size=2), 3)
    0.051
    """
    return ngram_losses(train, validation, [order], vocabulary_size)[order]


def ngram_losses(
    train: Any, validation: Any, orders: Iterable[int], vocabulary_size: int
) -> dict[int, float]:
    r"""Mean cross-entropy of ``validation``, in nats, under n-gram models trained on ``train``.

    The models use interpolated modified Kneser-Ney smoothing. Let ``h`` be the ``n - 1`` tokens
    before ``w``, and ``h'`` be ``h`` without its first token. Then::

        p(w | h) = (c(hw) - D(c(hw)) + sum_v D(c(hv)) p(w | h')) / sum_v c(hv)

    and ``p(w | h) = p(w | h')`` if ``h`` does not occur in ``train``. For n-grams of the model's
    order, ``c`` is the number of occurrences; for shorter ones, it is the number of different
    tokens that precede them. Below the unigrams, ``p = 1 / vocabulary_size``. The discounts are::

        Y = n_1 / (n_1 + 2 n_2),  D(0) = 0,  D(k) = max(Y, k - (k + 1) Y n_{k+1} / n_k)

    where ``n_k`` is the number of n-grams of count k plus one, so that it is never zero, and
    ``D(k) = D(3)`` for k above 3. The first ``n - 1`` tokens of ``validation`` have shorter
    contexts.

    Args:
      train: integers ``[N]``, the tokens to count.
      validation: integers ``[M]``, the tokens to score.
      orders: the order n of each model.
      vocabulary_size: V, the number of different tokens.

    Returns:
      The loss of each order.

    Raises:
      ValueError: there are no tokens, a token is outside ``[0, V)``, or an order is less than 1.

    Reference: Chen and Goodman, "An empirical study of smoothing techniques for language modeling",
    1998.

    >>> losses = ngram_losses([0, 1] * 50, [0, 1] * 10, range(1, 4), vocabulary_size=2)
    >>> {order: round(loss, 3) for order, loss in losses.items()}
    {1: 0.693, 2: 0.051, 3: 0.062}
    """
    orders = set(orders)
    found = _probabilities("ngram_losses", train, validation, orders, vocabulary_size)
    return {order: -float(np.log(p).mean()) for order, p in found}


def ngram_token_losses(train: Any, validation: Any, order: int, vocabulary_size: int) -> np.ndarray:
    """The loss of each token of ``validation``, ``float64[M]``, for a mixture with another model.

    Arguments and errors are those of `ngram_losses`, which computes the mean.

    >>> losses = ngram_token_losses([0, 1] * 50, [0, 1, 0], order=2, vocabulary_size=2)
    >>> print(losses.round(2))
    [0.69 0.02 0.02]
    """
    owner = "ngram_token_losses"
    ((_, p),) = _probabilities(owner, train, validation, {order}, vocabulary_size)
    losses: np.ndarray = -np.log(p)
    return losses


def _probabilities(
    owner: str, train: Any, validation: Any, orders: set[int], vocabulary_size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """The probability of each token under the model of each order."""
    check_size(owner, "vocabulary_size", vocabulary_size)
    train, validation = (check_token_row(t, vocabulary_size) for t in (train, validation))
    if not (train.size and validation.size):
        raise ValueError(
            f"{owner}: got {train.size} tokens to count and {validation.size} to score; "
            "give 1 or more of each"
        )
    for order in orders:
        check_size(owner, "order", order)

    tokens = np.concatenate([train, validation]).astype(np.int64)
    end = len(train)
    probabilities = np.full(len(validation), 1 / vocabulary_size)
    shorter = np.zeros(len(tokens), np.int64)
    grams = number_longer(shorter, tokens, 1)
    for n in range(1, max(orders, default=0) + 1):
        longer = number_longer(grams, tokens, n + 1)
        contexts = np.roll(shorter, 1)  # they end one token earlier
        place = np.zeros(grams.max() + 1, np.int64)  # one position of each n-gram in train
        place[grams[n - 1 : end]] = np.arange(n - 1, end)
        scored = slice(end + n - 1, None)
        backoff = probabilities[n - 1 :]
        known = (contexts[place], grams[scored], contexts[scored], backoff)
        if n in orders:
            occurrences = np.bincount(grams[n - 1 : end], minlength=len(place))
            yield n, np.append(probabilities[: n - 1], _model(occurrences, *known))
        _, first = np.unique(longer[n:end], return_index=True)
        predecessors = np.bincount(grams[n:end][first], minlength=len(place))
        backoff[:] = _model(predecessors, *known)
        shorter, grams = grams, longer


def number_longer(grams: np.ndarray, tokens: np.ndarray, n: int) -> np.ndarray:
    """Number the n-grams that end at each position, given the numbers of the (n-1)-grams there.

    >>> ones = number_longer(np.zeros(4, int), np.array([5, 7, 5, 7]), 1)
    >>> print(ones, number_longer(ones, np.array([5, 7, 5, 7]), 2)[1:])
    [0 1 0 1] [0 1 0]
    """
    result = np.zeros_like(grams)  # positions before the first n-gram stay 0 and are not used
    first_tokens = tokens[: max(0, len(tokens) - n + 1)]
    pairs = first_tokens * (grams.max() + 1) + grams[n - 1 :]
    _, result[n - 1 :] = np.unique(pairs, return_inverse=True)
    return result


def discounts(counts: np.ndarray) -> np.ndarray:
    """The discounts of counts 0 to 3, ``[4]``, which follow from the counts of all n-grams.

    >>> print(discounts(np.array([1, 1, 2, 3])).round(2))
    [0.   0.43 0.71 2.14]
    """
    k = np.arange(1, 4)
    n_k = np.bincount(np.minimum(counts, 5), minlength=6)[1:5] + 1
    y = n_k[0] / (n_k[0] + 2 * n_k[1])
    return np.append(0, np.maximum(y, k - (k + 1) * y * n_k[1:] / n_k[:-1]))


def _model(
    counts: np.ndarray,
    context_of: np.ndarray,
    grams: np.ndarray,
    contexts: np.ndarray,
    backoff: np.ndarray,
) -> np.ndarray:
    """Return the probabilities ``[M]`` of n-grams; counts and context_of are by n-gram number."""
    discount = discounts(counts)[np.minimum(counts, 3)]
    size = contexts.max(initial=0) + 1
    total = np.bincount(context_of, counts, size)[contexts]
    spare = np.bincount(context_of, discount, size)[contexts]
    p = (counts - discount)[grams] + spare * backoff
    return np.divide(p, total, out=backoff.copy(), where=total > 0)
