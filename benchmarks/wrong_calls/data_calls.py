"""Valid calls of the planning of batches."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.wrong_calls.accepts import between, integers, is_integer, is_sized, optional
from benchmarks.wrong_calls.example import Argument, Example, of
from seqjax import data


def data_examples() -> Iterator[Example]:
    """The policies, the plan, the loader and the report."""
    flag = lambda v: isinstance(v, bool)  # noqa: E731
    natural = between(0, 2**31 - 1, is_integer)
    positive = between(1, 2**31 - 1, is_integer)
    sources = data.ListSource(
        [{"x": np.arange(n), "w": [[1, 2]] * n} for n in (1, 2, 3)], {"x", "w"}, (3,), {"w"}
    )
    counts = np.array([3, 1, 2])
    order = np.array([2, 0, 1])
    steps = {"lengths": Argument(counts, integers(0, 8))}
    placed = {
        "order": Argument(order, integers(0, 2)),
        **steps,
    }
    is_policy = lambda v: isinstance(v, data.Padded | data.Bucketed | data.Packed)  # noqa: E731
    policies: dict[str, Any] = {
        "Padded": data.Padded(2),
        "Bucketed": data.Bucketed((4, 8), 2),
        "Packed": data.Packed(2, 8),
    }
    yield of("data.Padded", data.Padded, batch_size=2, multiple=4, drop_remainder=True)
    yield of("data.Padded filled", data.Padded, batch_size=2, fill_remainder=True)
    yield of(
        "data.Bucketed",
        data.Bucketed,
        boundaries=Argument(
            (4, 8), lambda v: isinstance(v, list | tuple) and all(map(positive, v))
        ),
        batch_size=Argument(
            2, lambda v: positive(v) or (isinstance(v, list | tuple) and all(map(positive, v)))
        ),
        multiple=2,
        drop_remainder=True,
        drop_longer=True,
        fill_remainder=Argument(False, lambda v: v is False),
    )
    yield of(
        "data.Bucketed.of_steps",
        data.Bucketed.of_steps,
        boundaries=Argument(
            (4, 8), lambda v: isinstance(v, list | tuple) and all(map(positive, v))
        ),
        steps=16,
        drop_longer=Argument(True, flag),
    )
    yield of(
        "data.Packed", data.Packed, batch_size=2, steps=8, drop_remainder=True, drop_longer=True
    )
    yield from (
        of(f"data.{name}.batches", policy.batches, **placed) for name, policy in policies.items()
    )
    yield from (
        of(f"data.{name}.place", policy.place, **steps) for name, policy in policies.items()
    )
    yield of(
        "data.plan",
        data.plan,
        **steps,
        shards=Argument((2, 1), lambda v: isinstance(v, list | tuple) and all(map(natural, v))),
        policy=Argument(data.Padded(2), is_policy),
        seed=Argument(1, optional(between(0, 2**64 - 1, is_integer))),
        epoch=Argument(0, natural),
        interleave=Argument(2, optional(positive)),
    )
    yield of(
        "data.ListSource",
        data.ListSource,
        examples=Argument(
            [{"x": np.arange(3)}],
            lambda v: (
                is_sized(v)
                and all(isinstance(e, dict) and all(np.ndim(a) for a in e.values()) for e in v)
            ),
        ),
        sequence_features=Argument({"x"}, lambda v: False),
        shards=Argument(
            (1,), lambda v: v is None or (isinstance(v, list | tuple) and all(map(natural, v)))
        ),
        ragged_features=Argument((), lambda v: is_sized(v) and len(v) == 0),
    )
    yield of(
        "data.Ragged",
        data.Ragged,
        values=Argument(np.arange(3), lambda v: np.ndim(v) > 0 and len(v) == 3),
        lengths=Argument(np.array([2, 1]), lambda v: np.ndim(v) == 1 and sum(v) == 3),
    )
    yield of(
        "data.Ragged.of",
        data.Ragged.of,
        lists=Argument([np.arange(2), np.arange(1)], lambda v: is_sized(v) or np.ndim(v) > 1),
    )
    yield of(
        "data.Loader",
        _load,
        source=Argument(sources, lambda v: v is sources),
        policy=Argument(data.Padded(2), is_policy),
        seed=Argument(1, optional(between(0, 2**64 - 1, is_integer))),
        epochs=Argument(1, optional(positive)),
        interleave=Argument(2, optional(positive)),
        pad_values=Argument({"x": 0}, lambda v: v is None or (isinstance(v, dict) and not v)),
        widths=Argument({"w": 4}, lambda v: v is None or (isinstance(v, dict) and not v)),
        process=Argument(0, natural),
        processes=1,
        split_rows=False,
        prefetch=2,
        start=Argument(data.Position(), lambda v: False),
    )
    yield of(
        "data.Report.of_plan",
        data.Report.of_plan,
        **steps,
        plan=Argument(
            [np.array([0, 1])],
            lambda v: not np.size(v) or (is_sized(v) and all(map(integers(0, 2), v))),
        ),
        policy=Argument(data.Padded(2), is_policy),
    )
    yield of(
        "data.Report.of_batch",
        data.Report.of_batch,
        **steps,
        policy=Argument(data.Padded(2), is_policy),
    )


def _load(
    source: Any,
    policy: Any,
    *,
    interleave: int,
    processes: int,
    split_rows: bool,
    prefetch: int,
    **options: Any,
) -> Any:
    """The first batch of a loader."""
    loader = data.Loader(
        source,
        policy,
        interleave=interleave,
        processes=processes,
        split_rows=split_rows,
        prefetch=prefetch,
        **options,
    )
    with loader:
        return [next(loader)]
