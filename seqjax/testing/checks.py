"""The checks that every cell passes, one function each."""

import copy
import functools
import pickle
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.engine.loop import Method
from seqjax.engine.step import step
from seqjax.engine.unroll import unroll
from seqjax.operations.masking import lengths_to_mask
from seqjax.testing.example import HOLES, LENGTHS, B, Example, T, bind
from seqjax.testing.trees import at, cast, close, energy, pad, randomise, split_floats
from seqjax.types import Array, Context, LinearCell, Params, PyTree, Role, State


def is_plain_value(example: Example) -> None:
    """Copies and pickles of the cell equal it and have the same hash."""
    cell = example.cell
    for twin in (copy.copy(cell), copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert twin == cell, f"{twin} != {cell}"
        assert hash(twin) == hash(cell)


def shapes_agree(example: Example) -> None:
    """The shapes and roles are as declared."""
    cell, params, state, xs = example[:4]
    final, ys = jax.eval_shape(
        lambda: unroll(cell, params, xs, initial_state=state, deterministic=True)
    )
    for y in jax.tree.leaves(ys):
        assert y.shape[:2] == (B, T), f"an output has shape {y.shape[1:]}, without the batch axis"
    size = cell.output_size if isinstance(cell.output_size, tuple) else (cell.output_size,)
    found = jax.tree.leaves(ys)[0].shape[2:]
    assert found == size, f"the output has size {found}, but output_size is {cell.output_size}"
    shapes, expected = (jax.tree.map(jnp.shape, s) for s in (final, state))
    assert shapes == expected, f"step returns a state of {shapes}, but initial_state of {expected}"
    roles, leaves = jax.tree.leaves(cell.roles), len(jax.tree.leaves(state))
    assert len(roles) == leaves, f"roles has {len(roles)} entries for a state of {leaves} arrays"
    assert all(isinstance(role, Role) for role in roles), f"roles must hold Role, got {roles}"
    if cell.outputs_hidden:
        assert roles.count(Role.HIDDEN) == 1, f"outputs_hidden needs one HIDDEN role, got {roles}"
    found = cell.input_size(params)
    assert found == example.input_size, f"input_size is {found}, expected {example.input_size}"


def ways_to_run_agree(example: Example) -> None:
    """All methods, `jax.vmap` and ``time_major`` give the same values."""
    cell, params, state, xs = example[:4]
    run = functools.partial(unroll, cell, params, deterministic=True)
    whole = functools.partial(run, xs, lengths=LENGTHS, initial_state=state)
    final, ys = whole(method="scan")
    for y in jax.tree.leaves(ys):
        assert y[0].any()
        assert not y[1, 2:].any()
        assert not y[2].any()
    close(at(final, 2), at(state, 2), 0)
    if cell.outputs_hidden:
        hidden = jax.tree.leaves(cell.roles).index(Role.HIDDEN)
        h, y = jax.tree.leaves(final)[hidden][0], ys[0, -1]
        assert (h == y).all(), f"outputs_hidden is true, but the output {y} is not the state {h}"
    close(whole(method="auto"), (final, ys))
    close(whole(method="static"), (final, ys))
    if isinstance(cell, LinearCell):
        close(whole(method="associative"), (final, ys), 1e-10)

    def one_row(params: Params, x: PyTree, n: Array, s: State) -> tuple[State, PyTree]:
        return unroll(cell, params, x, lengths=n, initial_state=s, deterministic=True)

    # a context has one entry for each row, other parameters are shared
    by_row = jax.tree.map(
        lambda part: 0 if isinstance(part, Context) else None,
        params,
        is_leaf=lambda part: isinstance(part, Context),
    )
    mapped = jax.vmap(one_row, (by_row, 0, 0, 0))(params, xs, jnp.asarray(LENGTHS), state)
    close(mapped, (final, ys))
    swap = functools.partial(jax.tree.map, lambda a: jnp.swapaxes(a, 0, 1))
    major = run(swap(xs), lengths=LENGTHS, initial_state=state, time_major=True)
    close((major[0], swap(major[1])), (final, ys))


def stepping_agrees(example: Example) -> None:
    """`seqjax.step` gives the values of `seqjax.unroll`, and ``start`` resets the given rows."""
    cell, params, state, xs = example[:4]
    if not cell.can_step:
        return
    final, ys = unroll(cell, params, xs, initial_state=state, deterministic=True)
    run = jax.jit(lambda state, x: step(cell, params, state, x, deterministic=True))
    stepped, outputs = state, []
    for t in range(T):
        stepped, y = run(stepped, at(xs, np.s_[:, t]))
        outputs.append(y)
    close((stepped, jax.tree.map(lambda *y: jnp.stack(y, 1), *outputs)), (final, ys))
    x = at(xs, np.s_[:, 0])
    start = jnp.array([True, False, True])
    restarted, _ = step(cell, params, state, x, start=start, deterministic=True)
    fresh, _ = step(cell, params, None, x, deterministic=True)
    kept, _ = step(cell, params, state, x, deterministic=True)
    close(at(restarted, start), at(fresh, start))
    close(at(restarted, ~start), at(kept, ~start))


def splitting_changes_nothing(example: Example) -> None:
    """Splitting a sequence or ``remat`` changes nothing; ``reverse`` equals flipping the inputs."""
    cell, params, state, xs = example[:4]
    run = functools.partial(unroll, cell, params, deterministic=True)
    final, ys = run(xs, initial_state=state)
    flip = functools.partial(jax.tree.map, lambda a: jnp.flip(a, 1))
    if cell.can_step:
        middle, first = run(at(xs, np.s_[:, :2]), initial_state=state)
        last, second = run(at(xs, np.s_[:, 2:]), initial_state=middle)
        joined = jax.tree.map(lambda a, b: jnp.concatenate([a, b], 1), first, second)
        close((last, joined), (final, ys))
    again = run(xs, initial_state=state, remat=3)
    close(again, (final, ys))
    mirrored = run(flip(xs), initial_state=state, reverse=True)
    close((mirrored[0], flip(mirrored[1])), (final, ys))


def padding_is_inert(example: Example) -> None:
    """NaN and inf in the padding affect neither outputs nor gradients."""
    cell, params, state, xs = example[:4]
    padding = ~np.asarray(lengths_to_mask(jnp.asarray(LENGTHS), T))

    @jax.jit
    @functools.partial(jax.grad, argnums=(0, 1, 2), has_aux=True, allow_int=True)
    def grads(params: Params, state: State, xs: PyTree) -> tuple[Array, PyTree]:
        out = unroll(cell, params, xs, lengths=LENGTHS, initial_state=state, deterministic=True)
        return energy(out), out

    clean = grads(params, state, pad(xs, padding, 0.0))
    for leaf in jax.tree.leaves(clean):
        assert leaf.dtype == jax.dtypes.float0 or jnp.isfinite(leaf).all()
    for value in (jnp.nan, jnp.inf):
        bad = grads(params, state, pad(xs, padding, value))
        for a, b in zip(jax.tree.leaves(bad), jax.tree.leaves(clean), strict=True):
            if a.dtype != jax.dtypes.float0:
                np.testing.assert_array_equal(a, b)
    for a in jax.tree.leaves(clean[0][2]):
        if a.dtype != jax.dtypes.float0:
            assert not np.asarray(a)[padding].any()
            assert np.asarray(a)[0].any()


def derivatives_agree(example: Example) -> None:
    """Derivatives in forward and reverse mode equal those of `jax.lax.scan`."""

    def of_scan(value: Value, floats: list[Array], d: list[Array]) -> tuple[PyTree, Array]:
        reverse = jax.grad(value)(floats)
        return reverse, sum((g * d).sum().real for g, d in zip(reverse, d, strict=True))

    def of_auto(value: Value, floats: list[Array], d: list[Array]) -> dict[str, PyTree]:
        _, linear = jax.linearize(value, floats)
        several = jax.tree.map(lambda d: jnp.stack([d, -2 * d]), d)
        return {
            "reverse": jax.grad(value)(floats),
            "forward": jax.jvp(value, (floats,), (d,))[1],
            "linearize": linear(d),
            "vmap of forward": jax.vmap(lambda d: jax.jvp(value, (floats,), (d,))[1])(several),
            "checkpoint": jax.grad(jax.checkpoint(value))(floats),
        }

    # compiling is most of the work: the other derivatives of scan follow from its gradient
    gradient, slope = _derivatives(example, "scan", of_scan)
    expected = {
        "reverse": gradient,
        "forward": slope,
        "linearize": slope,
        "vmap of forward": jnp.stack([slope, -2 * slope]),
        "checkpoint": gradient,
    }
    found = _derivatives(example, "auto", of_auto)
    for name in expected:
        close(found[name], expected[name], 1e-10)


def second_derivatives_agree(example: Example) -> None:
    """Hessian-vector products, in both orders of the modes, equal that of `jax.lax.scan`."""

    def of_scan(value: Value, floats: list[Array], d: list[Array]) -> PyTree:
        return jax.jvp(jax.grad(value), (floats,), (d,))[1]

    def of_auto(value: Value, floats: list[Array], d: list[Array]) -> dict[str, PyTree]:
        def forward(floats: list[Array]) -> Array:
            return jax.jvp(value, (floats,), (d,))[1]

        return {
            "forward over reverse": jax.jvp(jax.grad(value), (floats,), (d,))[1],
            "reverse over forward": jax.grad(forward)(floats),
        }

    expected = _derivatives(example, "scan", of_scan)
    for found in _derivatives(example, "auto", of_auto).values():
        close(found, expected, 1e-10)


Value = Callable[[list[Array]], Array]


def _derivatives(
    example: Example, method: Method, derivatives: Callable[[Value, list[Array], list[Array]], Any]
) -> Any:
    """``derivatives(value, arrays, directions)`` of a masked run in reverse."""
    cell, params, state, xs = example[:4]
    floats, restore = split_floats((params, state, pad(xs, ~HOLES, jnp.nan)))
    directions = randomise(jax.tree.map(jnp.zeros_like, floats), 5)

    def value(floats: list[Array]) -> Array:
        params, state, xs = restore(floats)
        options = {"mask": HOLES, "initial_state": state, "deterministic": True}
        return energy(unroll(cell, params, xs, reverse=True, method=method, **options))

    return jax.jit(functools.partial(derivatives, value))(floats, directions)


def noise_follows_the_key(example: Example) -> None:
    """Equal keys give equal noise, different keys different noise, and evaluation mode no noise."""
    cell, params, state, xs, input_size = example[:5]
    noise = cell.draw_noise(jax.random.key(5), (T, B), input_size)
    for leaf in jax.tree.leaves(noise):
        assert leaf.shape[:2] == (T, B)
    assert cell.is_noisy == bool(jax.tree.leaves(noise)), "is_noisy does not match draw_noise"
    if not cell.is_noisy:
        return
    run = functools.partial(unroll, cell, params, xs, initial_state=state)
    runs = [run(deterministic=True), *(run(key=jax.random.key(n)) for n in (5, 5, 6))]
    silent, loud, again, other = (
        np.concatenate([np.ravel(a) for a in jax.tree.leaves(out)]) for out in runs
    )
    np.testing.assert_array_equal(loud, again)
    assert (loud != other).any()
    assert (loud != silent).any()


def low_precision_keeps_the_state(example: Example) -> None:
    """With bfloat16 parameters the state is float32, and the values are close to float32."""
    cell, input_size, draw = example.cell, example.input_size, example.draw_inputs
    params = cell.init(jax.random.key(0), input_size, jnp.float32)
    floating = {a.dtype for a in jax.tree.leaves(params) if jnp.issubdtype(a.dtype, jnp.floating)}
    assert floating <= {jnp.dtype("float32")}, "init must return params of its dtype"
    xs = cast(draw(jax.random.key(3), (B, T)), jnp.float32)

    def run(params: Params) -> tuple[State, PyTree]:
        bound = bind(cell, params, example.memory_size, jnp.float32)
        return unroll(cell, bound, xs, deterministic=True)

    exact, low = run(params), run(cast(params, jnp.bfloat16))
    assert [a.dtype for a in jax.tree.leaves(low)] == [a.dtype for a in jax.tree.leaves(exact)]
    close(low, exact, 0.06)


CHECKS = (
    is_plain_value,
    shapes_agree,
    ways_to_run_agree,
    stepping_agrees,
    splitting_changes_nothing,
    padding_is_inert,
    derivatives_agree,
    second_derivatives_agree,
    noise_follows_the_key,
    low_precision_keeps_the_state,
)
