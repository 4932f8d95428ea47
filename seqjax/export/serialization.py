"""Exported functions on flat dicts of arrays, and their signatures."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
from jax import export as jax_export

from seqjax.export.functions import Entry
from seqjax.types import Params, PyTree

Platform = Literal["cpu", "cuda", "rocm", "tpu"]


def named(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree, by path."""
    leaves = jax.tree.leaves_with_path(tree)
    found = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    if len(found) < len(leaves):
        raise ValueError(
            f"arrays must have different paths, got {jax.tree.structure(tree)}; rename one"
        )
    return found


def _is_leaf(tree: PyTree) -> bool:
    return jax.tree_util.treedef_is_leaf(jax.tree.structure(tree))


def _plain(tree: PyTree) -> PyTree:
    """A tree as an exported function takes it: an array, or a flat dict of arrays."""
    return tree if _is_leaf(tree) else named(tree)


def _like(tree: PyTree, plain: PyTree) -> PyTree:
    """The arrays of ``plain`` in the structure of ``tree``."""
    leaves = [plain] if _is_leaf(tree) else [plain[name] for name in named(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def export(
    name: str, entry: Entry, params: Params, platforms: Sequence[Platform]
) -> jax_export.Exported:
    """Export a function of flat dicts of arrays, for parameters and arguments of these types."""
    trees = jax.eval_shape(lambda *trees: trees, params, *entry.arguments.values())

    def call(*arguments: PyTree) -> PyTree:
        result = entry.call(*map(_like, trees, arguments))
        return tuple(map(_plain, result)) if len(entry.results) > 1 else _plain(result)

    call.__name__ = name
    return jax_export.export(jax.jit(call), platforms=platforms)(*map(_plain, trees))


def describe(array: Any) -> dict[str, Any]:
    """The shape and dtype of an array as JSON data.

    >>> describe(jax.ShapeDtypeStruct((2, 3), "float32"))
    {'shape': [2, 3], 'dtype': 'float32'}
    """
    sizes = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"shape": sizes, "dtype": array.dtype.name}


def signature(entry: Entry, exported: jax_export.Exported) -> dict[str, Any]:
    """The shapes and dtypes of the arguments and results of a function, in order."""
    given, _ = jax.tree.unflatten(exported.in_tree, map(describe, exported.in_avals))
    result = jax.tree.unflatten(exported.out_tree, map(describe, exported.out_avals))
    results = result if len(entry.results) > 1 else (result,)
    return {
        "arguments": dict(zip(("params", *entry.arguments), given, strict=True)),
        "results": dict(zip(entry.results, results, strict=True)),
    }
