"""The functions of a cell that can be exported: one step, an unroll and a generator."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jax import export as jax_export

from seqjax.arrays import given_array
from seqjax.checks import check_choice, check_flag, check_size
from seqjax.engine.context import with_context
from seqjax.engine.step import step
from seqjax.engine.unroll import unroll
from seqjax.engine.validation import check_can_step, state_dtype
from seqjax.sampling import Generation, Sampling, generate, prime
from seqjax.types import Array, Cell, Params, PyTree, State

Method = Literal["auto", "scan", "static", "associative"]

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
        `seqjax.sampling.Sampling`.

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


def binding(cell: Cell, params: Params, memory: Any) -> Entry:
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


def _any_size(xs: PyTree, num_steps: int | None = None) -> PyTree:
    """The types of ``xs [B, T, ...]`` with a symbolic B, and a symbolic T unless it is given."""
    t = _T if num_steps is None else num_steps
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((_B, t, *a.shape[2:]), a.dtype), xs)


def _one_step(xs: PyTree) -> PyTree:
    """The types of one time step of ``xs``."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((a.shape[0], *a.shape[2:]), a.dtype), xs)


def _first_state(cell: Cell, x: PyTree) -> Entry:
    def first_state(params: Params, x: PyTree) -> State:
        with_time = jax.tree.map(lambda a: a[None], x)
        batch_shape = cell.leading_shape(params, with_time)[1:]
        return cell.first_state(params, batch_shape, state_dtype(cell, params, with_time))

    return Entry(first_state, {"x": x}, ("state",))
