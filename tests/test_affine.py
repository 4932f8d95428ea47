"""The one product, wherever its rows lie, against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from seqjax.operations.affine import affine

T, B, D, N = 5, 4, 3, 6
ROWS = PartitionSpec(None, "data", None)


def factors(dtype=jnp.float64):
    keys = jax.random.split(jax.random.key(0), 4)
    shapes = (T, B, D), (D, N), (N,), (T, B, N)
    return [jax.random.normal(k, s, dtype) for k, s in zip(keys, shapes, strict=True)]


def loss(xs, kernel, bias, weights):
    return (affine(xs, kernel, bias) * weights).sum()


def mesh(devices, kind):
    return jax.make_mesh((devices,), ("data",), axis_types=(kind,), devices=jax.devices()[:devices])


def on_shards(devices, xs, kernel, bias, weights):
    """Value and gradients where each device has its own rows."""

    def part(xs, kernel, bias, weights):
        own = [jax.lax.pcast(p, "data", to="varying") for p in (kernel, bias)]
        value, (d_xs, *d_own) = jax.value_and_grad(loss, (0, 1, 2))(xs, *own, weights)
        value, d_own = jax.lax.psum((value, d_own), "data")
        return value, (d_xs, *d_own)

    whole = PartitionSpec()
    specs = (ROWS, whole, whole, ROWS)
    mapped = jax.shard_map(
        part,
        mesh=mesh(devices, AxisType.Auto),
        in_specs=specs,
        out_specs=(whole, (ROWS, whole, whole)),
    )
    return jax.jit(mapped)(xs, kernel, bias, weights)


def on_explicit_mesh(xs, kernel, bias, weights):
    with jax.set_mesh(mesh(2, AxisType.Explicit)):
        layout = NamedSharding(jax.sharding.get_mesh(), ROWS)
        xs, weights = jax.device_put((xs, weights), layout)
        value, grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(xs, kernel, bias, weights)
        assert grads[0].sharding == layout
        return jax.device_get((value, grads))


WAYS = {
    "as it is": jax.jit(jax.value_and_grad(loss, (0, 1, 2))),
    "one shard": functools.partial(on_shards, 1),
    "two shards": functools.partial(on_shards, 2),
    "explicit mesh": on_explicit_mesh,
    "a row at a time": jax.value_and_grad(
        lambda x, k, b, w: jax.vmap(loss, (0, None, None, 0))(x, k, b, w).sum(), (0, 1, 2)
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_values_and_gradients(way):
    xs, kernel, bias, weights = map(np.asarray, factors())
    expected = (
        ((np.einsum("tbd,dn->tbn", xs, kernel) + bias) * weights).sum(),
        (
            np.einsum("tbn,dn->tbd", weights, kernel),
            np.einsum("tbd,tbn->dn", xs, weights),
            weights.sum((0, 1)),
        ),
    )
    ours = WAYS[way](*factors())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-12, 1e-12), ours, expected)


def test_within_a_shard_the_gradient_of_the_kernel_copies_no_factor():
    program = jax.jit(functools.partial(on_shards, 2)).lower(*factors(jnp.float32)).compile()
    copies = [line for line in program.as_text().splitlines() if " copy(" in line]
    large = (f"[{N},{T},{B // 2}]", f"[{D},{T},{B // 2}]")
    assert not [line for line in copies if any(shape in line for shape in large)]


def products(jaxpr):
    """All products in it, and in what it calls."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


@pytest.mark.parametrize("devices", [1, 2])
def test_16_bit_factors_stay_16_bit_in_the_gradients(devices):
    wide = factors(jnp.float32)
    xs, kernel, bias, weights = [a.astype(jnp.bfloat16) for a in wide[:3]] + wide[3:]
    for equation in products(
        jax.make_jaxpr(functools.partial(on_shards, devices))(xs, kernel, bias, weights).jaxpr
    ):
        assert [v.aval.dtype.name for v in equation.invars] == ["bfloat16"] * 2
    low = on_shards(devices, xs, kernel, bias, weights)
    exact = WAYS["as it is"](*(a.astype(jnp.float32) for a in (xs, kernel, bias, weights)))
    np.testing.assert_allclose(low[0], exact[0], rtol=1e-6)  # sums of exact products
    for a, b in zip(low[1], exact[1], strict=True):
        assert a.dtype == jnp.bfloat16
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.02 * abs(b).max())


def test_16_bit_factors_on_an_explicit_mesh():
    wide = factors(jnp.float32)
    low = [a.astype(jnp.bfloat16) for a in wide[:3]] + wide[3:]
    there, here = on_explicit_mesh(*low), WAYS["as it is"](*low)
    for a, b in zip(jax.tree.leaves(there), jax.tree.leaves(here), strict=True):
        assert a.dtype == b.dtype
        wanted = np.asarray(b, np.float32)
        np.testing.assert_allclose(np.asarray(a, np.float32), wanted, atol=0.02 * abs(wanted).max())


def test_long_sums_of_16_bit_factors_are_rounded_once():
    rows = jax.random.normal(jax.random.key(0), (4096, 4), jnp.float32).astype(jnp.bfloat16)
    kernel = jnp.ones((4, 3), jnp.bfloat16)
    weights = jax.random.normal(jax.random.key(1), (4096, 3), jnp.float32)
    weights = weights.astype(jnp.bfloat16).astype(jnp.float32)
    grad = jax.grad(lambda kernel: (affine(rows, kernel) * weights).sum())(kernel)
    exact = rows.astype(jnp.float32).T @ weights
    np.testing.assert_allclose(grad.astype(jnp.float32), exact, rtol=2**-8, atol=1e-3)


def test_a_bias_of_another_width_is_a_value_error():
    with pytest.raises(ValueError, match=r"bias must have shape \(4,\).*got \(1,\)"):
        affine(jnp.ones(3), jnp.ones((3, 4)), jnp.ones(1))
