"""JAX as strict as it gets, for tests and doctests alike."""

import jax
import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Set JAX up before the first test makes an array."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_num_cpu_devices", 2)
    # compiling is most of what the quick tests do; the slow ones run as users do
    jax.config.update("jax_disable_most_optimizations", config.option.markexpr == "not slow")
