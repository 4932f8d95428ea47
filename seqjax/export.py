"""Export of a trained cell to one file that needs only JAX to load.

`write` saves functions (one step, an unroll, a generator) to a zip file, serialised by
`jax.export`, with the parameters and an index of arguments and results. Loading the file needs
neither seqjax nor the code of the model, only JAX and flatbuffers, which `jax.export` uses (``pip
install flatbuffers``)::

    import json, zipfile
    import jax, jax.export, numpy as np

    with zipfile.ZipFile("model.zip") as file:
        index = json.loads(file.read("index.json"))
        unroll = jax.jit(jax.export.deserialize(file.read("functions/unroll")).call)
        params = {
            name: np.frombuffer(file.read(f"params/{name}"), about["dtype"]).reshape(about["shape"])
            for name, about in index["params"].items()
        }
    state, ys = unroll(params, xs)  # for any B and T

Arguments and results are arrays or flat dicts of arrays, whose keys are paths in the pytrees of
seqjax. The state of ``Stack([LSTM(4), GRU(4)])`` is ``{"0.c": ..., "0.h": ..., "1.h": ...}``.
Parameters are an argument of every function, not constants in it. So the file stores them once, and
other parameters of the same shapes can replace them.

Noisy layers, such as `Dropout`, run in evaluation mode. Derivatives are not exported.

Importing this module also registers every public parameter and state type with
`jax.export.register_namedtuple_serialization`, as ``seqjax.<name>``, so that your own functions for
`jax.export` can take and return them.
"""

import abc
import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import export as jax_export

from seqjax import attention, cells, decoding, sampling, types, wrappers
from seqjax.arrays import as_params, given_array
from seqjax.checks import check_choice, check_flag, check_size
from seqjax.engine.context import with_context
from seqjax.engine.step import step
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import check_can_step, check_cell, check_params, state_dtype
from seqjax.sampling import Generation, Sampling, generate, prime
from seqjax.types import Array, Cell, Params, PyTree, State

Method = Literal["auto", "scan", "static", "associative"]
Platform = Literal["cpu", "cuda", "rocm", "tpu"]


# sizes of one scope, since a function may take several of them
_B, _T, _S = jax_export.symbolic_shape("b, t, s")


class Entry(NamedTuple):
    """A function to export.

    Attributes:
      call: ``(params, *arguments) -> result``, or a tuple of results.
      arguments: pytrees of `jax.ShapeDtypeStruct`, by name.
      results: the names of the results.
    """

    call: Callable[..., Any]
    arguments: dict[str, PyTree]
    results: tuple[str, ...]


class Function(abc.ABC):
    """Base class of the functions that `write` exports: `Step`, `Unroll` and `Generate`."""

    @abc.abstractmethod
    def entries(self, cell: Cell, params: Params, xs: PyTree) -> dict[str, Entry]:
        """The functions to export, by name, for inputs of the dtypes and features of ``xs``."""


@dataclasses.dataclass(frozen=True)
class Step(Function):
    """Export of one time step, as `seqjax.step` runs it, for any batch size.

    =============================== ============================================================
    ``first_state(params, x)``      the state before the first step, for the batch size of ``x``
    ``step(params, state, x)``      ``(state, y)``, for an input ``x [b, D]`` or tokens ``x [b]``
    =============================== ============================================================

    >>> Step()
    Step()
    """

    def entries(self, cell: Cell, params: Params, xs: PyTree) -> dict[str, Entry]:
        """The functions ``first_state`` and ``step``."""
        check_can_step(cell)
        x = _one_step(_any_size(xs))

        def take(params: Params, state: State, x: PyTree) -> tuple[State, PyTree]:
            return step(cell, params, state, x, deterministic=True)

        first = _first_state(cell, x)
        state = jax.eval_shape(first.call, params, x)
        return {
            "first_state": first,
            "step": Entry(take, {"state": state, "x": x}, ("state", "y")),
        }


