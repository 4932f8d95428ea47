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

from seqjax.export.file import write
from seqjax.export.functions import Entry, Function, Generate, Method, Step, Unroll
from seqjax.export.registration import register_types
from seqjax.export.serialization import Platform

__all__ = ["Entry", "Function", "Generate", "Method", "Platform", "Step", "Unroll", "write"]

register_types()
