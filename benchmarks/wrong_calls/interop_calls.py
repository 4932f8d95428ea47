"""Valid calls of the conversions of weights."""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import seqjax
from benchmarks.wrong_calls.accepts import Accepts, is_floats, like, optional
from benchmarks.wrong_calls.example import Argument, Example, fill, of, public
from seqjax.catalogue import CATALOGUE
from seqjax.interop import flax_linen, flax_nnx, keras, pytorch, tensorflow


def interop_examples() -> Iterator[Example]:
    """Each pair of a ``to_...`` and a ``from_...`` function, on the parameters of a cell."""
    params = {
        entry.name: fill(entry.make(8).init, jax.random.key(0), entry.size(8, 3))
        for entry in reversed(CATALOGUE)  # the entry without options comes first, so it is kept
        if entry.name != "LanguageModel"
    }
    normed = fill(seqjax.LSTM(8, layer_norm=seqjax.cells.LayerNorm()).init, jax.random.key(0), 3)
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
                own = fill(seqjax.GRU(8, reset_after=True).init, jax.random.key(0), 3)
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
                # returned unchanged, so any value is accepted
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
    """Like ``kernel``, with any number of rows if the columns match."""
    return lambda v: (
        like(kernel)(v)
        or (isinstance(v, np.ndarray) and is_floats(v) and v.shape[1:] == kernel.shape[1:])
    )


def _values(arguments: dict[str, Argument]) -> dict[str, Any]:
    return {name: argument.value for name, argument in arguments.items()}


def _back_again(there: Any, read: Any, params: Any) -> Any:
    return read(there(params))


def _there_again(there: Any, back: Any, options: dict[str, Any], variables: Any) -> Any:
    result = there(back(variables, **options))
    return result[0] if isinstance(result, tuple) else result


def _survives(convert: Callable[[Any], Any]) -> Accepts:
    """Floating arrays that keep their shapes when they are converted there and back."""

    def shapes(tree: Any) -> Any:
        tree = tuple(tree) if isinstance(tree, list) else tree
        return jax.tree.structure(tree), [np.shape(leaf) for leaf in jax.tree.leaves(tree)]

    def accepts(value: Any) -> bool:
        try:
            return is_floats(value) and shapes(convert(value)) == shapes(value)
        except ValueError:
            return False

    return accepts
