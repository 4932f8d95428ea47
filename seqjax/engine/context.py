"""Bind a context, such as the outputs of an encoder, to the parameters of a cell."""

import jax.numpy as jnp

from seqjax.arrays import as_params, given_array
from seqjax.engine.validation import check_cell, check_params, contexts
from seqjax.operations.masking import resolve_mask, zero_outside
from seqjax.types import Array, Cell, Params


def with_context(
    cell: Cell,
    params: Params,
    memory: Array,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
) -> Params:
    """Bind a context to the parameters of a cell that attends to one.

    The context is projected here, once. The result takes the place of ``params`` in
    `seqjax.unroll`, `seqjax.step` and the functions of `seqjax.decoding`, for inputs with the same
    batch axes as the memory. Call it inside of the loss function, so that gradients reach
    ``params`` and ``memory``. Bind a new context to the original parameters.

    Args:
      cell: a cell with one or more `seqjax.ContextAttention` inside, all of which get this context.
      params: the parameters of the cell, as `Cell.init` returns them.
      memory: floating ``[B, S, M]``, such as the outputs of an encoder, with any number of batch
        axes.
      lengths: ``int[B]`` in ``[0, S]``, the number of valid positions of each row; defaults to S.
      mask: ``bool[B, S]``, True at valid positions. Give ``lengths`` or ``mask``, not both.

    Values of the memory at other positions, even NaN, affect neither outputs nor gradients.

    Returns:
      Parameters that hold the context. Do not update them with an optimizer.

    Raises:
      ValueError: the arguments do not fit together, no cell inside attends to a context, or
        ``params`` hold one already.

    >>> import jax, seqjax
    >>> cell = seqjax.ContextAttention(seqjax.GRU(4), seqjax.attention.General(), memory_size=6)
    >>> params = cell.init(jax.random.key(0), input_size=3)
    >>> bound = with_context(cell, params, jnp.ones((2, 5, 6), jnp.float32))
    >>> state, y = seqjax.step(cell, bound, None, jnp.ones((2, 3), jnp.float32))
    >>> y.shape
    (2, 6)
    """
    check_cell(cell)
    params = as_params(params)
    check_params(cell, params)
    memory = jnp.asarray(given_array("memory", memory))
    if memory.ndim < 2 or not jnp.issubdtype(memory.dtype, jnp.floating):
        raise ValueError(
            f"memory must be floating [..., S, M], got {memory.dtype} of shape {memory.shape}"
        )
    if contexts(params):
        raise ValueError(
            "params hold a context already; bind a context to the parameters that init returned"
        )
    leading_shape = memory.shape[:-1]
    valid = resolve_mask(lengths, mask, leading_shape, len(leading_shape) - 1)
    if valid is None:
        valid = jnp.ones(leading_shape, bool)
    else:
        memory = zero_outside(valid, memory)
    bound = cell.with_context(params, memory, valid)
    if bound is None:
        raise ValueError(
            f"no cell inside {cell} attends to a context; wrap one in seqjax.ContextAttention"
        )
    return bound
