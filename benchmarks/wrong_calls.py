"""Wrong calls of every public function, drawn at random: each must end in a clear error.

::

    python -m benchmarks.wrong_calls    a minute on 2 cores

A draw takes a valid call from `examples`, replaces one argument by a value of one of `KINDS`, and
makes the call. The result is one of

- ``error``: a ``ValueError`` that seqjax raises;
- ``signature``: Python's ``TypeError`` for a missing or unknown argument;
- ``harmless``: the call returns, and the argument accepts the value. If the value means the same as
  the valid one, the results must be equal;
- ``silent``: the call returns, though the argument does not accept the value;
- ``crash``: any other exception.
"""

import collections
import dataclasses
import functools
import inspect
import pathlib
import re
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx

import seqjax
from seqjax import (
    cells,
    data,
    devices,
    export,
    losses,
    nn,
    pooling,
    regularization,
    sampling,
    tasks,
    training,
    truncation,
    wrappers,
)
from seqjax.catalogue import CATALOGUE
from seqjax.interop import flax_linen, flax_nnx, keras, linen, pytorch, tensorflow
from seqjax.types import Cell, HiddenState

Outcome = Literal["error", "signature", "harmless", "silent", "crash"]
Accepts = Callable[[Any], bool]
ROOT = pathlib.Path(seqjax.__file__).parent
MODULES = (
    seqjax,
    cells,
    wrappers,
    losses,
    pooling,
    truncation,
    sampling,
    training,
    devices,
    regularization,
    nn,
    export,
    tasks,
    data,
    flax_linen,
    flax_nnx,
    keras,
    linen,
    pytorch,
    tensorflow,
)


class Argument(NamedTuple):
    """A valid value of an argument, and which other values it accepts."""

    value: Any
    accepts: Accepts


class Example(NamedTuple):
    """A valid call."""

    name: str
    call: Callable[..., Any]
    arguments: dict[str, Argument]


# Which values an argument accepts


def is_integer(value: Any) -> bool:
    """Whether ``value`` is a whole number in Python or NumPy."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a finite real number in Python or NumPy."""
    real = is_integer(value) or isinstance(value, float | np.floating)
    return bool(real and abs(value) <= sys.float_info.max)


def between(low: float, high: float, kind: Accepts = is_number) -> Accepts:
    """Numbers in ``[low, high]``."""
    return lambda value: kind(value) and low <= value <= high


def is_key(value: Any) -> bool:
    """Whether ``value`` is one key of `jax.random`."""
    return isinstance(value, jax.Array) and (
        (jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.shape == ())
        or (value.dtype == np.uint32 and value.shape == (2,))
    )


def is_floating_dtype(value: Any) -> bool:
    """Whether ``value`` is a floating dtype."""
    try:
        return value is not None and bool(jnp.issubdtype(np.dtype(value), np.floating))
    except (TypeError, ValueError, SyntaxError):
        return False


def is_shape(value: Any) -> bool:
    """Whether ``value`` is a tuple of sizes."""
    return isinstance(value, list | tuple) and all(map(between(0, 2**31 - 1, is_integer), value))


def optional(accepts: Accepts) -> Accepts:
    """None, or what ``accepts`` accepts."""
    return lambda value: value is None or accepts(value)


def like(valid: Any, low: float = -np.inf, high: float = np.inf) -> Accepts:
    """Pytrees of arrays of the same structure, shapes and kinds; integers in ``[low, high]``."""

    def same(value: Any, other: Any) -> bool:
        if not isinstance(value, jax.Array):
            try:
                value = np.asarray(value)
            except ValueError:  # a ragged list
                return False
        kinds = (np.floating, np.integer, np.bool_, jax.dtypes.prng_key)
        kind = next(kind for kind in kinds if jnp.issubdtype(other.dtype, kind))
        if value.shape != other.shape or not jnp.issubdtype(value.dtype, kind):
            return False
        if kind is not np.integer:
            return True
        whole = np.asarray(value)  # JAX may refuse to compare integers with infinity
        return bool(((whole >= low) & (whole <= high)).all())

    def accepts(value: Any) -> bool:
        if isinstance(valid, jax.Array | np.ndarray):
            return same(value, valid)
        structures = map(jax.tree.structure, (value, valid))
        return len({*structures}) == 1 and all(
            map(same, jax.tree.leaves(value), jax.tree.leaves(valid))
        )

    return accepts


def integers(low: int, high: int, any_shape: bool = False) -> Accepts:
    """Integers ``[N]`` in ``[low, high]``, or ``[..., N]``."""

    def accepts(value: Any) -> bool:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            return False
        if array.ndim < 1 or (array.ndim > 1 and not any_shape):
            return False
        whole = array.dtype.kind in "iu" or array.shape == (0,)
        return whole and bool(((array >= low) & (array <= high)).all())

    return accepts


