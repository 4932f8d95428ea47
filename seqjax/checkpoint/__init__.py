"""Checkpoints of the last and the best state of a run, which survive a kill at any moment.

Under `jax.distributed`, all processes share one folder: each writes the parts of the arrays that
it holds, and process 0 decides what exists, what is the best and what is removed.

>>> import pathlib, tempfile
>>> import jax.numpy as jnp
>>> state = {"w": jnp.ones(2, jnp.float32)}
>>> with Checkpoints(pathlib.Path(tempfile.mkdtemp())) as checkpoints:
...     checkpoints.save(10, state, {"units": 4}, loss=0.5)
...     checkpoints.save(20, state, {"units": 4}, loss=0.7)
...     print(checkpoints.steps())
{'last': 20, 'best': 10}
"""

from seqjax.checkpoint.checkpoints import Checkpoints
from seqjax.checkpoint.shared import Restored
from seqjax.checkpoint.stored import CorruptCheckpointError

__all__ = ["Checkpoints", "CorruptCheckpointError", "Restored"]
