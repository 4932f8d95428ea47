"""Draws of wrong calls, and their outcomes."""

import pathlib
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import seqjax
from benchmarks.wrong_calls.calls import examples
from benchmarks.wrong_calls.example import Example
from benchmarks.wrong_calls.kinds import KINDS, SAME, UNKNOWN, NotApplicableError

Outcome = Literal["error", "signature", "harmless", "silent", "crash"]
ROOT = pathlib.Path(seqjax.__file__).parent


def run(example: Example, name: str, kind: str, rng: np.random.Generator) -> tuple[Outcome, str]:
    """Make the call of ``example`` with a value of ``kind`` for the argument ``name``."""
    argument = example.arguments[name]
    given = {key: argument.value for key, argument in example.arguments.items()}
    if kind == UNKNOWN:
        try:
            example.call(**given, unknown=argument.value)
        except Exception as error:
            return _outcome(error), f"{type(error).__name__}: {error}"
        return "silent", "an unknown argument was accepted"
    value = KINDS[kind](argument.value, rng)
    if callable(argument.value) and callable(value):  # errors of a given function are not seqjax's
        raise NotApplicableError
    try:
        result = example.call(**given | {name: value})
    except Exception as error:
        return _outcome(error), f"{type(error).__name__}: {error}"
    if not argument.accepts(value):
        return "silent", f"returned {_short(result)}"
    if kind == "lists":  # of the default dtype, in which a function may draw other random numbers
        given[name] = jnp.asarray(value)
    if kind in SAME and not _equal(result, example.call(**given)):
        return "silent", f"another result, {_short(result)}"
    return "harmless", ""


def _outcome(error: Exception) -> Outcome:
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    if isinstance(error, ValueError) and pathlib.Path(frames[-1]).is_relative_to(ROOT):
        return "error"
    signature = r"unexpected keyword argument|missing a required argument|positional argument"
    if isinstance(error, TypeError) and re.search(signature, str(error)):
        return "signature"
    return "crash"


def _equal(one: Any, other: Any) -> bool:
    leaves, others = jax.tree.leaves(one), jax.tree.leaves(other)
    if isinstance(one, nnx.Module):  # its parameters are random
        return [leaf.shape for leaf in leaves] == [leaf.shape for leaf in others]
    if not all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        return type(one) is type(other)
    return len(leaves) == len(others) and all(
        a.shape == b.shape and np.allclose(np.asarray(a, float), np.asarray(b, float), 1e-5, 1e-5)
        for a, b in zip(leaves, others, strict=True)
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
    )


def _short(value: Any) -> str:
    return f"a {type(value).__name__}"


class Draw(NamedTuple):
    """A call that was made."""

    call: str
    argument: str
    kind: str
    outcome: Outcome
    message: str


def draws(count: int, seed: int) -> Iterator[Draw]:
    """Make ``count`` calls, each with one wrong argument."""
    rng = np.random.default_rng(seed)
    table = [example for example in examples() if example.arguments]
    kinds = [*KINDS, UNKNOWN]
    made = 0
    while made < count:
        example = table[rng.integers(len(table))]
        name = [*example.arguments][rng.integers(len(example.arguments))]
        kind = kinds[rng.integers(len(kinds))]
        try:
            outcome, text = run(example, name, kind, rng)
        except NotApplicableError:
            continue
        made += 1
        yield Draw(example.name, name, kind, outcome, text)
