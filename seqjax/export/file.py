"""The file that holds exported functions and parameters."""

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
from jax import export as jax_export

from seqjax.arrays import as_params, given_array
from seqjax.checks import check_choice
from seqjax.engine.validation import check_cell, check_params
from seqjax.export.functions import Entry, Function, Step, Unroll, binding
from seqjax.export.serialization import Platform, describe, export, named, signature
from seqjax.types import Array, Cell, Params, PyTree


def write(
    path: str | os.PathLike[str],
    cell: Cell,
    params: Params,
    xs: PyTree,
    functions: Sequence[Function] | None = None,
    *,
    memory: Array | jax.ShapeDtypeStruct | None = None,
    platforms: Sequence[Platform] = ("cpu", "cuda", "tpu"),
) -> None:
    """Write functions of a cell and its parameters to one file.

    The file is a zip file with these members:

    - ``functions/<name>`` for each function, for `jax.export.deserialize`;
    - ``params/<name>`` for each parameter, its bytes in row-major order;
    - ``index.json``: the names, shapes and dtypes of the parameters, and of the arguments and
      results of each function. The symbolic sizes are ``b`` (batch), ``t`` (time) and ``s``
      (positions of a context), all at least 1.

    A cell that attends to a context (`seqjax.ContextAttention`) needs ``memory``. The file then
    also holds ``with_context(params, memory [b, s, M], lengths int32[b])``, which returns the
    parameters that all other functions take.

    See `seqjax.export` for how to load it. A version of JAX reads files that were exported up to
    6 months before its release. The file is written under a temporary name and renamed when it is
    complete.

    Args:
      path: the file to write, in an existing folder. An existing file is replaced.
      cell: a cell, or a layer around other cells.
      params: the parameters of the cell, as `Cell.init` returns them.
      xs: an example input ``[B, T, ...]`` of arrays or `jax.ShapeDtypeStruct`, which sets the
        dtypes and the features. Values, B and T do not matter.
      functions: the functions to export, each kind once. Defaults to ``[Step(), Unroll()]``, or to
        ``[Unroll()]`` for a layer that has no step, such as a `seqjax.Bidirectional`.
      memory: an example context ``[B, S, M]``, for a cell that attends to one. Values, B and S do
        not matter.
      platforms: the platforms that the functions can run on.

    Raises:
      ValueError: the arguments do not fit together, or ``cell`` does not support a function.
      OSError: the file cannot be written, for example because the folder does not exist.

    >>> import seqjax, tempfile
    >>> import jax.numpy as jnp
    >>> cell = seqjax.LSTM(4)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> xs = jnp.ones((2, 5, 3), jnp.float32)
    >>> path = Path(tempfile.mkdtemp(), "model.zip")
    >>> write(path, cell, params, xs, [Unroll(lengths=True)], platforms=["cpu"])
    >>> with zipfile.ZipFile(path) as file:
    ...     about = json.loads(file.read("index.json"))["functions"]["unroll"]
    >>> print(about["arguments"]["xs"])
    {'shape': ['b', 't', 3], 'dtype': 'float32'}
    >>> print(*about["arguments"], "->", *about["results"])
    params xs lengths -> state ys
    """
    path = Path(path)
    _check_path(path)
    check_cell(cell)
    if functions is None:
        functions = [Step(), Unroll()] if cell.can_step else [Unroll()]
    functions = _check_functions(functions)
    platforms = _check_platforms(platforms)
    params = as_params(params)
    check_params(cell, params)
    xs = _check_inputs(cell, params, xs)
    entries: dict[str, Entry] = {}
    exported: dict[str, jax_export.Exported] = {}
    bound = params
    if cell.attends and memory is None:
        raise ValueError(f"{cell} attends to a context; give an example of it, memory [B, S, M]")
    if memory is not None:
        bind = binding(cell, params, memory)
        bound = jax.eval_shape(bind.call, params, *bind.arguments.values())
        entries["with_context"] = bind
        exported["with_context"] = export("with_context", bind, params, platforms)
    functions_of_bound: dict[str, Entry] = {}
    for function in functions:
        functions_of_bound |= function.entries(cell, bound, xs)
    for name, entry in functions_of_bound.items():
        entries[name], exported[name] = entry, export(name, entry, bound, platforms)
    held = {name: np.asarray(value) for name, value in named(params).items()}
    index = {
        "cell": repr(cell),
        "jax": jax.__version__,
        "platforms": platforms,
        "params": {name: describe(value) for name, value in held.items()},
        "functions": {name: signature(entries[name], exported[name]) for name in entries},
    }
    _write_whole(
        path,
        {
            "index.json": json.dumps(index, indent=2).encode(),
            **{f"functions/{name}": bytes(one.serialize()) for name, one in exported.items()},
            **{f"params/{name}": value.tobytes() for name, value in held.items()},
        },
    )


def _check_path(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {path}: the folder {path.parent} does not exist; create it"
        )
    if path.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; give a file name")


def _check_functions(functions: Any) -> list[Function]:
    functions = list(functions) if isinstance(functions, Sequence) else [functions]
    for function in functions:
        if not isinstance(function, Function):
            raise ValueError(
                "functions must be a list of seqjax.export.Step(), Unroll(...) or Generate(...), "
                f"got {function!r}"
            )
    kinds = [type(function).__name__ for function in functions]
    if not kinds or len({*kinds}) < len(kinds):
        raise ValueError(
            f"functions must hold one or more functions, each kind at most once, got {functions}; "
            "write two of one kind to two files"
        )
    return functions


def _check_platforms(platforms: Any) -> list[Platform]:
    if not isinstance(platforms, list | tuple) or not platforms:
        raise ValueError(f"platforms must be a list such as ['cpu', 'cuda'], got {platforms!r}")
    for platform in platforms:
        check_choice("a platform", platform, get_args(Platform))
    return list(platforms)


def _check_inputs(cell: Cell, params: Params, xs: PyTree) -> PyTree:
    """Check an example input ``[B, T, ...]``, and return its shapes and dtypes."""
    leading: list[tuple[int, ...]] = []

    def look(xs: PyTree) -> PyTree:
        leading.append(cell.leading_shape(params, xs))
        return xs

    def given(x: Any) -> Any:
        return x if isinstance(x, jax.ShapeDtypeStruct) else given_array("xs", x)

    xs = jax.eval_shape(look, jax.tree.map(given, xs))
    if len(leading[0]) != 2:
        raise ValueError(
            "xs must have one batch and one time axis, [B, T, ...], got batch and time axes "
            f"{leading[0]}"
        )
    return xs


def _write_whole(path: Path, members: dict[str, bytes]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