@dataclasses.dataclass(frozen=True)
class Unroll(Function):
    """Export of a whole sequence, as `seqjax.unroll` runs it, for any batch size and length.

    ===================================== =======================================================
    ``unroll(params, xs)``                ``(state, ys)``, for ``xs [b, t, D]`` or tokens ``[b, t]``
    ``unroll(params, state, xs)``         with ``initial_state=True``
    ``unroll(params, xs, lengths)``       with ``lengths=True``; ``lengths int32[b]``
    ``first_state(params, x)``            with ``initial_state=True``; as in `Step`
    ===================================== =======================================================

    Args:
      lengths: whether ``unroll`` takes ``lengths``, the number of valid steps of each row.
      initial_state: whether ``unroll`` takes the state before the first step, to continue a
        sequence.
      method: how to run the steps, see `seqjax.unroll`. ``"static"`` and ``"associative"`` need
        ``num_steps``.
      num_steps: T if it is fixed; defaults to any T.

    Raises:
      ValueError: an argument has the wrong type or value, or ``method`` needs ``num_steps``.

    >>> Unroll(lengths=True).method
    'auto'
    """

    lengths: bool = False
    initial_state: bool = False
    method: Method = "auto"
    num_steps: int | None = None

    def __post_init__(self) -> None:
        check_flag("Unroll", "lengths", self.lengths)
        check_flag("Unroll", "initial_state", self.initial_state)
        check_choice("method", self.method, get_args(Method))
        if self.num_steps is not None:
            check_size("Unroll", "num_steps", self.num_steps)
        elif self.method in ("static", "associative"):
            raise ValueError(
                f"Unroll: method={self.method!r} needs a fixed number of time steps; give "
                "num_steps, or use method='scan'"
            )

    def entries(self, cell: Cell, params: Params, xs: PyTree) -> dict[str, Entry]:
        """The function ``unroll``, and ``first_state`` if ``initial_state`` is True."""
        xs = _any_size(xs, self.num_steps)
        entries, arguments = {}, {"xs": xs}
        if self.initial_state:
            x = _one_step(xs)
            entries["first_state"] = _first_state(cell, x)
            state = jax.eval_shape(entries["first_state"].call, params, x)
            arguments = {"state": state, "xs": xs}
        if self.lengths:
            batch = jax.tree.leaves(xs)[0].shape[:1]
            arguments["lengths"] = jax.ShapeDtypeStruct(batch, jnp.int32)

        def run(params: Params, *values: PyTree) -> tuple[State, PyTree]:
            given = dict(zip(arguments, values, strict=True))
            return unroll(
                cell, params, given["xs"], lengths=given.get("lengths"),
                initial_state=given.get("state"), deterministic=True, method=self.method,
            )  # fmt: skip

        return {**entries, "unroll": Entry(run, arguments, ("state", "ys"))}


@dataclasses.dataclass(frozen=True)
class Generate(Function):
    """Export of generation, as in `seqjax.sampling`, for any batch size and prompt length.

    ======================================= ====================================================
    ``prime(params, tokens)``               ``generation`` after a prompt ``tokens [b, t]``
    ``generate(params, generation, key)``   ``(generation, tokens int32[b, length])``
    ======================================= ====================================================

    A call with the generation of the previous call and the same key continues it, as if all tokens
    were drawn in one call. The key is ``uint32[2]``, such as
    ``jax.random.key_data(jax.random.key(0))``.

    Args:
      length: the number of tokens that a call draws.
      sampling: how to draw each token.

    Raises:
      ValueError: ``length`` is not a whole number of at least 1, or ``sampling`` is not a
        `Sampling`.

    >>> Generate(length=100, sampling=Sampling(temperature=0.8)).length
    100
    """

    length: int
    sampling: Sampling = dataclasses.field(default_factory=Sampling)

    def __post_init__(self) -> None:
        check_size("Generate", "length", self.length)
        if not isinstance(self.sampling, Sampling):
            raise ValueError(
                "Generate: sampling must be a seqjax.sampling.Sampling, such as "
                f"Sampling(temperature=0.8), got {self.sampling!r}"
            )

    def entries(self, cell: Cell, params: Params, xs: PyTree) -> dict[str, Entry]:
        """The functions ``prime`` and ``generate``."""

        def read(params: Params, tokens: Array) -> Generation:
            return prime(cell, params, tokens)

        def draw(params: Params, generation: Generation, key: Array) -> tuple[Generation, Array]:
            # the default implementation of jax.random, fixed at export
            key = jax.random.wrap_key_data(key, impl="threefry2x32")
            return generate(cell, params, generation, key, self.length, self.sampling)

        tokens = _any_size(xs)
        generation = jax.eval_shape(read, params, tokens)
        key = jax.ShapeDtypeStruct((2,), jnp.uint32)
        return {
            "prime": Entry(read, {"tokens": tokens}, ("generation",)),
            "generate": Entry(
                draw, {"generation": generation, "key": key}, ("generation", "tokens")
            ),
        }


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
        bind = _binding(cell, params, memory)
        bound = jax.eval_shape(bind.call, params, *bind.arguments.values())
        entries["with_context"] = bind
        exported["with_context"] = _export("with_context", bind, params, platforms)
    functions_of_bound: dict[str, Entry] = {}
    for function in functions:
        functions_of_bound |= function.entries(cell, bound, xs)
    for name, entry in functions_of_bound.items():
        entries[name], exported[name] = entry, _export(name, entry, bound, platforms)
    held = {name: np.asarray(value) for name, value in _named(params).items()}
    index = {
        "cell": repr(cell),
        "jax": jax.__version__,
        "platforms": platforms,
        "params": {name: _describe(value) for name, value in held.items()},
        "functions": {name: _signature(entries[name], exported[name]) for name in entries},
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


def _any_size(xs: PyTree, num_steps: int | None = None) -> PyTree:
    """The types of ``xs [B, T, ...]`` with a symbolic B, and a symbolic T unless it is given."""
    t = _T if num_steps is None else num_steps
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((_B, t, *a.shape[2:]), a.dtype), xs)


