"""Arrays of one process that saves alone among several, which orbax would leave to process 0."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath  # the paths of orbax

from seqjax.types import PyTree


class _Handler(ocp.type_handlers.NumpyHandler):  # type: ignore[misc]  # orbax has no types
    """Writes arrays in any process; that of orbax writes them in process 0 only."""

    async def serialize(
        self, values: Sequence[np.ndarray], infos: Sequence[Any], args: Any = None
    ) -> list[Any]:
        """Write the arrays, and return no futures."""

        async def write(value: np.ndarray, info: Any) -> None:
            spec = ocp.type_handlers.get_json_tspec_write(
                info,
                use_ocdbt=info.is_ocdbt_checkpoint,
                global_shape=value.shape,
                local_shape=value.shape,
                dtype=value.dtype,
                process_index=jax.process_index(),
            )
            spec["dtype"] = value.dtype.name  # early versions of orbax leave it out
            await self._open_and_write(value, spec, info.ts_context)

        await asyncio.gather(*map(write, values, infos))
        return []


def write_arrays(path: Path, state: PyTree) -> None:
    """Write arrays of NumPy into the existing folder ``path``, in the format of all checkpoints."""
    handlers = ocp.type_handlers.create_type_handler_registry(
        (np.ndarray, _Handler()),
        (jax.Array, ocp.type_handlers.ArrayHandler()),  # not used; orbax warns without it
    )
    options = ocp.options.MultiprocessingOptions(primary_host=jax.process_index())
    handler = ocp.PyTreeCheckpointHandler(
        multiprocessing_options=options, type_handler_registry=handlers
    )
    arrays = jax.tree.map(np.asarray, state)  # of scalars too
    try:
        handler.save(epath.Path(path / "state"), args=ocp.args.PyTreeSave(arrays))
    finally:
        handler.close()
