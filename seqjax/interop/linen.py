"""Cells of seqjax in `flax.linen`, and cells of `flax.linen` in seqjax."""

import dataclasses
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp

from seqjax.checks import check_dtype, check_size
from seqjax.operations.affine import accumulation_dtype
from seqjax.types import Array, Cell, Noise, Params, PyTree, State
from seqjax.wrappers.wrapper import check_cell


class ToLinen(flax.linen.RNNCellBase):
    """A linen cell around any seqjax cell, for `flax.linen.RNN`.

    Its one parameter, ``cell``, holds the parameters of `Cell.init`. With an rng named ``dropout``,
    the cell draws noise. `flax.linen.RNN` passes this rng on only if ``split_rngs`` names it:
    ``{"params": False, "dropout": True}`` draws new noise at each step, and ``"dropout": False``
    uses the same noise at all steps. `seqjax.unroll` is faster, since it projects the inputs of all
    steps at once.

    Args:
      cell: a seqjax cell, for inputs with one feature axis.
      param_dtype: the dtype of the parameters. The state has this dtype too, or float32 for 16-bit
        dtypes.

    Raises:
      ValueError: ``cell`` is not a seqjax cell, or ``param_dtype`` is not floating.

    >>> import flax.linen, seqjax
    >>> rnn = flax.linen.RNN(ToLinen(seqjax.LSTM(4)))
    >>> ys, _ = rnn.init_with_output(jax.random.key(0), jnp.ones((2, 5, 3), jnp.float32))
    >>> ys.shape
    (2, 5, 4)
    """

    cell: Cell
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        check_cell("ToLinen", self.cell)
        check_dtype(self.param_dtype)
        super().__post_init__()

    @flax.linen.compact
    def __call__(self, carry: State, inputs: Array) -> tuple[State, PyTree]:
        """Run one time step."""
        size = inputs.shape[-1]
        params = self.param("cell", self.cell.init, size, self.param_dtype)
        noise = None
        if self.has_rng("dropout"):
            key = self.make_rng("dropout")
            one_step = self.cell.draw_noise(key, (1, *inputs.shape[:-1]), size)
            noise = jax.tree.map(lambda a: a[0], one_step)
        return self.cell.step(params, carry, self.cell.project(params, inputs, noise))

    @flax.linen.nowrap
    def initialize_carry(self, rng: Array, input_shape: tuple[int, ...]) -> State:
        """The zero state."""
        return self.cell.initial_state(input_shape[:-1], accumulation_dtype(self.param_dtype))

    @property
    def num_feature_axes(self) -> int:
        """The number of feature axes, 1."""
        return 1


@dataclasses.dataclass(frozen=True)
class FromLinen(Cell):
    """A seqjax cell around any linen cell, for `seqjax.unroll`.

    Its parameters and state are the pytrees of the linen cell. The inputs are not projected in
    advance.

    Args:
      module: an unbound linen cell.
      in_features: D, the number of input features.

    Raises:
      ValueError: ``module`` is not a linen cell, or ``in_features`` is not a whole number of at
        least 1.

    >>> import flax.linen, seqjax
    >>> cell = FromLinen(flax.linen.GRUCell(4), in_features=3)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> state, ys = seqjax.unroll(cell, params, jnp.ones((2, 5, 3), jnp.float32))
    >>> bool((state == ys[:, -1]).all())
    True
    """

    module: flax.linen.RNNCellBase
    in_features: int

    def __post_init__(self) -> None:
        if not isinstance(self.module, flax.linen.RNNCellBase):
            raise ValueError(f"FromLinen: module must be a linen cell, got {self.module!r}")
        check_size("FromLinen", "in_features", self.in_features)

    @property
    def output_size(self) -> int:
        """The number of features of an output of the module."""
        (_, y), _ = jax.eval_shape(self._init_with_output, jax.random.key(0))
        return y.shape[-1]

    def init(self, key: Array, input_size: int, dtype: Any = jnp.float32) -> Params:
        """Draw the parameters of the module, cast to ``dtype``."""
        if input_size != self.in_features:
            raise ValueError(
                f"FromLinen: input_size must equal in_features={self.in_features}, got {input_size}"
            )
        _, variables = self._init_with_output(key)
        return jax.tree.map(lambda a: a.astype(dtype), variables["params"])

    def input_size(self, params: Params) -> int:
        """D, the number of input features."""
        return self.in_features

    def initial_state(self, batch_shape: tuple[int, ...] = (), dtype: Any = jnp.float32) -> State:
        """The zero state, with the shapes of the carry of the module."""
        carry = jax.eval_shape(
            lambda: self.module.initialize_carry(
                jax.random.key(0), (*batch_shape, self.in_features)
            )
        )
        return jax.tree.map(lambda a: jnp.zeros(a.shape, dtype), carry)

    def project(self, params: Params, xs: Array, noise: Noise = None) -> Array:
        """Return the inputs unchanged."""
        return xs

    def step(self, params: Params, state: State, z: Array) -> tuple[State, PyTree]:
        """Apply the module."""
        return self.module.apply({"params": params}, state, z)

    def _init_with_output(self, key: Array) -> tuple[Any, Any]:
        xs = jnp.zeros(self.in_features, self.module.param_dtype)
        carry = self.module.initialize_carry(key, xs.shape)
        return self.module.init_with_output(key, carry, xs)
