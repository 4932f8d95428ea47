"""Independent trainings, such as those of a sweep, each in one of several processes."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any, TypeVar

import jax
from rich.console import Console

from seqjax.hosts import await_all, gather

T = TypeVar("T")
_NONE = object()


def own_share(items: Sequence[T]) -> Sequence[T]:
    """The items of this process: process i of N has every Nth item, from the i-th on.

    With more processes than items, some have none.

    >>> own_share(["rnn", "gru"])
    ['rnn', 'gru']
    """
    return items[jax.process_index() :: jax.process_count()]


def collect(results: Sequence[Any], console: Console) -> list[Any]:
    """The results of all processes, in the order of the items that `own_share` split.

    All processes must call it, and it returns when all have.

    Args:
      results: JSON data for each item of this process. Numbers arrive bit for bit.
      console: shows that this process waits for others.

    >>> collect([0.5, 0.25], Console())
    [0.5, 0.25]
    """
    several = jax.process_count() > 1
    with console.status("waiting for others") if several else contextlib.nullcontext():
        await_all()
        shares = gather(list(results))
    rounds = itertools.zip_longest(*shares, fillvalue=_NONE)
    return [result for result in itertools.chain(*rounds) if result is not _NONE]


def announce(console: Console, items: Sequence[Any], what: str) -> None:
    """Say how many items the processes share, if there are several; process 0 shows its own."""
    processes = jax.process_count()
    if processes == 1:
        return
    idle = max(0, processes - len(items))
    text = f"{processes} processes share {len(items)} {what}; process 0 shows its own"
    if idle:
        text += f", and {idle} {'has' if idle == 1 else 'have'} none"
    console.print(text, highlight=False)
