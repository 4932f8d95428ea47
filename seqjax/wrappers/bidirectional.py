"""Two loops over time, one in each direction, and layers of such pairs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqjax.engine.unroll import Method, unroll
from seqjax.types import Array, Cell, PyTree, Size


class Directions(NamedTuple):
    """One thing for each direction: cells, parameters, states or outputs."""

    forward: Any
    backward: Any


def bidirectional_unroll(
    forward: Cell,
    backward: Cell,
    params: Directions,
    xs: PyTree,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    initial_state: Directions | None = None,
    key: Array | None = None,
    time_major: bool = False,
    method: Method = "auto",
    remat: int | None = None,
) -> tuple[Directions, Directions]:
    """Run ``forward`` from the first step to the last and ``backward`` the other way.

    TensorFlow's ``bidirectional_dynamic_rnn``. The backward cell starts at each row's own last
    step, and its outputs stay where their inputs are.

    Args:
      forward: the cell that sees the past.
      backward: the cell that sees the future.
      params: of both, ``Directions(forward.init(...), backward.init(...))``.
      xs: as in `seqjax.unroll`, and so are ``lengths``, ``mask``, ``time_major``, ``method``
        and ``remat``.
      lengths: the number of steps of each row.
      mask: the steps that count.
      initial_state: of both.
      key: for the noise of both, which is drawn from keys of their own.
      time_major: time comes first.
      method: how to loop.
      remat: time steps of a chunk that is computed again in the backward pass.

    Returns:
      ``(final_state, outputs)``, each of both directions. The final backward state is the one after
      step 0.

    Raises:
      ValueError: as `seqjax.unroll`, or what should be `Directions` is not.

    >>> import seqjax
    >>> cell = seqjax.LSTM(units=4)
    >>> keys = jax.random.split(jax.random.key(0))
    >>> params = Directions(*(cell.init(key, input_size=3) for key in keys))
    >>> xs = jnp.ones((2, 5, 3), jnp.float32)
    >>> state, ys = bidirectional_unroll(cell, cell, params, xs, lengths=jnp.array([5, 2]))
    >>> bool((state.backward.h == ys.backward[:, 0]).all())
    True
    """
    _check("params", params)
    if initial_state is not None:
        _check("initial_state", initial_state)
    runs = [
        unroll(
            cell,
            cell_params,
            xs,
            lengths=lengths,
            mask=mask,
            initial_state=state,
            key=cell_key,
            reverse=reverse,
            time_major=time_major,
            method=method,
            remat=remat,
        )
        for cell, cell_params, state, cell_key, reverse in zip(
            (forward, backward),
            params,
            initial_state or (None, None),
            _split(key, 2),
            (False, True),
            strict=True,
        )
    ]
    states, outputs = zip(*runs, strict=True)
    return Directions(*states), Directions(*outputs)


def init_bidirectional_stack(
    layers: Sequence[Directions], key: Array, input_size: int, dtype: Any = jnp.float32
) -> tuple[Directions, ...]:
    """Draw the parameters of each layer of `bidirectional_stack_unroll`.

    Args:
      layers: the cells of each layer, the lowest first.
      key: a key from `jax.random.key`.
      input_size: D, of the lowest layer.
      dtype: of the parameters.

    Raises:
      ValueError: ``layers`` is not a list of at least one `Directions`.

    >>> import seqjax
    >>> lower = Directions(seqjax.GRU(4), seqjax.GRU(5))
    >>> layers = [lower, Directions(seqjax.LSTM(2), seqjax.LSTM(2))]
    >>> params = init_bidirectional_stack(layers, jax.random.key(0), input_size=3)
    >>> params[1].forward.input_kernel.shape
    (9, 8)
    """
    _check_layers(layers)
    params = []
    for (forward, backward), layer_key in zip(
        layers, jax.random.split(key, len(layers)), strict=True
    ):
        keys = jax.random.split(layer_key)
        params.append(
            Directions(
                forward.init(keys[0], input_size, dtype), backward.init(keys[1], input_size, dtype)
            )
        )
        input_size = _joined_size(forward.output_size, backward.output_size)
    return tuple(params)


def bidirectional_stack_unroll(
    layers: Sequence[Directions],
    params: Sequence[Directions],
    xs: PyTree,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    initial_state: Sequence[Directions] | None = None,
    key: Array | None = None,
    time_major: bool = False,
    method: Method = "auto",
    remat: int | None = None,
) -> tuple[tuple[Directions, ...], Array]:
    """Run bidirectional layers on top of each other; each sees both directions of the one below.

    TensorFlow's ``stack_bidirectional_dynamic_rnn`` and PyTorch's ``bidirectional=True``. Outputs
    of a layer are joined with the forward ones first.

    Args:
      layers: the cells of each layer, the lowest first.
      params: of each layer, as `init_bidirectional_stack` draws them.
      xs: as in `seqjax.unroll`, and so are ``lengths``, ``mask``, ``time_major``, ``method``
        and ``remat``.
      lengths: the number of steps of each row.
      mask: the steps that count.
      initial_state: of each layer.
      key: for the noise of all layers, which is drawn from keys of their own.
      time_major: time comes first.
      method: how to loop.
      remat: time steps of a chunk that is computed again in the backward pass.

    Returns:
      ``(final_state, outputs)``: the states of each layer, and the joined outputs of the top one.

    Raises:
      ValueError: as `bidirectional_unroll`, or ``layers`` is not a list of at least one
        `Directions`, or there is not one entry for each layer.

    >>> import seqjax
    >>> layers = [Directions(seqjax.GRU(4), seqjax.GRU(4))] * 2
    >>> params = init_bidirectional_stack(layers, jax.random.key(0), input_size=3)
    >>> state, ys = bidirectional_stack_unroll(layers, params, jnp.ones((2, 5, 3), jnp.float32))
    >>> len(state), ys.shape
    (2, (2, 5, 8))
    """
    _check_layers(layers)
    states = [None] * len(layers) if initial_state is None else initial_state
    for name, given in (("params", params), ("initial_state", states)):
        if len(given) != len(layers):
            raise ValueError(
                f"{name} must hold one entry for each of {len(layers)} layers, got {len(given)}"
            )
    final = []
    for layer, layer_params, state, layer_key in zip(
        layers, params, states, _split(key, len(layers)), strict=True
    ):
        state, ys = bidirectional_unroll(
            *layer,
            layer_params,
            xs,
            lengths=lengths,
            mask=mask,
            initial_state=state,
            key=layer_key,
            time_major=time_major,
            method=method,
            remat=remat,
        )
        final.append(state)
        xs = jnp.concatenate(ys, axis=-1)
    return tuple(final), xs


def _joined_size(forward: Size, backward: Size) -> Size:
    if isinstance(forward, tuple):
        return (*forward[:-1], forward[-1] + backward[-1])
    return forward + backward


def _split(key: Array | None, count: int) -> Sequence[Array | None]:
    return [None] * count if key is None else list(jax.random.split(key, count))


def _check_layers(layers: Sequence[Directions]) -> None:
    if not isinstance(layers, list | tuple) or isinstance(layers, Directions) or not layers:
        raise ValueError(f"layers must be a list of at least one Directions, got {layers!r}")
    for n, layer in enumerate(layers):
        _check(f"layers[{n}]", layer)


def _check(name: str, value: Any) -> None:
    if not isinstance(value, Directions):
        raise ValueError(
            f"{name} must be Directions(forward, backward), got a {type(value).__name__}"
        )
