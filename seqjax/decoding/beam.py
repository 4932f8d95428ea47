"""The options of a beam search."""

import dataclasses

from seqjax.checks import check_number, check_size


@dataclasses.dataclass(frozen=True)
class Beam:
    """The options of a beam search.

    A hypothesis Y, with its end symbol, ranks by ::

        rank(Y) = log P(Y) / lp(Y) + cp(Y)
        lp(Y)   = ((5 + |Y|) / 6) ** length_penalty
        cp(Y)   = coverage_penalty * sum over s of log(min(sum over t of a_ts, 1))

    where ``a_ts`` is the weight of the valid position s of the context at step t, averaged over all
    heads. A sum of 0 counts as the smallest normal number.

    With several groups, each searches with a part of the beam and keeps a part of the n-best list.
    At each step, the groups choose in turn. A token that n hypotheses of earlier groups have just
    chosen is chosen as if its log-probability were lower by ``n * diversity``. Neither scores nor
    ranks include this. A hypothesis that several groups find counts once.

    A threshold drops hypotheses that are unlikely to win. At each step, a candidate is dropped if
    its score lies more than ``threshold`` below that of the likeliest candidate of its group, or of
    the likeliest hypothesis in the list of its group. The greedy hypothesis is never dropped. Fewer
    live hypotheses take less time. The list may hold fewer than N.

    Args:
      width: K, the number of hypotheses that are extended at each step.
      n_best: N, the number of hypotheses that are returned, or None for K.
      length_penalty: alpha, at least 0. Values above 0 favour long hypotheses.
      coverage_penalty: beta, at least 0. Values above 0 favour hypotheses that attend to all
        positions of the context.
      groups: the number of groups, which must divide K.
      diversity: the strength of the Hamming diversity of several groups, at least 0.
      threshold: in nats, at least 0, or None to drop nothing.

    Raises:
      ValueError: an argument has the wrong type or value.

    Reference: Wu et al., "Google's neural machine translation system", 2016 (penalties);
    Vijayakumar et al., "Diverse beam search", 2018 (groups); Freitag & Al-Onaizan, "Beam search
    strategies for neural machine translation", 2017 (threshold).

    >>> Beam(width=8, length_penalty=0.6).groups
    1
    """

    width: int
    n_best: int | None = None
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    groups: int = 1
    diversity: float = 0.0
    threshold: float | None = None

    def __post_init__(self) -> None:
        for name in ("width", "groups"):
            check_size("Beam", name, getattr(self, name))
        if self.n_best is not None:
            check_size("Beam", "n_best", self.n_best)
        for name in ("length_penalty", "coverage_penalty", "diversity", "threshold"):
            if name == "threshold" and self.threshold is None:
                continue
            check_number("Beam", name, getattr(self, name))
            if getattr(self, name) < 0:
                raise ValueError(f"Beam: {name} must be at least 0, got {getattr(self, name)}")
        if self.width % self.groups:
            raise ValueError(
                f"Beam: groups must divide width={self.width} into equal parts, got {self.groups}"
            )
        if self.diversity and self.groups == 1:
            raise ValueError(
                f"Beam: diversity={self.diversity} needs at least 2 groups, got groups=1"
            )
