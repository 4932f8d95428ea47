"""Registration of the types of the library with `jax.export`."""

from jax import export as jax_export

from seqjax import attention, cells, decoding, sampling, types, wrappers


def register_types() -> None:
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
