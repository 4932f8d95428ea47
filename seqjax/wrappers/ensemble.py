"""Several models as one cell, which averages what they predict."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqjax.types import Array, Cell, Loop, Noise, Params, Projected, PyTree, Size, State
from seqjax.wrappers.composite import Composite
from seqjax.wrappers.wrapper import check_one_axis


@dataclasses.dataclass(frozen=True)
class Ensemble(Composite):
    """A cell that runs several models side by side and averages their log-probabilities.

    Maps the inputs of a member to ``[B, T, V]``. Parameters, state and noise are tuples with one
    entry for each of N members::

        s_n', l_n = member_n(s_n, x)
        y         = sum over n of log_softmax(l_n) / N

    ``softmax(y)`` is the geometric mean of the probabilities of all members, normalised. It can be
    scored, sampled, decoded and exported as the output of one model. Members that were trained
    separately are used in evaluation mode.

    Args:
      members: cells that read the same inputs and output logits of the same V classes.

    Raises:
      ValueError: there is no member, a member is not a cell with one output axis of features, or
        members differ in their number of classes.

    Reference: Hansen and Salamon, "Neural network ensembles", 1990.

    >>> from seqjax import GRU, LSTM, LanguageModel, unroll
    >>> ensemble = Ensemble([LanguageModel(GRU(4), 5), LanguageModel(LSTM(3), 5)])
    >>> params = ensemble.init(jax.random.key(0), input_size=5)
    >>> unroll(ensemble, params, jnp.array([[1, 2]]))[1].shape
    (1, 2, 5)
    """

    members: Sequence[Cell]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.members, list | tuple) or not self.members:
            raise ValueError(
                f"Ensemble: members must be a list of at least 1 cell, got {self.members!r}"
            )
        for member in self.members:
            check_one_axis("Ensemble", member)
        object.__setattr__(self, "members", tuple(self.members))
        sizes = [member.output_size for member in self.members]
        if len({*sizes}) > 1:
            raise ValueError(
                f"Ensemble: members must have logits of the same classes, got {sizes} classes"
            )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The members."""
        return tuple(self.members)

    @property
    def output_size(self) -> Size:
        """The number of classes, V."""
        return self.members[0].output_size

    def init(self, key: Array, input_size: Size, dtype: Any = jnp.float32) -> tuple[Params, ...]:
        """Initialise each member with a separate key."""
        keys = jax.random.split(key, len(self.members))
        return tuple(
            member.init(k, input_size, dtype) for member, k in zip(self.members, keys, strict=True)
        )

    def input_size(self, params: tuple[Params, ...]) -> Size:
        """Return the input size of the members."""
        return self.members[0].input_size(params[0])

    def leading_shape(self, params: tuple[Params, ...], xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes, after the checks of all members."""
        first, *_ = (
            member.leading_shape(p, xs) for member, p in zip(self.members, params, strict=True)
        )
        return first

    def features(self, xs: PyTree) -> PyTree:
        """Return the features of the first member."""
        return self.members[0].features(xs)

    def draw_noise(
        self, key: Array, leading_shape: tuple[int, ...], input_size: Size
    ) -> tuple[Noise, ...]:
        """Draw the noise of each member with a separate key."""
        keys = jax.random.split(key, len(self.members))
        return tuple(
            member.draw_noise(k, leading_shape, input_size)
            for member, k in zip(self.members, keys, strict=True)
        )

    def project(
        self, params: tuple[Params, ...], xs: PyTree, noise: Noise = None
    ) -> tuple[Projected, ...]:
        """Project the inputs for each member."""
        return tuple(
            member.project(p, xs, n)
            for member, p, n in zip(self.members, params, self._noise(noise), strict=True)
        )

    def step(
        self, params: tuple[Params, ...], state: tuple[State, ...], z: tuple[Projected, ...]
    ) -> tuple[tuple[State, ...], Array]:
        """Step each member, and average their log-probabilities."""
        steps = [
            member.step(*arguments)
            for member, *arguments in zip(self.members, params, state, z, strict=True)
        ]
        return _average(steps)

    def sequence(
        self,
        loop: Loop,
        params: tuple[Params, ...],
        state: tuple[State, ...],
        xs: PyTree,
        noise: Noise = None,
    ) -> tuple[tuple[State, ...], Array]:
        """Run one member after the other."""
        runs = [
            member.sequence(loop, p, s, xs, n)
            for member, p, s, n in zip(self.members, params, state, self._noise(noise), strict=True)
        ]
        return _average(runs)

    def _noise(self, noise: Noise) -> tuple[Noise, ...]:
        return (None,) * len(self.members) if noise is None else noise


def _average(results: list[tuple[State, Array]]) -> tuple[tuple[State, ...], Array]:
    states, logits = zip(*results, strict=True)
    return states, jnp.stack([*map(jax.nn.log_softmax, logits)]).mean(0)