def floats(*shape: int | None) -> Accepts:
    """Floating ``[..., *shape]``, with None for any size."""

    def accepts(value: Any) -> bool:
        try:
            value = value if isinstance(value, jax.Array) else np.asarray(value)
        except (TypeError, ValueError):
            return False
        last = value.shape[value.ndim - len(shape) :] if value.ndim >= len(shape) else None
        return (
            last is not None
            and jnp.issubdtype(value.dtype, jnp.floating)
            and all(size in (None, have) for size, have in zip(shape, last, strict=True))
        )

    return accepts


def declared(annotation: Any, value: Any) -> Accepts:
    """What the annotation of an argument says; arrays must be `like` the valid ``value``."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        options = [declared(one, value) for one in inner]
        return lambda v: any(option(v) for option in options)
    if annotation in (None, type(None)):
        return lambda v: v is None
    if annotation is bool:
        return lambda v: isinstance(v, bool)
    if annotation is int:
        return between(1, 2**31 - 1, is_integer)
    if annotation is float:
        return is_number
    if annotation is jax.Array or annotation is Any:
        return like(value)
    if origin is collections.abc.Callable:
        return callable
    if origin is Literal:
        return lambda v: isinstance(v, str) and v in inner
    if origin in (collections.abc.Sequence, tuple, list):
        items = [declared(one, None) for one in inner if one is not ...]
        if origin is tuple and ... not in inner:
            return lambda v: (
                isinstance(v, list | tuple)
                and len(v) == len(items)
                and all(accepts(one) for accepts, one in zip(items, v, strict=True))
            )
        return lambda v: _is_sized(v) and all(map(items[0], v))
    if isinstance(annotation, type):
        return lambda v: isinstance(v, annotation)
    raise TypeError(f"say what an argument of {annotation} accepts")


# The kinds of wrong values


class NotApplicableError(Exception):
    """A kind makes no wrong value of this argument."""


def _arrays(value: Any) -> list[Any]:
    leaves = jax.tree.leaves(value)
    if isinstance(value, nnx.Object):  # not ours to be looked into
        raise NotApplicableError
    if not leaves or not all(isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves):
        raise NotApplicableError
    return leaves


def one_array(change: Callable[[np.ndarray], Any]) -> Callable[[Any, np.random.Generator], Any]:
    """The kind of value in which one array of a pytree is changed."""

    def make(value: Any, rng: np.random.Generator) -> Any:
        leaves = _arrays(value)
        place = rng.integers(len(leaves))
        if jnp.issubdtype(leaves[place].dtype, jax.dtypes.prng_key):
            raise NotApplicableError
        leaves[place] = change(np.asarray(leaves[place]))
        return jax.tree.unflatten(jax.tree.structure(value), leaves)

    return make


def one_element(element: Any, dtype: Any = None) -> Callable[[Any, np.random.Generator], Any]:
    """The kind of value in which one element of an array is changed."""

    def change(array: np.ndarray) -> np.ndarray:
        wanted = np.floating if isinstance(element, float) else np.integer
        if not array.size or not np.issubdtype(array.dtype, wanted):
            raise NotApplicableError
        array = array.astype(dtype or array.dtype)
        array.reshape(-1)[array.size // 2] = element
        return array

    return one_array(change)


def _needs_axes(change: Callable[[np.ndarray], Any]) -> Callable[[np.ndarray], Any]:
    def checked(array: np.ndarray) -> Any:
        if not array.ndim:
            raise NotApplicableError
        return change(array)

    return checked


def _other_cell(value: Any, rng: np.random.Generator) -> Any:
    return seqjax.MGU(2)


def _scalar(dtype: Any) -> Callable[[Any, np.random.Generator], Any]:
    def make(value: Any, rng: np.random.Generator) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float) or dtype(value) != value:
            raise NotApplicableError
        return dtype(value)

    return make


def _constant(value: Any) -> Callable[[Any, np.random.Generator], Any]:
    return lambda valid, rng: value


def _of_sequence(change: Callable[[Any], Any]) -> Callable[[Any, np.random.Generator], Any]:
    def make(value: Any, rng: np.random.Generator) -> Any:
        if not isinstance(value, list | tuple) or hasattr(value, "_fields") or not value:
            raise NotApplicableError
        return change(value)

    return make


def _lists(value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, jax.Array | np.ndarray) or not value.size or not value.ndim:
        raise NotApplicableError
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        raise NotApplicableError
    return np.asarray(value).tolist()


@jax.tree_util.register_static
class Anything:
    """An object that is no array, number or cell."""


Kind = Callable[[Any, np.random.Generator], Any]
SAME: dict[str, Kind] = {  # values that mean the same as the valid one
    "numpy integer": _scalar(np.int64),
    "numpy float": _scalar(np.float64),
    "numpy arrays": one_array(np.array),
    "lists": _lists,
}
KINDS: dict[str, Kind] = SAME | {
    "none": _constant(None),
    "true": _constant(True),
    "string": _constant("3"),
    "bytes": _constant(b"3"),
    "object": _constant(Anything()),
    "empty list": _constant([]),
    "empty tuple": _constant(()),
    "empty dict": _constant({}),
    "ragged list": _constant([[1, 2], [3]]),
    "list of strings": _constant(["a", "b"]),
    "dict": _constant({"a": 1}),
    "function": _constant(lambda: None),
    "class": _constant(seqjax.LSTM),
    "cell": _other_cell,
    "key": lambda value, rng: jax.random.key(1),
    "keys": lambda value, rng: jax.random.split(jax.random.key(1), 3),
    "zero": _constant(0),
    "negative": _constant(-1),
    "negative tuple": _constant((-1,)),
    "fraction": _constant(2.5),
    "nan": _constant(float("nan")),
    "infinity": _constant(float("inf")),
    "huge": _constant(2**40),
    "huge float": _constant(1e300),
    "huger": _constant(10**400),
    "complex": _constant(1 + 2j),
    "rank 0": lambda value, rng: jnp.zeros((), jnp.float32),
    "rank 0 integer": lambda value, rng: np.array(3),
    "empty array": lambda value, rng: jnp.zeros((0,), jnp.float32),
    "array of floats": lambda value, rng: jnp.ones((2, 3), jnp.float32),
    "array of strings": _constant(np.array(["a", "b"])),
    "array of objects": _constant(np.array([None, 1], object)),
    "dtype": _constant(jnp.int32),
    "a state": lambda value, rng: HiddenState(jnp.ones((2, 4), jnp.float32)),
    "parameters of another cell": lambda value, rng: _fill(
        seqjax.MGU(2).init, jax.random.key(0), 3
    ),
    "one axis more": one_array(lambda a: a[None]),
    "one axis less": one_array(_needs_axes(lambda a: a[:1].reshape(a.shape[1:]))),
    "no axes": one_array(_needs_axes(lambda a: a.reshape(-1)[:1].reshape(()))),
    "longer": one_array(_needs_axes(lambda a: np.concatenate([a, a]))),
    "wider": one_array(_needs_axes(lambda a: np.concatenate([a, a], -1))),
    "shorter": one_array(_needs_axes(lambda a: a[:-1])),
    "nothing left": one_array(_needs_axes(lambda a: a[..., :0])),
    "array removed": one_array(lambda a: None),
    "array of a list": one_array(lambda a: [a]),
    "floats for others": one_array(lambda a: a.astype(np.float32)),
    "integers for others": one_array(lambda a: np.nan_to_num(a).astype(np.int32)),
    "booleans for others": one_array(lambda a: a.astype(bool)),
    "complex numbers": one_array(lambda a: a.astype(np.complex64)),
    "strings for numbers": one_array(lambda a: a.astype(str)),
    "objects for numbers": one_array(lambda a: a.astype(object)),
    "object for an array": one_array(lambda a: Anything()),
    "an element nan": one_element(float("nan")),
    "an element -1": one_element(-1, np.int64),
    "an element 2**32": one_element(2**32, np.int64),
    "an element 2**31": one_element(2**31, np.int64),
    "an element -2**32": one_element(-(2**32), np.int64),
    "an element 2**64 - 1": one_element(2**64 - 1, np.uint64),
    "a longer sequence": _of_sequence(lambda value: [*value, *value]),
    "a shorter sequence": _of_sequence(lambda value: value[:-1]),
    "strings in a sequence": _of_sequence(lambda value: ["a" for _ in value]),
    "none in a sequence": _of_sequence(lambda value: [None for _ in value]),
    "negative in a sequence": _of_sequence(lambda value: [-1 for _ in value]),
    "fractions in a sequence": _of_sequence(lambda value: [0.5 for _ in value]),
}


UNKNOWN = "an unknown argument"  # beside all valid ones


# The valid calls


def of(name: str, call: Callable[..., Any], /, **given: Any) -> Example:
    """The example of a call with ``given`` arguments, each a value or an `Argument`."""
    parameters = inspect.signature(call.__init__ if inspect.isclass(call) else call).parameters
    arguments = {}
    for key, value in given.items():
        if not isinstance(value, Argument):
            parameter = parameters[key]
            value = Argument(value, declared(parameter.annotation, value))
        arguments[key] = value
    return Example(name, call, arguments)


def _cell_examples() -> Iterator[Example]:
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
        name: lambda v: _is_sized(v) and all(map(natural, v))
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
        xs = _fill(entry.draw_inputs, jax.random.key(1), (2, 4), size)
        params = _fill(cell.init, jax.random.key(0), size)
        initial_state = cell.initial_state((2,))
        run: dict[str, Argument] = {
            "cell": Argument(cell, lambda v: isinstance(v, Cell)),
            "params": Argument(params, like(params)),
            "xs": Argument(xs, like(xs)),
            "lengths": Argument(np.array([4, 2]), optional(like(np.array([4, 2]), 0, 4))),
            "initial_state": Argument(initial_state, optional(like(initial_state))),
            "deterministic": Argument(True, lambda v: isinstance(v, bool)),
        }
        yield Example(f"unroll of {name}", seqjax.unroll, run)


def _fill(call: Callable[..., Any], key: Any, *arguments: Any) -> Any:
    """Arrays of the shapes that ``call`` returns, without the time to compile it."""
    shapes = jax.eval_shape(lambda key: call(key, *arguments), key)
    return jax.tree.map(lambda a: jnp.full(a.shape, 0.1, a.dtype), shapes)


@functools.cache
def examples() -> tuple[Example, ...]:
    """All valid calls."""
    cell = seqjax.BasicRNN(4)
    params = cell.init(jax.random.key(0), 3)
    xs = jnp.ones((2, 6, 3), jnp.float32)
    lengths = np.array([6, 2])
    rows = np.array([[0, 1, 2], [2, 1, 0]])
    mask = np.ones((2, 6), bool)
    state = cell.initial_state((2,))
    flag = lambda v: isinstance(v, bool)  # noqa: E731
    key = Argument(jax.random.key(0), is_key)
    natural = between(0, 2**31 - 1, is_integer)
    positive = between(1, 2**31 - 1, is_integer)
    run: dict[str, Any] = {
        "cell": cell,
        "params": Argument(params, like(params)),
        "xs": Argument(xs, like(xs)),
        "lengths": Argument(lengths, optional(like(lengths, 0, 6))),
        "initial_state": Argument(state, optional(like(state))),
        "key": Argument(None, optional(is_key)),
        "deterministic": False,
        "time_major": False,
        "method": "scan",
        "remat": Argument(2, optional(positive)),
    }
    masked = run | {"mask": Argument(mask, optional(like(mask)))}
    del masked["lengths"]
    model = seqjax.LanguageModel(seqjax.GRU(4), 5)
    model_params = model.init(jax.random.key(0), 5)
    tokens = {"tokens": Argument(rows, integers(0, 4, any_shape=True))}
    of_model = {"model": model, "params": Argument(model_params, like(model_params))}
    start = sampling.prime(model, model_params, jnp.asarray(rows))
    logits = jnp.ones((2, 3, 4), jnp.float32)
    scores = jnp.ones((2, 6), jnp.float32)
    weights = jnp.ones((2, 3), jnp.float32)
    short = Argument(np.array([3, 1]), optional(like(np.array([3, 1]), 0, 3)))
    pool = {"ys": Argument(xs, floats(2, 6, None)), "lengths": run["lengths"], "time_major": False}
    optimizer = optax.sgd(0.1)

    def loss_fn(params: Any, carry: Any, batch: Any, key: Any = None) -> tuple[jax.Array, Any]:
        return optax.tree.norm(params), carry  # which reads no batch: its errors would not be ours

    vector = jnp.ones((2,), jnp.float32)
    train = training.init_train_state(vector, optimizer, None)
    batch = jnp.ones((3, 4, 2), jnp.float32)
    is_state = lambda v: (  # noqa: E731
        isinstance(v, training.TrainState)
        and like(train.step)(v.step)
        and _is_floats(v.params)
        and v.carry is None
        and not jax.tree.leaves(v.opt_state)
    )
    mesh = devices.data_mesh(4)
    is_optimizer = lambda v: isinstance(v, optax.GradientTransformation)  # noqa: E731
    learn: dict[str, Any] = {
        "loss_fn": Argument(loss_fn, callable),
        "optimizer": Argument(optimizer, is_optimizer),
    }
    sources = data.ListSource([{"x": np.arange(n)} for n in (1, 2, 3)], {"x"})
    counts = np.array([3, 1, 2])
    order = np.array([2, 0, 1])
    steps = {"lengths": Argument(counts, integers(0, 8))}
    placed = {
        "order": Argument(order, integers(0, 2)),
        **steps,
    }
    of_nnx = {
        "deterministic": False,
        "param_dtype": Argument(jnp.float32, is_floating_dtype),
        "rngs": Argument(nnx.Rngs(0), lambda v: isinstance(v, nnx.Rngs)),
    }
    layer = nn.Recurrent(cell, 3, rngs=nnx.Rngs(0))
    is_policy = lambda v: isinstance(v, data.Padded | data.Bucketed | data.Packed)  # noqa: E731
    policies: dict[str, Any] = {
        "Padded": data.Padded(2),
        "Bucketed": data.Bucketed((4, 8), 2),
        "Packed": data.Packed(2, 8),
    }
    path = pathlib.Path(tempfile.mkdtemp(), "model.zip")
    result = [
        *_cell_examples(),
        of("LayerNorm", seqjax.LayerNorm, gain=1.0, shift=0.0),
        of("unroll", seqjax.unroll, **run, reverse=False),
        of("unroll masked", seqjax.unroll, **masked, reverse=False),
        of(
            "unroll of tokens",
            seqjax.unroll,
            cell=cell,
            params=run["params"],
            lengths=short,
            xs=Argument(rows, lambda v: integers(0, 2, any_shape=True)(v) and len(v) == 2),
        ),
        of(
            "unroll of tokens in full",
            seqjax.unroll,
            cell=cell,
            params=Argument(
                params,
                lambda v: (  # of any number of tokens
                    type(v) is type(params)
                    and floats(None, 4)(v.input_kernel)
                    and np.ndim(v.input_kernel) == 2
                    and like(params[1:])(v[1:])
                ),
            ),
            xs=Argument(rows, lambda v: integers(0, 2, any_shape=True)(v) and len(v) == 2),
            initial_state=run["initial_state"],
        ),
        of(
            "step",
            seqjax.step,
            cell=cell,
            params=run["params"],
            state=run["initial_state"],
            x=Argument(xs[:, 0], like(xs[:, 0])),
            key=run["key"],
            deterministic=False,
            start=Argument(mask[:, 0], optional(like(mask[:, 0]))),
        ),
        of(
            "step of tokens",
            seqjax.step,
            cell=cell,
            params=run["params"],
            state=run["initial_state"],
            x=Argument(rows[:, 0], lambda v: like(rows[:, 0], 0, 2)(v) or floats(2, 3)(v)),
        ),
        of("truncated_unroll", truncation.truncated_unroll, **run, num_steps=2),
        of(
            "truncated_chunk",
            truncation.truncated_chunk,
            **run,
            num_steps=3,
        ),
        of(
            "chunks",
            truncation.chunks,
            num_steps=2,
            streams=Argument(
                {"a": np.ones((2, 6)), "b": rows.repeat(2, 1)},
                lambda v: (
                    isinstance(v, dict | tuple | list | np.ndarray | jax.Array)
                    and len({np.shape(leaf)[:2] for leaf in jax.tree.leaves(v)}) == 1
                    and all(
                        isinstance(leaf, np.ndarray | jax.Array) and leaf.ndim > 1
                        for leaf in jax.tree.leaves(v)
                    )
                ),
            ),
        ),
        of(
            "sequence_loss",
            losses.sequence_loss,
            logits=Argument(logits, floats(2, 3, None)),
            lengths=short,
            targets=Argument(rows, like(rows, 0, 3)),
            average_over_time=True,
            average_over_batch=True,
            time_major=False,
        ),
        of(
            "sequence_loss weighted",
            losses.sequence_loss,
            logits=Argument(logits, floats(2, 3, None)),
            targets=Argument(rows, like(rows, 0, 3)),
            weights=Argument(
                weights,
                lambda v: v is None or like(weights)(v) or like(rows, 0)(v) or like(rows > 0)(v),
            ),
        ),
        of("last_valid", pooling.last_valid, **pool),
        of("mean_valid", pooling.mean_valid, **pool),
        of("attention_pool", pooling.attention_pool, **pool, scores=scores),
        of(
            "last_valid masked",
            pooling.last_valid,
            ys=Argument(xs, floats(2, 6, None)),
            mask=masked["mask"],
        ),
        of(
            "Sampling",
            sampling.Sampling,
            top_k=2,
            top_p=Argument(0.5, between(1e-300, 1)),
            temperature=Argument(0.7, between(0, np.inf)),
        ),
        of("prime", sampling.prime, **of_model, **tokens),
        of(
            "generate",
            sampling.generate,
            **of_model,
            generation=Argument(start, like(start)),
            key=key,
            length=Argument(3, natural),
            sampling=sampling.Sampling(0.5),
        ),
        of(
            "draw",
            sampling.draw,
            key=key,
            sampling=sampling.Sampling(top_k=2, top_p=0.5),
            logits=Argument(
                logits[0], lambda v: floats(None)(v) and bool(np.isfinite(np.asarray(v)).all())
            ),
        ),
        of(
            "init_train_state",
            training.init_train_state,
            params=Argument({"w": vector}, _is_floats),
            optimizer=learn["optimizer"],
            carry=Argument(None, _is_numbers),
        ),
        of(
            "mean_value_and_grad",
            training.mean_value_and_grad,
            loss_fn=learn["loss_fn"],
            axis_name=Argument(None, lambda v: v is None or isinstance(v, str)),
        ),
        of(
            "train_step",
            training.train_step,
            **learn,
            state=Argument(train, is_state),
            batch=Argument(batch[0], lambda v: True),
            axis_name=Argument(None, lambda v: v is None),
            key=run["key"],
        ),
        of(
            "train_steps",
            training.train_steps,
            **learn,
            state=Argument(train, is_state),
            batches=Argument(batch, _is_arrays),
            axis_name=Argument(None, lambda v: v is None),
            key=run["key"],
        ),
        of(
            "data_parallel_steps",
            training.data_parallel_steps,
            **learn,
            mesh=Argument(mesh, lambda v: isinstance(v, jax.sharding.Mesh)),
        ),
        of(
            "data_parallel_steps of a batch",
            functools.partial(_run_parallel, loss_fn, optimizer, mesh),
            key=run["key"],
            state=Argument(train, is_state),
            batches=Argument(
                batch,
                lambda v: _is_arrays(v) and all(np.ndim(leaf) > 1 for leaf in jax.tree.leaves(v)),
            ),
        ),
        of("one_cpu_device_per_core", devices.one_cpu_device_per_core),
        of("data_mesh", devices.data_mesh, rows=4),
        of(
            "split_leading_axis",
            devices.split_leading_axis,
            tree=Argument(
                {"a": batch},
                lambda v: (
                    _is_arrays(v)
                    and bool(jax.tree.leaves(v))
                    and all(np.ndim(leaf) and len(leaf) for leaf in jax.tree.leaves(v))
                ),
            ),
        ),
        of(
            "drop_weights",
            regularization.drop_weights,
            key=key,
            params=Argument(params, lambda v: _is_floats(v) and hasattr(v, "recurrent_kernel")),
            rate=Argument(0.5, between(0, 0.999)),
            names=Argument(
                ("recurrent_kernel",),
                lambda v: isinstance(v, list | tuple) and all(isinstance(name, str) for name in v),
            ),
        ),
        of("nn.Recurrent", nn.Recurrent, cell=cell, in_features=3, **of_nnx),
        of(
            "nn.Recurrent.__call__",
            layer,
            xs=Argument(xs, like(xs)),
            lengths=run["lengths"],
            key=run["key"],
            deterministic=Argument(None, optional(flag)),
        ),
        of(
            "nn.Bidirectional",
            nn.Bidirectional,
            forward=cell,
            backward=cell,
            in_features=3,
            **of_nnx,
        ),
        of(
            "nn.SequenceModel",
            nn.SequenceModel,
            cell=cell,
            vocabulary_size=5,
            embedding_size=2,
            num_classes=2,
            **of_nnx,
        ),
        of("export.Step", export.Step),
        of(
            "export.Unroll",
            export.Unroll,
            lengths=True,
            initial_state=False,
            method="static",
            num_steps=3,
        ),
        of("export.Generate", export.Generate, length=3, sampling=sampling.Sampling()),
        of(
            "export.write",
            functools.partial(export.write, path),
            cell=cell,
            params=run["params"],
            xs=Argument(xs, like(xs)),
            functions=Argument((export.Step(),), lambda v: v is None),
            platforms=Argument(("cpu",), lambda v: False),
        ),
        of(
            "ToLinen",
            linen.ToLinen,
            cell=cell,
            param_dtype=Argument(jnp.float32, is_floating_dtype),
        ),
        of("FromLinen", linen.FromLinen, module=flax.linen.GRUCell(4), in_features=3),
        *_task_examples(key),
        *_interop_examples(),
        of("data.Padded", data.Padded, batch_size=2, multiple=4, drop_remainder=True),
        of(
            "data.Bucketed",
            data.Bucketed,
            boundaries=Argument(
                (4, 8), lambda v: isinstance(v, list | tuple) and all(map(positive, v))
            ),
            batch_size=Argument(
                2, lambda v: positive(v) or (isinstance(v, list | tuple) and all(map(positive, v)))
            ),
            multiple=2,
            drop_remainder=True,
            drop_longer=True,
        ),
        of(
            "data.Bucketed.of_steps",
            data.Bucketed.of_steps,
            boundaries=Argument(
                (4, 8), lambda v: isinstance(v, list | tuple) and all(map(positive, v))
            ),
            steps=16,
            drop_longer=Argument(True, flag),
        ),
        of(
            "data.Packed", data.Packed, batch_size=2, steps=8, drop_remainder=True, drop_longer=True
        ),
        *(
            of(f"data.{name}.batches", policy.batches, **placed)
            for name, policy in policies.items()
        ),
        *(of(f"data.{name}.place", policy.place, **steps) for name, policy in policies.items()),
        of(
            "data.plan",
            data.plan,
            **steps,
            shards=Argument((2, 1), lambda v: isinstance(v, list | tuple) and all(map(natural, v))),
            policy=Argument(data.Padded(2), is_policy),
            seed=Argument(1, optional(between(0, 2**64 - 1, is_integer))),
            epoch=Argument(0, natural),
            interleave=Argument(2, optional(positive)),
        ),
        of(
            "data.ListSource",
            data.ListSource,
            examples=Argument(
                [{"x": np.arange(3)}],
                lambda v: (
                    _is_sized(v)
                    and all(isinstance(e, dict) and all(np.ndim(a) for a in e.values()) for e in v)
                ),
            ),
            sequence_features=Argument({"x"}, lambda v: False),
            shards=Argument(
                (1,), lambda v: v is None or (isinstance(v, list | tuple) and all(map(natural, v)))
            ),
        ),
        of(
            "data.Loader",
            _load,
            source=Argument(sources, lambda v: v is sources),
            policy=Argument(data.Padded(2), is_policy),
            seed=Argument(1, optional(between(0, 2**64 - 1, is_integer))),
            epochs=Argument(1, optional(positive)),
            interleave=Argument(2, optional(positive)),
            pad_values=Argument({"x": 0}, lambda v: v is None or (isinstance(v, dict) and not v)),
            process=Argument(0, natural),
            processes=1,
            prefetch=2,
            start=Argument(data.Position(), lambda v: False),
        ),
        of(
            "data.Report.of_plan",
            data.Report.of_plan,
            **steps,
            plan=Argument(
                [np.array([0, 1])],
                lambda v: not np.size(v) or (_is_sized(v) and all(map(integers(0, 2), v))),
            ),
            policy=Argument(data.Padded(2), is_policy),
        ),
        of(
            "data.Report.of_batch",
            data.Report.of_batch,
            **steps,
            policy=Argument(data.Padded(2), is_policy),
        ),
    ]
    return tuple(result)


def _is_arrays(value: Any) -> bool:
    return all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(value))


def _is_sized(value: Any) -> bool:
    sized = isinstance(value, list | tuple | set | frozenset | dict)
    return sized or (isinstance(value, jax.Array | np.ndarray) and value.size == 0 < value.ndim)


def _is_numbers(value: Any) -> bool:
    return all(
        isinstance(leaf, jax.Array | np.ndarray | int | float | complex)
        for leaf in jax.tree.leaves(value)
    )


def _is_floats(value: Any) -> bool:
    leaves = jax.tree.leaves(value)
    return bool(leaves) and all(
        isinstance(leaf, jax.Array | np.ndarray | float)
        and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        for leaf in leaves
    )


def _run_parallel(
    loss_fn: Any, optimizer: Any, mesh: Any, state: Any, batches: Any, key: Any = None
) -> Any:
    """A call of a function of `data_parallel_steps`, on a copy of the state, which is donated."""
    state = jax.tree.map(lambda a: jnp.array(a) if isinstance(a, jax.Array) else a, state)
    return training.data_parallel_steps(loss_fn, optimizer, mesh)(state, batches, key)


def _load(
    source: Any, policy: Any, *, interleave: int, processes: int, prefetch: int, **options: Any
) -> Any:
    """All batches of a loader."""
    loader = data.Loader(
        source, policy, interleave=interleave, processes=processes, prefetch=prefetch, **options
    )
    with loader:
        return [next(loader)]


def _task_examples(key: Argument) -> Iterator[Example]:
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
        return _is_sized(value) and all(
            isinstance(p, list | tuple) and len(p) == 2 and is_integer(p[0]) and is_number(p[1])
            for p in value
        )

    yield of(
        "tasks.BinaryDependency",
        tasks.BinaryDependency,
        dependencies=Argument([(2, 0.5)], pairs),
        base_rate=Argument(0.25, between(0, 1)),
    )
    known = lambda v: not np.size(v) or (_is_sized(v) and all(map(is_integer, v)))  # noqa: E731
    yield of("tasks.BinaryDependency.expected_loss", task.expected_loss, known=Argument([2], known))
    bits = jnp.array([0, 1, 1, 0])
    yield of(
        "tasks.BinaryDependency.probabilities",
        task.probabilities,
        xs=Argument(bits, integers(0, 1, any_shape=True)),
    )
    yield of("tasks.BinaryDependency.sample", task.sample, key=key, num_steps=5)


def _interop_examples() -> Iterator[Example]:
    """Each pair of a ``to_...`` and a ``from_...`` function, on the parameters of a cell."""
    params = {
        entry.name: _fill(entry.make(8).init, jax.random.key(0), entry.size(8, 3))
        for entry in reversed(CATALOGUE)  # the entry without options comes first, so it is kept
        if entry.name != "LanguageModel"
    }
    normed = _fill(seqjax.LSTM(8, layer_norm=seqjax.LayerNorm()).init, jax.random.key(0), 3)
    other_names = {
        "simple": "BasicRNN",
        "simple_rnn": "BasicRNN",
        "rnn": "BasicRNN",
        "ind_rnn": "IndRNN",
        "optimized_lstm": "LSTM",
        "projection": "OutputProjection",
        "weight_norm_lstm": "WeightNorm",
        "multi_rnn": "Stack",
    }
    kinds = {name.lower(): name for name in params}
    for module in (flax_linen, flax_nnx, keras, pytorch, tensorflow):
        names = [name for name in public(module) if name.startswith("to_")]
        for name in names:
            converted = name.removeprefix("to_")
            label = f"{module.__name__.rpartition('.')[2]}.{{}}_{converted}"
            if "layer_norm" in converted:
                own: Any = normed
            else:
                own = params[other_names.get(converted) or kinds[converted.replace("_", "")]]
            to, back = getattr(module, name), getattr(module, f"from_{converted}")
            more: dict[str, Any] = {}
            of_back: dict[str, Any] = {}
            if converted == "multi_rnn":
                pairs = lambda v: False  # noqa: E731
                more = {"cells": Argument([("lstm_cell", tensorflow.to_lstm)] * 2, pairs)}
                of_back = {"cells": Argument([("lstm_cell", tensorflow.from_lstm)] * 2, pairs)}
            elif converted == "grid_rnn":
                grid = {
                    "grid": Argument(seqjax.GridRNN(seqjax.LSTM(8)), lambda v: False),
                    "scope": Argument("lstm_cell", lambda v: isinstance(v, str)),
                }
                more = grid | {"to_cell": Argument(tensorflow.to_lstm, lambda v: False)}
                of_back = grid | {"from_cell": Argument(tensorflow.from_lstm, lambda v: False)}
            elif converted == "gru" and module is not tensorflow:
                own = _fill(seqjax.GRU(8, reset_after=True).init, jax.random.key(0), 3)
                own = own._replace(candidate_bias=jnp.zeros(8, jnp.float32))
            argument = "layers" if module is pytorch else "params"
            own = (own,) if module is pytorch else own
            there = functools.partial(to, **_values(more))
            back_again = functools.partial(back, **_values(of_back))

            def read(
                result: Any, name: str = converted, module: Any = module, call: Any = back_again
            ) -> Any:
                if name in ("highway", "attention_cell", "projection"):
                    variables, cell = result
                    return call(variables, cell=cell)
                if module is keras and name == "gru":
                    return call(*result, reset_after=np.ndim(result[2]) == 2)
                return call(*result) if module is keras else call(result)

            yield of(
                label.format("to"),
                to,
                **more,
                **{argument: Argument(own, _survives(functools.partial(_back_again, there, read)))},
            )
            result = there(own)
            if converted in ("highway", "attention_cell", "projection"):
                result, inner = result
                # passed through
                of_back = {"cell": Argument(inner, lambda v: True)}
            names = [*inspect.signature(back).parameters]
            if module is keras:
                arrays = dict(zip(names, result, strict=False))
                rows = {key: Argument(a, _rows_like(a)) for key, a in arrays.items()}
                bias = {"bias": Argument(arrays["bias"], optional(like(arrays["bias"])))}
                yield of(label.format("from"), back, **rows | bias)
            else:
                again = functools.partial(_there_again, there, back, _values(of_back))
                yield of(
                    label.format("from"),
                    back,
                    **of_back,
                    **{names[0]: Argument(result, _survives(again))},
                )
    variables = {"a/b": jnp.ones(2, jnp.float32)}
    text = lambda v: isinstance(v, str)  # noqa: E731
    for function in (tensorflow.split_scope, tensorflow.join_scope):
        yield of(
            f"tensorflow.{function.__name__}",
            function,
            scope=Argument("a", text),
            variables=Argument(variables, lambda v: isinstance(v, dict)),
        )


def _rows_like(kernel: Any) -> Accepts:
    """Like ``kernel``, for any number of inputs where that is free."""
    return lambda v: (
        like(kernel)(v)
        or (isinstance(v, np.ndarray) and _is_floats(v) and v.shape[1:] == kernel.shape[1:])
    )


def _values(arguments: dict[str, Argument]) -> dict[str, Any]:
    return {name: argument.value for name, argument in arguments.items()}


def _back_again(there: Any, read: Any, params: Any) -> Any:
    return read(there(params))


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


def _there_again(there: Any, back: Any, options: dict[str, Any], variables: Any) -> Any:
    result = there(back(variables, **options))
    return result[0] if isinstance(result, tuple) else result


def _survives(convert: Callable[[Any], Any]) -> Accepts:
    """Floating arrays that come back in the same shapes from a conversion there and back."""

    def shapes(tree: Any) -> Any:
        tree = tuple(tree) if isinstance(tree, list) else tree
        return jax.tree.structure(tree), [np.shape(leaf) for leaf in jax.tree.leaves(tree)]

    def accepts(value: Any) -> bool:
        try:
            return _is_floats(value) and shapes(convert(value)) == shapes(value)
        except ValueError:
            return False

    return accepts


def public(module: types.ModuleType) -> list[str]:
    """The public functions and classes of a module, without contracts and named tuples."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    values = {name: getattr(module, name) for name in names}
    return [
        name
        for name, value in values.items()
        if callable(value)
        and typing.get_origin(value) is None
        and not (isinstance(value, type) and issubclass(value, tuple))
        and not inspect.isabstract(value)
        and not getattr(value, "_is_protocol", False)
    ]


