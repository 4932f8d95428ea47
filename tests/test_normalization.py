"""Layer normalisation against plain NumPy, and where there is nothing to normalise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.operations.normalization import layer_norm

RNG = np.random.default_rng(0)
XS, GAIN, SHIFT = (RNG.normal(size=shape) for shape in ((2, 3, 5), 5, 5))


def test_equals_numpy_with_the_variance_of_the_population():
    expected = GAIN * (XS - XS.mean(-1, keepdims=True)) / XS.std(-1, keepdims=True) + SHIFT
    actual = layer_norm(*map(jnp.asarray, (XS, GAIN, SHIFT)))
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


def test_features_that_are_all_alike_give_the_shift_and_a_finite_gradient():
    gain, shift = jnp.asarray(GAIN), jnp.asarray(SHIFT)
    value, pull_back = jax.vjp(lambda xs: layer_norm(xs, gain, shift), jnp.zeros(5))
    np.testing.assert_array_equal(value, shift)
    assert jnp.isfinite(pull_back(jnp.ones(5))[0]).all()


def test_bfloat16_gains_leave_the_dtype_of_the_features():
    gain, shift = (jnp.asarray(a, jnp.bfloat16) for a in (GAIN, SHIFT))
    ys = layer_norm(jnp.asarray(XS, jnp.float32), gain, shift)
    assert ys.dtype == jnp.float32
    np.testing.assert_allclose(ys, layer_norm(*map(jnp.asarray, (XS, GAIN, SHIFT))), atol=0.05)


@pytest.mark.parametrize("epsilon", [1e-12, 0.3])
def test_derivatives_are_those_of_the_formula(epsilon):
    def formula(xs, gain, shift):
        mean = xs.mean(-1, keepdims=True)
        variance = (xs**2).mean(-1, keepdims=True) - mean**2
        return (xs - mean) / jnp.sqrt(variance + epsilon) * gain + shift

    def ours(xs, gain, shift):
        return layer_norm(xs, gain, shift, epsilon)

    arguments = tuple(jnp.asarray(a) for a in (XS[0], GAIN[None], SHIFT[None]))
    row = arguments[0], GAIN, SHIFT
    weights = jnp.asarray(RNG.normal(size=XS[0].shape))

    def value(function):
        return lambda *arguments: (weights * function(*arguments)).sum()

    for derivative in (jax.jacrev, jax.jacfwd):
        found = derivative(ours)(*row)
        np.testing.assert_allclose(found, derivative(formula)(*arguments), rtol=1e-8, atol=1e-10)
    found, expected = (jax.hessian(value(f))(*a) for f, a in ((ours, row), (formula, arguments)))
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