def _binding(cell: Cell, params: Params, memory: Any) -> Entry:
    """The function that binds a context, for any number of positions."""
    if not isinstance(memory, jax.ShapeDtypeStruct):
        memory = given_array("memory", memory)
    if memory.ndim != 3 or not jnp.issubdtype(memory.dtype, jnp.floating):
        raise ValueError(
            f"memory must be floating [B, S, M], got {memory.dtype} of shape {memory.shape}"
        )

    def bind(params: Params, memory: Array, lengths: Array) -> Params:
        return with_context(cell, params, memory, lengths=lengths)

    shape = _B, _S, memory.shape[-1]
    arguments = {
        "memory": jax.ShapeDtypeStruct(shape, memory.dtype),
        "lengths": jax.ShapeDtypeStruct((_B,), jnp.int32),
    }
    return Entry(bind, arguments, ("params",))


def _one_step(xs: PyTree) -> PyTree:
    """The types of one time step of ``xs``."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((a.shape[0], *a.shape[2:]), a.dtype), xs)


def _first_state(cell: Cell, x: PyTree) -> Entry:
    def first_state(params: Params, x: PyTree) -> State:
        with_time = jax.tree.map(lambda a: a[None], x)
        batch_shape = cell.leading_shape(params, with_time)[1:]
        return cell.first_state(params, batch_shape, state_dtype(cell, params, with_time))

    return Entry(first_state, {"x": x}, ("state",))


def _named(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree, by path."""
    leaves = jax.tree.leaves_with_path(tree)
    named = {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}
    if len(named) < len(leaves):
        raise ValueError(
            f"arrays must have different paths, got {jax.tree.structure(tree)}; rename one"
        )
    return named


def _is_leaf(tree: PyTree) -> bool:
    return jax.tree_util.treedef_is_leaf(jax.tree.structure(tree))


def _plain(tree: PyTree) -> PyTree:
    """A tree as an exported function takes it: an array, or a flat dict of arrays."""
    return tree if _is_leaf(tree) else _named(tree)


def _like(tree: PyTree, plain: PyTree) -> PyTree:
    """The arrays of ``plain`` in the structure of ``tree``."""
    leaves = [plain] if _is_leaf(tree) else [plain[name] for name in _named(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _export(
    name: str, entry: Entry, params: Params, platforms: Sequence[Platform]
) -> jax_export.Exported:
    trees = jax.eval_shape(lambda *trees: trees, params, *entry.arguments.values())

    def call(*arguments: PyTree) -> PyTree:
        result = entry.call(*map(_like, trees, arguments))
        return tuple(map(_plain, result)) if len(entry.results) > 1 else _plain(result)

    call.__name__ = name
    return jax_export.export(jax.jit(call), platforms=platforms)(*map(_plain, trees))


def _describe(array: Any) -> dict[str, Any]:
    sizes = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"shape": sizes, "dtype": array.dtype.name}


def _signature(entry: Entry, exported: jax_export.Exported) -> dict[str, Any]:
    """The shapes and dtypes of the arguments and results of a function, in order."""
    given, _ = jax.tree.unflatten(exported.in_tree, map(_describe, exported.in_avals))
    result = jax.tree.unflatten(exported.out_tree, map(_describe, exported.out_avals))
    results = result if len(entry.results) > 1 else (result,)
    return {
        "arguments": dict(zip(("params", *entry.arguments), given, strict=True)),
        "results": dict(zip(entry.results, results, strict=True)),
    }


def _write_whole(path: Path, members: dict[str, bytes]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _register() -> None:
    """Register the parameter and state types of the library with `jax.export`."""
    kinds = {
        kind
        for module in (types, attention, cells, wrappers)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")
    }
    for kind in {*kinds, sampling.Generation, decoding.Decoded}:
        jax_export.register_namedtuple_serialization(
            kind, serialized_name=f"seqjax.{kind.__name__}"
        )


_register()
