"""Several models as one cell, which averages their log-probabilities."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqjax import Cell
from seqjax.types import Array, Params, Projected, PyTree, State


@dataclasses.dataclass(frozen=True)
class Ensemble(Cell):
    """A cell that runs several models side by side and averages their log-probabilities.

    Maps tokens ``[B, T]`` to ``[B, T, V]``. Parameters and state are tuples with one entry for each
    of N members::

        s_n', l_n = member_n(s_n, token)
        y = sum over n of log_softmax(l_n) / N

    The average is that of the geometric mean of the probabilities, up to a constant. It runs in
    evaluation mode, so members draw no noise.

    Args:
      members: cells from tokens to logits, with the same vocabulary.

    Raises:
      ValueError: there is no member, or the members differ in their number of tokens.

    >>> from seqjax import GRU, LanguageModel, unroll
    >>> model = LanguageModel(GRU(4), vocabulary_size=5)
    >>> ensemble = Ensemble([model, model])
    >>> params = ensemble.init(jax.random.key(0), input_size=5)
    >>> unroll(ensemble, params, jnp.array([[1, 2]]))[1].shape
    (1, 2, 5)
    """

    members: Sequence[Cell]

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "members", tuple(self.members))
        sizes = {member.output_size for member in self.members}
        if len(sizes) != 1:
            raise ValueError(
                "Ensemble: members must be at least one model, all of one vocabulary, got "
                f"{len(self.members)} with {sorted(sizes)} tokens"
            )

    @property
    def output_size(self) -> int:
        """The number of tokens, V."""
        size: int = self.members[0].output_size
        return size

    @property
    def can_step(self) -> bool:
        """Whether all members can run step by step."""
        return all(member.can_step for member in self.members)

    @property
    def roles(self) -> tuple[State, ...]:
        """The roles of each member."""
        return tuple(member.roles for member in self.members)

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> tuple[Params, ...]:
        """Initialise each member with a separate key."""
        keys = jax.random.split(key, len(self.members))
        return tuple(
            member.init(k, input_size, dtype) for member, k in zip(self.members, keys, strict=True)
        )

    def input_size(self, params: tuple[Params, ...]) -> int:
        """Return the number of tokens."""
        size: int = self.members[0].input_size(params[0])
        return size

    def leading_shape(self, params: tuple[Params, ...], xs: PyTree) -> tuple[int, ...]:
        """Return the time and batch axes of the tokens."""
        return self.members[0].leading_shape(params[0], xs)

    def initial_state(
        self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32
    ) -> tuple[State, ...]:
        """Return the zero state of each member."""
        return tuple(member.initial_state(batch_shape, dtype) for member in self.members)

    def first_state(
        self,
        params: tuple[Params, ...],
        batch_shape: tuple[int, ...] = (),
        dtype: Any = jnp.float32,
    ) -> tuple[State, ...]:
        """Return the first state of each member."""
        return tuple(
            member.first_state(p, batch_shape, dtype)
            for member, p in zip(self.members, params, strict=True)
        )

    def project(
        self, params: tuple[Params, ...], xs: PyTree, noise: None = None
    ) -> tuple[Projected, ...]:
        """Project the tokens for each member."""
        return tuple(member.project(p, xs) for member, p in zip(self.members, params, strict=True))

    def step(
        self, params: tuple[Params, ...], state: tuple[State, ...], z: tuple[Projected, ...]
    ) -> tuple[tuple[State, ...], Array]:
        """Step each member, and average their log-probabilities."""
        steps = [
            member.step(*arguments)
            for member, *arguments in zip(self.members, params, state, z, strict=True)
        ]
        states, logits = zip(*steps, strict=True)
        return states, jnp.stack([*map(jax.nn.log_softmax, logits)]).mean(0)
