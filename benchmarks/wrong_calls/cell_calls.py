"""Valid calls of the cells of the catalogue."""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import seqjax
from benchmarks.wrong_calls.accepts import (
    Accepts,
    between,
    declared,
    is_floating_dtype,
    is_integer,
    is_key,
    is_number,
    is_shape,
    is_sized,
    like,
    optional,
)
from benchmarks.wrong_calls.example import Argument, Example, fill
from seqjax.catalogue import CATALOGUE
from seqjax.types import Cell


def cell_examples() -> Iterator[Example]:
    """Each cell of the catalogue: its constructor, its methods, and `seqjax.unroll`."""
    rate = between(0, 1 - 1e-9)
    natural = between(0, 2**31 - 1, is_integer)
    own: dict[str, Accepts] = {
        "input_rate": rate,
        "output_rate": rate,
        "recurrent_dropout": rate,
        "state_rate": lambda v: rate(v) or isinstance(v, tuple),
        "rate": lambda v: rate(v) or isinstance(v, tuple),
        "cell_clip": optional(lambda v: (is_number(v) or isinstance(v, float)) and v > 0),
        "projection_clip": optional(lambda v: (is_number(v) or isinstance(v, float)) and v > 0),
        "leak": between(0, 1),
        "ratio_on": between(1e-300, 1),
        "r_min": between(0, 1),
        "r_max": between(1e-300, 1),
        "max_phase": between(1e-300, 2 * np.pi),
        "backward_offset": is_integer,
    }
    own |= {
        name: lambda v: is_sized(v) and all(map(natural, v))
        for name in ("inputs", "outputs", "priority", "non_recurrent")
    }
    for entry in CATALOGUE:
        cell = entry.make(8)
        name = type(cell).__name__
        fields = {
            field.name: Argument(
                getattr(cell, field.name),
                own.get(field.name) or declared(field.type, getattr(cell, field.name)),
            )
            for field in dataclasses.fields(cell)  # type: ignore[arg-type]
        }
        yield Example(name, type(cell), fields)
        size = entry.size(8, 3)
        is_size = between(1, 2**31 - 1, is_integer)
        if isinstance(size, tuple):
            is_size = lambda v: isinstance(v, tuple) and v == size  # noqa: B023, E731
        key = Argument(jax.random.key(0), is_key)
        dtype = Argument(jnp.float32, is_floating_dtype)
        yield Example(
            f"{name}.init",
            cell.init,
            {"key": key, "input_size": Argument(size, is_size), "dtype": dtype},
        )
        yield Example(
            f"{name}.initial_state",
            cell.initial_state,
            {"batch_shape": Argument((2,), is_shape), "dtype": dtype},
        )
        xs = fill(entry.draw_inputs, jax.random.key(1), (2, 4), size)
        params = fill(cell.init, jax.random.key(0), size)
        params = entry.bind(cell, params, jax.random.key(2), batch=2, units=8)
        initial_state = cell.first_state(params, (2,))
        run: dict[str, Argument] = {
            "cell": Argument(cell, lambda v: isinstance(v, Cell)),
            "params": Argument(params, like(params)),
            "xs": Argument(xs, like(xs)),
            "lengths": Argument(np.array([4, 2]), optional(like(np.array([4, 2]), 0, 4))),
            "initial_state": Argument(initial_state, optional(like(initial_state))),
            "deterministic": Argument(True, lambda v: isinstance(v, bool)),
        }
        yield Example(f"unroll of {name}", seqjax.unroll, run)
