"""JAX as strict as it gets, for tests and doctests alike."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import pytest

# modules of NNX as trees, read when flax is imported; tests/test_nn.py runs in both modes
os.environ.setdefault("NNX_GRAPH_MODE", "false")
os.environ.setdefault("NNX_GRAPH_UPDATES", "false")

# the time of an example says nothing about it: it may compile, and other tests share the cores
hypothesis.settings.register_profile("without deadlines", deadline=None)
hypothesis.settings.load_profile("without deadlines")

# of each program one module for LLVM, its loops straight in LLVM's language and not by way of MLIR
COMPILE_QUICKLY = (
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option for slow tests that spend their time in the compiler."""
    parser.addoption(
        "--compile-quickly",
        action="store_true",
        help="compile without most optimisations, as the quick tests do",
    )
    parser.addoption(
        "--one-in",
        type=int,
        default=1,
        metavar="N",
        help="run one in N of the tests of each file, for a second set of versions",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out all but one in N tests of a file; the first one always runs."""
    if config.option.one_in < 1:
        raise pytest.UsageError(f"--one-in must be at least 1, got {config.option.one_in}")
    counts: Counter[str] = Counter()
    chosen: list[pytest.Item] = []
    left: list[pytest.Item] = []
    for item in items:
        name = item.nodeid.partition("::")[0]
        (left if counts[name] % config.option.one_in else chosen).append(item)
        counts[name] += 1
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = chosen


def pytest_configure(config: pytest.Config) -> None:
    """Set JAX up before the first test makes an array."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_numpy_rank_promotion", "raise")
    jax.config.update("jax_num_cpu_devices", 2)
    # compiling is most of what the quick tests do; the slow ones run as users do unless told
    if config.option.markexpr == "not slow" or config.option.compile_quickly:
        jax.config.update("jax_disable_most_optimizations", True)
        os.environ["XLA_FLAGS"] = " ".join((os.environ.get("XLA_FLAGS", ""), *COMPILE_QUICKLY))
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"  # in the processes that tests start


MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def _keep_programs() -> Iterator[None]:
    """Keep the programs of a test file for the next ones, as long as there are few of them.

    A program maps several regions of memory, and a process can map 65,530. Objects that are kept
    are not searched for garbage again.
    """
    yield
    if not MAPS.exists() or MAPS.read_bytes().count(b"\n") > 3_000:
        gc.unfreeze()
        jax.clear_caches()
        gc.collect()
    gc.freeze()
