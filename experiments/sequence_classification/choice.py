"""The choice of an epoch by a validation set, for each seed."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.sequence_classification.run import NetworkParams


class Choice(NamedTuple):
    """The best epoch of each seed so far.

    Attributes:
      params: the parameters after it, with a leading axis of seeds.
      epochs: its number from 1, ``int[seeds]``.
      accuracies: the accuracy on the validation set, ``[seeds]``.
      losses: the mean cross-entropy there, which decides between equal accuracies.
    """

    params: NetworkParams
    epochs: np.ndarray
    accuracies: np.ndarray
    losses: np.ndarray


def choose(
    before: Choice | None,
    epoch: int,
    params: NetworkParams,
    probabilities: np.ndarray,
    labels: np.ndarray,
) -> Choice:
    """Replace the choice of the seeds that have improved.

    Args:
      before: the choice among the epochs before; None if there are none.
      epoch: the number of the epoch, from 1.
      params: the parameters after it, with a leading axis of seeds.
      probabilities: the class probabilities on the validation set, ``[seeds, N, V]``.
      labels: the labels of the validation set, ``int[N]``.

    >>> params = NetworkParams(np.float32([[1], [1]]))
    >>> choice = choose(None, 1, params, np.float32([[[0.6, 0.4]], [[0.6, 0.4]]]), np.array([1]))
    >>> params = NetworkParams(np.float32([[2], [2]]))
    >>> choice = choose(choice, 2, params, np.float32([[[0.4, 0.6]], [[0.7, 0.3]]]), np.array([1]))
    >>> print(choice.epochs, choice.params.cell.ravel())
    [2 1] [2. 1.]
    """
    of_label = probabilities[:, np.arange(len(labels)), labels]
    after = Choice(
        params,
        np.full(len(probabilities), epoch),
        (probabilities.argmax(-1) == labels).mean(1),
        -np.log(np.maximum(of_label, np.finfo(np.float32).tiny)).mean(1),
    )
    if before is None:
        return after
    same = after.accuracies == before.accuracies
    better = (after.accuracies > before.accuracies) | (same & (after.losses < before.losses))

    def pick(new: jax.Array | np.ndarray, old: jax.Array | np.ndarray) -> jax.Array:
        return jnp.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return Choice(
        jax.tree.map(pick, params, before.params),
        *(np.where(better, new, old) for new, old in zip(after[1:], before[1:], strict=True)),
    )
