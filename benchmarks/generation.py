"""Characters per second of generation: the loop in one program, a Python loop, and PyTorch.

::

    python -m benchmarks.generation              prints medians of 5 interleaved repetitions

The model is an LSTM over 65 characters with random weights, since speed does not depend on them.
All methods sample at temperature 1. PyTorch is measured if it is installed.
"""

import dataclasses
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from seqjax import LSTM, Cell, LanguageModel, Stack
from seqjax.sampling import Sampling, draw, generate, prime
from seqjax.terminal import replace_what_cannot_be_shown
from seqjax.types import Array, Params, State

V = 65
Way = Callable[[int, int], None]  # (streams, length): draws that many characters


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure generation."""

    units: int = 320
    """The number of units of each layer."""
    layers: int = 1
    """The number of layers."""
    length: int = 500
    """The number of characters per stream."""
    streams: tuple[int, ...] = (1, 64)
    """The number of streams at once."""
    repetitions: int = 5
    """The number of repetitions, whose median is printed."""


def in_one_program(model: Cell, params: Params) -> Way:
    """Generate with `seqjax.sampling.generate`."""

    def way(streams: int, length: int) -> None:
        start = prime(model, params, jnp.zeros((streams, 1), jnp.int32))
        _, tokens = generate(model, params, start, jax.random.key(0), length, Sampling())
        tokens.block_until_ready()

    return way


def python_loop(model: Cell, params: Params) -> Way:
    """Generate with a Python loop over one compiled step."""

    @jax.jit
    def step(state: State, token: Array, key: Array) -> tuple[State, Array]:
        state, logits = model.step(params, state, model.project(params, token))
        return state, draw(key, logits, Sampling())

    def way(streams: int, length: int) -> None:
        state, token = model.initial_state((streams,)), jnp.zeros(streams, jnp.int32)
        for key in jax.random.split(jax.random.key(0), length):
            state, token = step(state, token, key)
        token.block_until_ready()

    return way


def pytorch(config: Config) -> Way | None:
    """Generate with a Python loop over PyTorch's ``nn.LSTM``; None if it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    embedding = torch.nn.Embedding(V, V)
    lstm = torch.nn.LSTM(V, config.units, config.layers, batch_first=True)
    readout = torch.nn.Linear(config.units, V)

    def way(streams: int, length: int) -> None:
        with torch.inference_mode():
            token, state = torch.zeros(streams, 1, dtype=torch.long), None
            for _ in range(length):
                hs, state = lstm(embedding(token), state)
                token = torch.multinomial(readout(hs[:, 0]).softmax(-1), 1)

    return way


def main() -> None:
    """Measure all methods and print a table."""
    replace_what_cannot_be_shown()
    config = tyro.cli(Config)
    model = LanguageModel(Stack([LSTM(config.units) for _ in range(config.layers)]), V)
    params = model.init(jax.random.key(0), V)
    ways = {
        "seqjax.sampling.generate": in_one_program(model, params),
        "Python loop, jitted step": python_loop(model, params),
        "PyTorch loop": pytorch(config),
    }
    table = Table(
        title=f"{config.layers} x {config.units} units, {config.length} characters a stream"
    )
    for column in ("streams", "", "chars/s", "relative speed"):
        table.add_column(column, justify="left" if not column else "right")
    for streams in config.streams:
        seconds: dict[str, list[float]] = {name: [] for name, way in ways.items() if way}
        for repetition in range(config.repetitions + 1):
            for name, times in seconds.items():
                way = ways[name]
                assert way is not None
                began = time.perf_counter()
                way(streams, config.length)
                if repetition:  # the first one compiles
                    times.append(time.perf_counter() - began)
        medians = {name: statistics.median(times) for name, times in seconds.items()}
        first = next(iter(medians.values()))
        for name, median in medians.items():
            speed = streams * config.length / median
            table.add_row(str(streams), name, f"{speed:,.0f}", f"{first / median:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
