"""Training steps as pure functions: one step, many steps in one program, and many devices.

=====================  ================================================================
`train_step`           one optimizer step
`train_steps`          K steps in one program
`data_parallel_steps`  K steps on the devices of a mesh
`state_shardings`      how parameters and optimizer state are split over devices
`mean_value_and_grad`  the gradient, for a training step of your own
=====================  ================================================================

The functions for steps take ``accumulate``, the number of micro-batches of each step: gradients of
micro-batches are accumulated, so that the memory of a step is that of one micro-batch.
"""

from seqjax.training.gradient import mean_value_and_grad
from seqjax.training.parallel import data_parallel_steps
from seqjax.training.sharding import state_shardings
from seqjax.training.state import TrainState, init_train_state
from seqjax.training.steps import train_step, train_steps

__all__ = [
    "TrainState",
    "data_parallel_steps",
    "init_train_state",
    "mean_value_and_grad",
    "state_shardings",
    "train_step",
    "train_steps",
]
