"""Holds a cell to a plain NumPy step written from its paper, in value and gradient."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from seqjax import unroll
from tests import oracle

B, T = 2, 4


def differences(function, arrays, step=1e-6):
    """The gradient of a real function of a list of real or complex arrays, by differences."""
    grads = []
    for n, array in enumerate(arrays):
        grad = np.zeros(array.shape, array.dtype)
        for index in np.ndindex(array.shape):
            for direction in (1, -1j)[: 1 + np.iscomplexobj(array)]:

                def moved(sign, n=n, index=index, direction=direction):
                    copies = [np.array(a) for a in arrays]
                    copies[n][index] += sign * step * np.conj(direction)
                    return function(copies)

                grad[index] += direction * (moved(1) - moved(-1)) / (2 * step)
        grads.append(grad)
    return grads


def draw(tree, seed):
    """Every array anew, float64 or complex128."""
    rng = np.random.default_rng(seed)

    def one(a):
        drawn = rng.normal(0, 0.7, a.shape)
        return drawn + 1j * rng.normal(0, 0.7, a.shape) if jnp.iscomplexobj(a) else drawn

    return jax.tree.map(one, tree)


def check(cell, step, input_size=3, *, state=None, analytic=True, tolerance=1e-11):
    """Compare `unroll` with `oracle.unroll` over ``step(params, state, x) -> (leaves, y)``.

    ``params`` and ``state`` come to ``step`` in the cell's own named tuples, for one row. Gradients
    are complex-step derivatives, or differences where the step is not analytic.
    """
    params = cell.init(jax.random.key(0), input_size, jnp.float64)
    initial = cell.initial_state((B,), jnp.float64)
    params = draw(params, 0)
    state = draw(initial, 1) if state is None else state(draw(initial, 1))
    args = params, state, draw(np.zeros((B, T, input_size)), 2)
    out = jax.eval_shape(lambda args: unroll(cell, args[0], args[2], initial_state=args[1]), args)
    cots = draw(out, 3)
    leaves, structure = jax.tree.flatten(args)
    row_structure = jax.tree.structure(state)

    def plain_step(params, state, x):
        return step(params, jax.tree.unflatten(row_structure, state), x)

    def plain(leaves):
        params, state, xs = jax.tree.unflatten(structure, leaves)
        rows = []
        for row in range(B):
            start = [leaf[row] for leaf in jax.tree.leaves(state)]
            states, ys = oracle.unroll(
                [plain_step], [params], [start], xs[row], np.ones(T, bool), False
            )
            rows.append([*itertools.chain(*states), ys])
        return [np.stack(column) for column in zip(*rows, strict=True)]

    def plain_loss(leaves):
        pairs = zip(jax.tree.leaves(cots), plain(leaves), strict=True)
        total = sum((cot * leaf).sum() for cot, leaf in pairs)
        return total if analytic else total.real

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def grads_and_run(args):
        out = unroll(cell, args[0], args[2], initial_state=args[1])
        products = jax.tree.map(lambda c, o: (c * o).sum().real, cots, out)
        return sum(jax.tree.leaves(products)), out

    grads, out = grads_and_run(jax.tree.map(jnp.asarray, args))
    for actual, expected in zip(jax.tree.leaves(out), plain(leaves), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)
    expected = (oracle.complex_step if analytic else differences)(plain_loss, leaves)
    tolerance = tolerance if analytic else 1e-6
    for actual, wanted in zip(jax.tree.leaves(grads), expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance)
