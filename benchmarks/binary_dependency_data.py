"""Time to draw one million steps of the binary-dependency task, compared with NumPy and a loop.

The Python loop draws one step at a time, as the article does. All three draw the same task in the
same process, in turns.
"""

import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from seqjax.tasks import BinaryDependency
from seqjax.terminal import replace_what_cannot_be_shown

STEPS = 1_000_000
TASK = BinaryDependency()


def with_numpy(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw with NumPy arrays."""
    xs = rng.integers(0, 2, STEPS)
    ps = np.full(STEPS, TASK.base_rate)
    for lag, change in TASK.dependencies:
        ps += change * np.roll(xs, lag)
    return xs, (rng.random(STEPS) < ps).astype(int)


def with_a_loop(rng: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """Draw one step at a time."""
    xs = rng.integers(0, 2, STEPS)
    ys = []
    for t in range(STEPS):
        p = TASK.base_rate
        for lag, change in TASK.dependencies:
            if xs[t - lag]:
                p += change
        ys.append(int(rng.random() < p))
    return xs, ys


def main() -> None:
    """Print the median time of each, and its ratio to seqjax."""
    replace_what_cannot_be_shown()
    rng = np.random.default_rng(0)
    draw = jax.jit(TASK.sample, static_argnames="num_steps")
    ways: dict[str, Callable[[], object]] = {
        "seqjax": lambda: jax.block_until_ready(draw(jax.random.key(0), num_steps=STEPS)),
        "NumPy arrays": lambda: with_numpy(rng),
        "Python loop": lambda: with_a_loop(rng),
    }
    ways["seqjax"]()  # compiles
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(5):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - began)
    ours = statistics.median(seconds["seqjax"])
    print(f"{STEPS:,} steps, jax {jax.__version__} on {jax.devices()[0].device_kind}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:14}{1000 * median:9.1f} ms   {median / ours:6.1f} x")


if __name__ == "__main__":
    main()
