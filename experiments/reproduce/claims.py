"""Claims of the articles, and the criteria by which measured values agree with them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Run(NamedTuple):
    """A command ``python -m experiments.COMMAND --out FOLDER``."""

    name: str  # the name of its folder
    command: str
    quick: str | None = ""  # options of the quick mode; None: it does not run
    full: str = ""  # options of the full mode

    def arguments(self, full: bool) -> list[str]:
        """The command after ``python -m``, without ``--out``."""
        return f"experiments.{self.command} {self.full if full else self.quick or ''}".split()


class Files(NamedTuple):
    """The files that a run wrote."""

    result: Any  # result.json
    metrics: list[Any]  # metrics.jsonl


class Criterion(NamedTuple):
    """The criterion by which a measured value agrees."""

    text: str
    holds: Callable[[Any], bool] | None  # None: the value is shown but not compared


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement, number, table or figure of an article."""

    article: str  # a key of ARTICLES
    says: str  # a quotation or a paraphrase
    run: str  # the name of the run that measures it
    read: Callable[[Files], Any]  # a text or a number, a list or a dict of them
    criterion: Criterion
    unit: str = ""
    full_only: bool = False  # the quick mode does not measure it


def near(expected: float | Sequence[float], tolerance: float) -> Criterion:
    """Each number is within ``tolerance`` of the expected one.

    >>> near([0.66, 0.52], 0.01).holds([0.655, 0.525])
    True
    """
    text = f"within {tolerance:g} of {shown(expected)}"
    return Criterion(
        text,
        lambda measured: all(
            abs(here - there) <= tolerance
            for here, there in zip(_numbers(measured), _numbers(expected), strict=True)
        ),
    )


def at_most(limit: float | Sequence[float], why: str = "") -> Criterion:
    """Each number is at most its limit.

    >>> at_most([3.5, 3.3], why="the article's").text
    "at most 3.5, 3.3: the article's"
    """
    return Criterion(
        f"at most {shown(limit)}{why and ': ' + why}",
        lambda measured: all(
            here <= there for here, there in zip(_numbers(measured), _numbers(limit), strict=True)
        ),
    )


def at_least(limit: float, why: str = "") -> Criterion:
    """Each number is at least the limit.

    >>> at_least(0.97).holds(0.96)
    False
    """
    return Criterion(
        f"at least {shown(limit)}{why and ': ' + why}",
        lambda measured: min(_numbers(measured)) >= limit,
    )


def between(low: float, high: float, why: str = "") -> Criterion:
    """Each number lies in ``[low, high]``.

    >>> between(0, 1).holds([0.5, 2])
    False
    """
    return Criterion(
        f"from {shown(low)} to {shown(high)}{why and ': ' + why}",
        lambda measured: all(low <= value <= high for value in _numbers(measured)),
    )


def equal(expected: Any, text: str = "") -> Criterion:
    """The value is the expected one.

    >>> equal([5, 4]).text
    'equal to 5, 4'
    """
    return Criterion(
        text or f"equal to {shown(expected)}", lambda measured: bool(measured == expected)
    )


def not_compared(why: str) -> Criterion:
    """The value is shown but not compared."""
    return Criterion(why, None)


def shown(value: Any) -> str:
    """Format a value for the report.

    >>> shown([0.51919999, 25.64, [2, 10]])
    '0.5192, 25.6, [2, 10]'
    """
    if isinstance(value, dict):
        return "; ".join(f"{name} {shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        parts = (f"[{shown(v)}]" if isinstance(v, list | tuple) else shown(v) for v in value)
        return ", ".join(parts)
    if isinstance(value, float):
        if 0 < abs(value) < 1e-3:
            return f"{value:.1g}"
        return f"{round(value, 4):g}" if abs(value) < 10 else f"{value:.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _numbers(value: float | Sequence[float]) -> Sequence[float]:
    return value if isinstance(value, Sequence) else [value]
