"""What the engine checks before anything is compiled."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.checks import check_key
from seqjax.operations.affine import accumulation_dtype
from seqjax.types import Array, Cell, Noise, Params, PyTree, State


def check_cell(cell: Any) -> None:
    """Raise ``ValueError`` unless ``cell`` is a cell that is no more than its fields."""
    if not isinstance(cell, Cell):
        raise ValueError(f"cell must be a seqjax cell, such as seqjax.LSTM(units=64), got {cell!r}")
    for part in _parts(cell):
        names = {field.name for field in dataclasses.fields(part)}  # type: ignore[arg-type]
        more = [name for name in vars(part) if name not in names]
        if more:
            raise ValueError(
                f"{type(part).__name__} holds {', '.join(more)}, which is no field of it, so that "
                "unequal cells compare equal; put @dataclasses.dataclass(frozen=True) on the class "
                "and make it a field"
            )
    try:
        hash(cell)
    except TypeError:
        raise ValueError(
            f"the options of a cell must be hashable, as tuples are, got {cell}"
        ) from None


def _parts(cell: Cell) -> Iterator[Cell]:
    """A cell and all layers inside of it."""
    yield cell
    for field in dataclasses.fields(cell):  # type: ignore[arg-type]
        value = getattr(cell, field.name)
        for inner in value if isinstance(value, tuple) else (value,):
            if isinstance(inner, Cell):
                yield from _parts(inner)


def check_can_step(cell: Cell) -> None:
    """Raise ``ValueError`` unless ``cell`` can run step by step."""
    if not cell.can_step:
        raise ValueError(
            f"{cell} reads a sequence from both ends, so it cannot run step by "
            "step; run it over the whole sequence with seqjax.unroll"
        )


def check_params(cell: Cell, params: Params) -> None:
    """Raise ``ValueError`` unless ``params`` are as `Cell.init` makes them, in any dtype."""
    for leaf in jax.tree.leaves(params):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"params must hold floating arrays, got one of {leaf.dtype}")
    try:
        input_size = cell.input_size(params)
        expected = _expected_params(cell, input_size)
    except (AttributeError, IndexError, TypeError):
        raise ValueError(
            f"params must be what {cell}.init makes, got {jax.tree.structure(params)}"
        ) from None
    given: PyTree = jax.tree.structure(params)
    if given != jax.tree.structure(expected):
        raise ValueError(_other_structure(cell, input_size, params, expected))
    for (path, want), have in zip(
        jax.tree.leaves_with_path(expected), jax.tree.leaves(params), strict=True
    ):
        if have.shape != want.shape:
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} must have shape {want.shape} for {cell} on "
                f"{input_size} input features, got {have.shape}"
            )


@functools.lru_cache(maxsize=1024)
def _expected_params(cell: Cell, input_size: int) -> Params:
    return jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))


def _other_structure(cell: Cell, input_size: Any, params: Params, expected: Params) -> str:
    """Say which option the parameters were made with, or which of them are missing or too many."""
    given: PyTree = jax.tree.structure(params)
    for name, value in _other_options(cell):
        try:
            other = dataclasses.replace(cell, **{name: value})  # type: ignore[type-var]
            structure = jax.tree.structure(_expected_params(other, input_size))
        except (AttributeError, IndexError, TypeError, ValueError):
            continue
        if structure == given:
            return (
                f"params were made with {name}={value!r}, but the cell is {cell}, with "
                f"{name}={getattr(cell, name)!r}; use the cell that they were made for, or draw "
                "parameters for this one with init"
            )
    have, want = (
        {jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(tree)}
        for tree in (params, expected)
    )
    missing = ", ".join(f"params{path}" for path in sorted(want - have))
    surplus = ", ".join(f"params{path}" for path in sorted(have - want))
    found = "; ".join(
        text for text in (missing and f"missing {missing}", surplus and f"unexpected {surplus}")
        if text
    ) or f"got {given}"  # fmt: skip
    return f"params must have the structure that {cell}.init makes: {found}"


def _other_options(cell: Cell) -> Iterator[tuple[str, Any]]:
    """Each switch of a cell turned, and each of its optional sizes left out or given."""
    for field in dataclasses.fields(cell):  # type: ignore[arg-type]
        value = getattr(cell, field.name)
        if isinstance(value, bool):
            yield field.name, not value
        elif value is not None and field.default is None:
            yield field.name, None


def check_state(
    cell: Cell, state: State, batch_shape: tuple[int, ...], dtype: jnp.dtype, name: str
) -> None:
    """Raise ``ValueError`` unless ``state`` is one of ``cell`` for this batch."""
    expected = jax.eval_shape(lambda: cell.initial_state(batch_shape, dtype))
    given: PyTree = jax.tree.structure(state)
    wanted: PyTree = jax.tree.structure(expected)
    if given != wanted:
        raise ValueError(
            f"{name} must have the structure of cell.initial_state({batch_shape}), "
            f"{wanted}, got {given}"
        )
    for (path, want), have in zip(
        jax.tree.leaves_with_path(expected), jax.tree.leaves(state), strict=True
    ):
        if (have.shape, have.dtype) != (want.shape, want.dtype):
            raise ValueError(
                f"{name}{jax.tree_util.keystr(path)} must be {want.dtype} of shape "
                f"{want.shape} for this batch, got {have.dtype} of shape {have.shape}"
            )


def check_noise(cell: Cell, key: Array | None, deterministic: bool) -> None:
    """Raise ``ValueError`` unless the call says whether a noisy cell draws its noise."""
    if not isinstance(deterministic, bool):
        raise ValueError(f"deterministic must be True or False, got {deterministic!r}")
    if key is not None:
        check_key(key)
        if deterministic:
            raise ValueError(
                "key and deterministic=True were both given; give a key in training and "
                "deterministic=True in evaluation"
            )
    elif cell.is_noisy and not deterministic:
        raise ValueError(
            f"{cell} draws noise: give key=jax.random.key(...) in training, or "
            "deterministic=True in evaluation"
        )


def state_dtype(cell: Cell, params: Params, xs: PyTree) -> jnp.dtype:
    """The dtype of states and outputs: that of parameters and features, of 32 bits or more."""
    dtypes = [jnp.dtype(leaf.dtype) for leaf in jax.tree.leaves((params, cell.features(xs)))]
    floating = [accumulation_dtype(d) for d in dtypes if jnp.issubdtype(d, jnp.floating)]
    return functools.reduce(jnp.promote_types, floating)


def noise_of(cell: Cell, params: Params, key: Array | None, leading: tuple[int, ...]) -> Noise:
    """The noise of all steps, ``[T, B, ...]``, or None without a key."""
    return None if key is None else cell.draw_noise(key, leading, cell.input_size(params))


def check_batch(leading_shape: tuple[int, ...], time_axis: int) -> tuple[int, ...]:
    """The batch axes among the leading axes, of which none may be empty."""
    batch_shape = leading_shape[:time_axis] + leading_shape[time_axis + 1 :]
    if math.prod(batch_shape) == 0:
        raise ValueError(f"the batch is empty: xs has batch and time axes {leading_shape}")
    return batch_shape


def check_fixed_time(num_steps: Any, method: str, remat: int | None) -> None:
    """Raise ``ValueError`` if a symbolic time, as in `jax.export`, meets what needs a number."""
    if isinstance(num_steps, int):
        return
    if remat is not None:
        given, instead = f"remat={remat}", "leave remat out"
    elif method in ("static", "associative", "cudnn"):
        given, instead = f"method={method!r}", "use method='scan'"
    else:
        return
    raise ValueError(
        f"{given} needs a fixed number of time steps, and xs has {num_steps} of them; {instead}, "
        "or give the time axis of xs a number, which leaves the batch free"
    )
