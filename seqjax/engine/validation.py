"""Checks of arguments before a program is compiled."""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.arrays import as_params, describe_tree
from seqjax.checks import check_flag, check_key
from seqjax.operations.affine import accumulation_dtype
from seqjax.types import Array, Cell, Context, Noise, Params, PyTree, State


def check_cell(cell: Any) -> None:
    """Raise ``ValueError`` unless ``cell`` is a hashable cell that is equal by its fields."""
    if not isinstance(cell, Cell):
        raise ValueError(f"cell must be a seqjax cell, such as seqjax.LSTM(units=64), got {cell!r}")
    for part in _parts(cell):
        if not dataclasses.is_dataclass(type(part)):
            raise ValueError(
                f"{type(part).__name__} must be a frozen dataclass; put "
                "@dataclasses.dataclass(frozen=True) on the class"
            )
        names = {field.name for field in dataclasses.fields(part)}  # type: ignore[arg-type]
        more = [name for name in vars(part) if name not in names]
        if more:
            raise ValueError(
                f"{type(part).__name__} has attributes that are not fields: {', '.join(more)}. "
                "Unequal cells would compare equal; put @dataclasses.dataclass(frozen=True) on the "
                "class and declare each as a field"
            )
    try:
        hash(cell)
    except TypeError:
        for part in _parts(cell):
            if type(part).__hash__ is None:
                raise ValueError(
                    f"{type(part).__name__} must be a frozen dataclass; add frozen=True to its "
                    "dataclass decorator"
                ) from None
        raise ValueError(
            f"the options of a cell must be hashable, such as tuples instead of lists, got {cell}"
        ) from None


def _parts(cell: Cell) -> Iterator[Cell]:
    """A cell and all cells inside of it."""
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
            f"{cell} reads a sequence from both ends, so it cannot run step by step; run it over "
            "the whole sequence with seqjax.unroll"
        )


def check_generator(model: Any, params: Params) -> Params:
    """Return ``params`` as arrays.

    Raise ``ValueError`` unless ``model`` runs step by step and can read the tokens that are drawn
    from its outputs.
    """
    check_cell(model)
    check_can_step(model)
    params = as_params(params)
    check_params(model, params)
    logits, tokens = model.output_size, model.input_size(params)
    if isinstance(logits, tuple) or isinstance(tokens, tuple) or logits > tokens:
        raise ValueError(
            f"the output of {model} has size {logits} but its vocabulary has size {tokens}, so it "
            "cannot read every token drawn; wrap the cell in a seqjax.LanguageModel"
        )
    return params


def check_params(cell: Cell, params: Params) -> None:
    """Raise ``ValueError`` unless ``params`` have the structure and shapes of `Cell.init`.

    They may also hold a `Context`.
    """
    for context in contexts(params):
        if not all(isinstance(part, jax.Array) for part in context):
            raise ValueError(
                "the context of params must be one that seqjax.with_context has bound, got "
                f"{describe_tree(context)}"
            )
    params = jax.tree.map(
        lambda part: None if is_context(part) else part, params, is_leaf=is_context
    )
    try:
        input_size = cell.input_size(params)
        expected = _expected_params(cell, input_size)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"params must have the structure that {cell}.init returns, got {describe_tree(params)}"
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


def is_context(part: PyTree) -> bool:
    """Whether a part of parameters is a `Context`."""
    return isinstance(part, Context)


def contexts(params: Params) -> list[Context]:
    """Return every `Context` in ``params``."""
    return [part for part in jax.tree.leaves(params, is_leaf=is_context) if is_context(part)]


