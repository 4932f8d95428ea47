"""Valid calls of the tasks."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.wrong_calls.accepts import between, integers, is_integer, is_number, is_sized, like
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
