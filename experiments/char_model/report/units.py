"""Single units of a model that follow something that a reader sees in the text."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

SENTENCE_ENDS = ".!?:;\u3002\uff01\uff1f"  # the last three are Chinese


class Unit(NamedTuple):
    """A unit, and the property of the text that it follows best.

    Attributes:
      place: of the unit among all units.
      property: the name of the property.
      correlation: of unit and property, on text that did not choose the unit.
    """

    place: int
    property: str
    correlation: float


def _since(is_start: Callable[[str], bool], text: str) -> np.ndarray:
    """The number of characters since the last one that starts something, ``[N]``."""
    count, result = 0, []
    for character in text:
        count = 0 if is_start(character) else count + 1
        result.append(count)
    return np.array(result, np.float64)


def _is(test: Callable[[str], bool], text: str) -> np.ndarray:
    return np.array([test(character) for character in text], np.float64)


PROPERTIES: dict[str, Callable[[str], np.ndarray]] = {
    "the place in the line": lambda text: _since(lambda c: c == "\n", text),
    "the place in the word": lambda text: _since(lambda c: not c.isalnum(), text),
    "the place in the sentence": lambda text: _since(lambda c: c in SENTENCE_ENDS, text),
    "upper case": lambda text: _is(str.isupper, text),
    "the start of a line": lambda text: _is(lambda c: c == "\n", text),
    "space between words": lambda text: _is(str.isspace, text),
    "digits": lambda text: _is(str.isdigit, text),
    "vowels": lambda text: _is(lambda c: c.lower() in "aeiou", text),
    "punctuation": lambda text: _is(lambda c: not (c.isalnum() or c.isspace()), text),
}


def telling_units(units: np.ndarray, text: str, count: int) -> list[Unit]:
    r"""The units that follow a property of the text most closely, at most one for each property.

    The first half of the text chooses the unit of each property, and the second half gives the
    correlations.

    Args:
      units: the state after each character, ``[N, U]``.
      text: N characters.
      count: the number of units.

    >>> text = "to be\nor not\n" * 20
    >>> units = np.stack([_is(str.isspace, text), _since(lambda c: c == "\n", text)], 1)
    >>> sorted(unit.property for unit in telling_units(units, text, count=2))
    ['space between words', 'the place in the line']
    """
    half = len(text) // 2
    found = []
    for name, measure in PROPERTIES.items():
        values = measure(text)
        first = _correlations(units[:half], values[:half])
        best = int(np.abs(first).argmax())
        second = float(_correlations(units[half:, best : best + 1], values[half:])[0])
        found.append(Unit(best, name, second))
    found.sort(key=lambda unit: -abs(unit.correlation))
    distinct = {unit.place: unit for unit in reversed(found)}
    return sorted(distinct.values(), key=lambda unit: -abs(unit.correlation))[:count]


def _correlations(units: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The correlation of each unit ``[N, U]`` with ``values`` ``[N]``; 0 where one is constant."""
    units = units - units.mean(0, dtype=np.float64)
    values = values - values.mean()
    scale = np.sqrt((units**2).sum(0) * (values**2).sum())
    return np.where(scale > 0, values @ units / np.where(scale > 0, scale, 1), 0.0)