def check_contexts(params: Params, batch_shape: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless every `Context` in ``params`` is for this batch."""
    for context in contexts(params):
        if context.mask.shape[:-1] != batch_shape:
            raise ValueError(
                f"the context of params has the batch axes {context.mask.shape[:-1]}, but the "
                f"inputs have {batch_shape}; bind a context for these inputs with "
                "seqjax.with_context"
            )


@functools.lru_cache(maxsize=1024)
def _expected_params(cell: Cell, input_size: int) -> Params:
    return jax.eval_shape(lambda: cell.init(jax.random.key(0), input_size))


def _other_structure(cell: Cell, input_size: Any, params: Params, expected: Params) -> str:
    """The error message: the option that differs, or the missing and unexpected parameters."""
    given: PyTree = jax.tree.structure(params)
    for name, value in _other_options(cell):
        try:
            other = dataclasses.replace(cell, **{name: value})  # type: ignore[type-var]
            structure = jax.tree.structure(_expected_params(other, input_size))
        except (AttributeError, IndexError, TypeError, ValueError):
            continue
        if structure == given:
            return (
                f"params are for a cell with {name}={value!r}, but the cell is {cell}, with "
                f"{name}={getattr(cell, name)!r}; use the cell that the parameters are for, or "
                "draw new ones with init"
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
    ) or f"got {describe_tree(params)}"  # fmt: skip
    return f"params must have the structure that {cell}.init returns: {found}"


def _other_options(cell: Cell) -> Iterator[tuple[str, Any]]:
    """Each boolean option of a cell negated, and each optional one set to None."""
    for field in dataclasses.fields(cell):  # type: ignore[arg-type]
        value = getattr(cell, field.name)
        if isinstance(value, bool):
            yield field.name, not value
        elif value is not None and field.default is None:
            yield field.name, None


def check_state(
    cell: Cell,
    params: Params,
    state: State,
    batch_shape: tuple[int, ...],
    dtype: jnp.dtype,
    name: str,
) -> None:
    """Raise ``ValueError`` unless ``state`` is a state of ``cell`` for this batch."""
    expected = jax.eval_shape(lambda: cell.first_state(params, batch_shape, dtype))
    given: PyTree = jax.tree.structure(state)
    wanted: PyTree = jax.tree.structure(expected)
    if given != wanted:
        raise ValueError(
            f"{name} must have the structure of cell.initial_state({batch_shape}), "
            f"{describe_tree(expected)}, got {describe_tree(state)}"
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
    """Raise ``ValueError`` unless a noisy cell has either a key or ``deterministic=True``."""
    check_flag("a run", "deterministic", deterministic)
    if key is not None:
        check_key(key)
        if deterministic:
            raise ValueError(
                "key and deterministic=True were both given; give key in training and "
                "deterministic=True in evaluation"
            )
    elif cell.is_noisy and not deterministic:
        raise ValueError(
            f"{cell} draws noise: give key=jax.random.key(...) in training, or "
            "deterministic=True in evaluation"
        )


def state_dtype(cell: Cell, params: Params, xs: PyTree) -> jnp.dtype:
    """The dtype that parameters and features promote to, or float32 for 16-bit dtypes."""
    dtypes = [jnp.dtype(leaf.dtype) for leaf in jax.tree.leaves((params, cell.features(xs)))]
    floating = [accumulation_dtype(d) for d in dtypes if jnp.issubdtype(d, jnp.floating)]
    return functools.reduce(jnp.promote_types, floating)


def noise_of(cell: Cell, params: Params, key: Array | None, leading: tuple[int, ...]) -> Noise:
    """The noise of all time steps, ``[T, B, ...]``, or None if there is no key."""
    return None if key is None else cell.draw_noise(key, leading, cell.input_size(params))


def check_batch(leading_shape: tuple[int, ...], time_axis: int) -> tuple[int, ...]:
    """The batch axes among the leading axes; raise ``ValueError`` if the batch is empty."""
    batch_shape = leading_shape[:time_axis] + leading_shape[time_axis + 1 :]
    if math.prod(batch_shape) == 0:
        raise ValueError(
            f"the batch must not be empty, got xs with batch and time axes {leading_shape}"
        )
    return batch_shape


def check_fixed_time(num_steps: Any, method: str, remat: int | None) -> None:
    """Raise ``ValueError`` if T is symbolic, as in `jax.export`, but an option needs a number."""
    if isinstance(num_steps, int):
        return
    if remat is not None:
        given, instead = f"remat={remat}", "omit remat"
    elif method in ("static", "associative", "cudnn"):
        given, instead = f"method={method!r}", "use method='scan'"
    else:
        return
    raise ValueError(
        f"{given} needs a fixed number of time steps, got xs with {num_steps} steps; {instead}, "
        "or make the time axis of xs a number (the batch may stay symbolic)"
    )
