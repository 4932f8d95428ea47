"""Valid calls of the tasks."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.wrong_calls.accepts import (
    between,
    integers,
    is_integer,
    is_number,
    is_sized,
    like,
    optional,
)
from benchmarks.wrong_calls.example import Argument, Example, of
from seqjax import (
    tasks,
)


def task_examples(key: Argument) -> Iterator[Example]:
    """Each task: its constructor and its methods."""
    made: tuple[Any, ...] = (
        tasks.Adding(),
        tasks.Copy(4, 2),
        tasks.DelayedParity(),
        tasks.AssociativeRecall(),
    )
    for task in made:
        name = f"tasks.{type(task).__name__}"
        length = Argument(4, between(1, 2**31 - 1, is_integer))
        if dataclasses.fields(task):
            fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}
            yield of(
                name,
                type(task),
                **fields
                | (
                    {"delay": Argument(task.delay, between(0, 2**31 - 1, is_integer))}
                    if "delay" in fields
                    else {}
                ),
            )
        else:
            yield of(name, type(task))
        yield of(f"{name}.sample", task.sample, key=key, length=length)
        example = jax.tree.map(lambda a: a[None], task.sample(key.value, 4))
        outputs = jnp.ones((1, example.weights.shape[1], task.output_size), jnp.float32)
        yield of(
            f"{name}.loss",
            task.loss,
            outputs=outputs,
            example=Argument(
                example,
                functools.partial(_is_answered, example),
            ),
        )
    yield from _pair_examples(key)
    task = tasks.BinaryDependency([(2, 0.5)], 0.25)

    def pairs(value: Any) -> bool:
        return is_sized(value) and all(
            isinstance(p, list | tuple) and len(p) == 2 and is_integer(p[0]) and is_number(p[1])
            for p in value
        )

    yield of(
        "tasks.BinaryDependency",
        tasks.BinaryDependency,
        dependencies=Argument([(2, 0.5)], pairs),
        base_rate=Argument(0.25, between(0, 1)),
    )
    known = lambda v: not np.size(v) or (is_sized(v) and all(map(is_integer, v)))  # noqa: E731
    yield of("tasks.BinaryDependency.expected_loss", task.expected_loss, known=Argument([2], known))
    bits = jnp.array([0, 1, 1, 0])
    yield of(
        "tasks.BinaryDependency.probabilities",
        task.probabilities,
        xs=Argument(bits, integers(0, 1, any_shape=True)),
    )
    yield of("tasks.BinaryDependency.sample", task.sample, key=key, num_steps=5)


def _pair_examples(key: Argument) -> Iterator[Example]:
    """Each task from sequence to sequence: its constructor and its methods."""
    yield of("tasks.Reversal", tasks.Reversal, symbols=4)
    yield of("tasks.Sorting", tasks.Sorting, symbols=4)
    yield of("tasks.Addition", tasks.Addition)
    for task in (tasks.Reversal(4), tasks.Sorting(4), tasks.Addition()):
        name = f"tasks.{type(task).__name__}"
        scalar = lambda v: np.ndim(v) == 0 and integers(1, 4)(np.atleast_1d(v))  # noqa: E731
        length = Argument(3, optional(scalar))
        largest = Argument(4, between(3, 2**31 - 1, is_integer))
        yield of(f"{name}.sample", task.sample, key=key, max_length=largest, length=length)
        yield of(f"{name}.chance", task.chance, length=3)
        pair = jax.tree.map(lambda a: a[None], task.sample(key.value, 4))
        sources, lengths = pair.sources, pair.source_lengths
        yield of(
            f"{name}.answer",
            task.answer,
            sources=Argument(sources, functools.partial(_are_sources, sources, task.source_size)),
            lengths=Argument(lengths, like(lengths, 0, sources.shape[1])),
        )
        decoded = pair.targets, pair.target_lengths
        yield of(
            f"{name}.success",
            task.success,
            tokens=Argument(decoded[0], functools.partial(_are_sources, decoded[0], None)),
            lengths=Argument(decoded[1], like(decoded[1], 0, decoded[0].shape[1])),
            pair=Argument(pair, functools.partial(_is_like_pair, pair)),
        )
    addition = tasks.Addition()
    yield of("tasks.Addition.tokens", addition.tokens, text=Argument("1+2", lambda v: v == "1+2"))
    row = np.array([1, 10, 2])
    yield of(
        "tasks.Addition.text",
        addition.text,
        tokens=Argument(row, lambda v: integers(-(2**63), 2**64 - 1)(v) and len(v) >= 3),
        length=Argument(3, lambda v: np.ndim(v) == 0 and integers(0, 3)(np.atleast_1d(v))),
    )


def _are_sources(sources: Any, size: int | None, value: Any) -> bool:
    """Whether the first steps are like ``sources``, in ``[0, size)``; padding is not read."""
    accepts = like(sources) if size is None else like(sources, 0, size - 1)
    return np.ndim(value) == 2 and accepts(np.asarray(value)[:, : sources.shape[1]])


def _is_like_pair(pair: Any, value: Any) -> bool:
    """Whether the targets are like those of ``pair``; sources are not read."""
    return (
        type(value) is type(pair)
        and like(pair.targets)(value.targets)
        and like(pair.target_lengths, 0, pair.targets.shape[1])(value.target_lengths)
    )


def _is_answered(example: Any, value: Any) -> bool:
    """Whether targets and weights are like those of ``example``; inputs are not read."""
    return (
        type(value) is type(example)
        and like(example.targets)(value.targets)
        and (
            like(example.weights)(value.weights)
            or like(example.weights > 0)(np.equal(value.weights, 1))
        )
    )