# One draw


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
    if callable(argument.value) and callable(value):  # the errors of a function are its own
        raise NotApplicableError
    try:
        result = example.call(**given | {name: value})
    except Exception as error:
        return _outcome(error), f"{type(error).__name__}: {error}"
    if not argument.accepts(value):
        return "silent", f"returned {_short(result)}"
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
    if isinstance(one, nnx.Module):  # whose parameters are drawn from a stream
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


@dataclasses.dataclass(frozen=True)
class Config:
    """Make wrong calls and count their outcomes."""

    count: int = 3000
    """The number of calls."""
    seed: int = 0
    """The seed of the draws."""


def main(config: Config) -> None:
    """Print the number of calls of each outcome, and each call that is not allowed."""
    counts: collections.Counter[Outcome] = collections.Counter()
    for draw in draws(config.count, config.seed):
        counts[draw.outcome] += 1
        if draw.outcome in ("silent", "crash"):
            print(
                f"{draw.call}, {draw.argument} = {draw.kind}: {draw.outcome}, {draw.message[:200]}"
            )
    calls = sum(bool(example.arguments) for example in examples())
    print(f"{calls} valid calls, {len(KINDS)} kinds of values")
    print(
        f"{config.count} wrong calls: "
        + ", ".join(f"{counts[outcome]} {outcome}" for outcome in typing.get_args(Outcome))
    )


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
