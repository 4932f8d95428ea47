"""The textbook's n-gram model in plain dictionaries, and a text, for tests."""

import collections
import math

from seqjax.data.text import Vocabulary


class Textbook:
    """Modified Kneser-Ney with one dictionary for each length of n-gram."""

    def __init__(self, train, order, size):
        self.order, self.size = order, size
        self.counts = {}
        for n in range(1, order + 1):
            if n == order:
                grams = [tuple(train[i : i + n]) for i in range(len(train) - n + 1)]
            else:  # how many different tokens stand before it
                longer = {tuple(train[i : i + n + 1]) for i in range(len(train) - n)}
                grams = [gram[1:] for gram in longer]
            self.counts[n] = collections.Counter(grams)

    def discount(self, n, count):
        n1, n2, n3, n4 = (1 + sum(c == k for c in self.counts[n].values()) for k in (1, 2, 3, 4))
        y = n1 / (n1 + 2 * n2)
        exact = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
        return 0 if count == 0 else max(y, exact[min(count, 3)])

    def probability(self, context, token):
        n = len(context) + 1
        shorter = self.probability(context[1:], token) if context else 1 / self.size
        follow = [self.counts[n][(*context, v)] for v in range(self.size)]
        if not sum(follow):
            return shorter
        spare = sum(self.discount(n, c) for c in follow)
        count = follow[token]
        return (count - self.discount(n, count) + spare * shorter) / sum(follow)

    def loss(self, validation):
        total = 0
        for i, token in enumerate(validation):
            context = tuple(validation[max(0, i - self.order + 1) : i])
            total -= math.log(self.probability(context, token))
        return total / len(validation)


TEXT = "the cat sat on the mat and the rat sat on the cat. that is that, said the hat."
VOCABULARY = Vocabulary.of(TEXT)
TOKENS = VOCABULARY.encode(TEXT)
