"""Work split over devices gives the numbers of one device."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.devices import split_leading_axis


def test_an_axis_splits_where_it_divides():
    assert jax.device_count() == 2
    whole = jnp.arange(12.0).reshape(4, 3)
    split = split_leading_axis({"a": whole})["a"]
    assert len(split.sharding.device_set) == 2
    assert split.addressable_shards[0].data.shape == (2, 3)
    result = jax.jit(jax.vmap(jnp.cumsum))(split)
    assert len(result.sharding.device_set) == 2
    np.testing.assert_array_equal(result, jnp.cumsum(whole, 1))
    odd = split_leading_axis(whole[:3])
    assert len(odd.sharding.device_set) == 1
