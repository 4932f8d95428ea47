"""Time to decode words with an attention decoder: greedily, with a beam, and in PyTorch.

::

    python -m benchmarks.decoding              prints medians of 9 interleaved repetitions
    python -m benchmarks.decoding --run RUN    of a trained model of experiments.pronunciation

The decoder is an LSTM with input feeding, which attends to a context of 10 positions (Luong's
general score and attention layer). Its weights are random, and no word ends before the last step,
so that all methods take the same number of steps. The PyTorch loop has the same weights and must
find the same tokens as `seqjax.decoding.decode`. It is measured if PyTorch is installed.

A trained model decodes test words, which end at different steps. Its encoder is not measured.
"""

import dataclasses
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from experiments.pronunciation.decoding import EXTRA, word_batches
from experiments.pronunciation.symbols import END
from experiments.pronunciation.trained import load
from seqjax import LSTM, ContextAttention, LanguageModel, with_context
from seqjax.attention import General
from seqjax.decoding import Beam, Decoded, beam_search, decode
from seqjax.terminal import replace_what_cannot_be_shown
from seqjax.types import Array, Cell, Params, State

START = 1
Way = Callable[[], Any]  # decodes all words and returns their tokens


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure decoding."""

    run: pathlib.Path | None = None
    """The folder of a run of experiments.pronunciation, whose model decodes random test words. The
    options of the model, the positions and the length are then those of the run."""
    units: int = 256
    """The number of units of the decoder, of its memory and of its embedding."""
    vocabulary: int = 40
    """The number of different tokens."""
    positions: int = 10
    """The number of positions of the context."""
    words: int = 64
    """The number of words in a batch."""
    length: int = 20
    """The number of tokens of each word."""
    widths: tuple[int, ...] = (1, 8)
    """The widths of the beams."""
    threshold: float = 4.0
    """The threshold of the widest beam, in nats, which is also measured without one."""
    repetitions: int = 9
    """The number of repetitions, whose median is printed."""


def make_model(config: Config) -> tuple[LanguageModel, Params]:
    """A decoder and its parameters, with which the end symbol is unlikely."""
    units = config.units
    model = LanguageModel(
        ContextAttention(
            LSTM(units), General(), memory_size=units, size=units, activation=jnp.tanh
        ),
        config.vocabulary,
        embedding_size=units,
    )
    params = model.init(jax.random.key(0), config.vocabulary)
    kernel = params.readout_kernel
    assert kernel is not None
    # random weights would give nearly equal logits, whose order rounding decides
    params = params._replace(
        readout_bias=params.readout_bias.at[END].set(-1000), readout_kernel=8 * kernel
    )
    return model, params


def pytorch(config: Config, params: Params, memory: Array) -> Way | None:
    """Decode greedily with a Python loop in PyTorch; None if it is not installed."""
    try:
        import torch
    except ImportError:
        return None

    def tensor(a: Array) -> Any:
        return torch.from_numpy(np.array(a))

    cell, units = params.cell, config.units
    lstm = torch.nn.LSTMCell(2 * units, units)
    embedding = torch.nn.Embedding(config.vocabulary, units)
    attention_layer = torch.nn.Linear(2 * units, units, bias=False)
    readout = torch.nn.Linear(units, config.vocabulary)
    with torch.no_grad():
        lstm.weight_ih.copy_(tensor(cell.cell.input_kernel.T))
        lstm.weight_hh.copy_(tensor(cell.cell.recurrent_kernel.T))
        lstm.bias_ih.copy_(tensor(cell.cell.bias))
        lstm.bias_hh.zero_()
        embedding.weight.copy_(tensor(params.embedding_kernel))
        attention_layer.weight.copy_(tensor(cell.attention_kernel.T))
        readout.weight.copy_(tensor(params.readout_kernel.T))
        readout.bias.copy_(tensor(params.readout_bias))
    values, memory_kernel = tensor(memory), tensor(cell.mechanism.memory_kernel[0])

    def way() -> Any:
        with torch.inference_mode():
            keys = (values @ memory_kernel).transpose(1, 2)
            token = torch.full((config.words,), START)
            h = c = attention = torch.zeros(config.words, units)
            finished = torch.zeros(config.words, dtype=torch.bool)
            tokens = []
            for _ in range(config.length):
                h, c = lstm(torch.cat([embedding(token), attention], 1), (h, c))
                weights = torch.bmm(h[:, None], keys).softmax(-1)
                found = torch.bmm(weights, values)[:, 0]
                attention = attention_layer(torch.cat([h, found], 1)).tanh()
                token = readout(attention).argmax(-1).masked_fill(finished, END)
                tokens.append(token)
                finished |= token == END
                if finished.all():
                    break
            return torch.stack(tokens, 1).numpy()

    return way


def make_ways(config: Config) -> dict[str, Way]:
    """All methods, by name; they must agree on the greedy tokens."""
    model, params = make_model(config)
    shape = config.words, config.positions, config.units
    memory = jax.random.normal(jax.random.key(1), shape, jnp.float32)
    start = jnp.full(config.words, START, jnp.int32)
    beams = [Beam(width) for width in config.widths]
    beams.append(dataclasses.replace(beams[-1], threshold=config.threshold))
    ways = decodings(model, with_context(model, params, memory), None, start, beams, config.length)
    loop = pytorch(config, params, memory)
    if loop is not None:
        ways["PyTorch loop, greedy"] = loop
        np.testing.assert_array_equal(loop(), ways["decode"]())
    return ways


def decodings(
    model: Cell, bound: Params, state: State | None, start: Array, beams: list[Beam], length: int
) -> dict[str, Way]:
    """Greedy decoding and beam searches, by name."""

    def as_way(decoding: Callable[[Params, State | None], Decoded]) -> Way:
        compiled = jax.jit(decoding)
        return lambda: np.asarray(compiled(bound, state).tokens)

    def greedy(bound: Params, state: State | None) -> Decoded:
        return decode(model, bound, start, end=END, max_length=length, state=state)

    def searching(beam: Beam) -> Way:
        def search(bound: Params, state: State | None) -> Decoded:
            return beam_search(model, bound, start, beam, end=END, max_length=length, state=state)

        return as_way(search)

    ways = {"decode": as_way(greedy)}
    for beam in beams:
        options = {"beam": beam.width, "n_best": beam.n_best, "threshold": beam.threshold}
        given = [f"{name} {value:g}" for name, value in options.items() if value is not None]
        ways[", ".join(given)] = searching(beam)
    return ways


def trained_ways(config: Config, run: pathlib.Path) -> dict[str, Way]:
    """All methods with a trained model, for random test words."""
    trained = load(run)
    test = sorted(trained.dictionary().test)
    chosen = np.random.default_rng(0).choice(len(test), config.words, replace=False)
    (batch,) = word_batches([test[n] for n in chosen], trained.letters, config.words)
    lengths = jnp.asarray(batch.counts)
    encoded = trained.model.encode(
        trained.params, jnp.asarray(batch.letters), lengths=lengths, deterministic=True
    )
    start = jnp.full(config.words, END, jnp.int32)
    beams = [Beam(width, n_best) for width in config.widths for n_best in (None, 1)]
    beams += [dataclasses.replace(beam, threshold=config.threshold) for beam in beams[-2:]]
    length = batch.letters.shape[1] + EXTRA
    decoder = trained.model.decoder
    return decodings(decoder, encoded.params, encoded.state, start, beams, length)


def main() -> None:
    """Measure all methods and print a table."""
    replace_what_cannot_be_shown()
    config = tyro.cli(Config)
    if config.run is None:
        ways = make_ways(config)
        title = (
            f"{config.words} words of {config.length} tokens, {config.units} units, "
            f"{config.positions} positions"
        )
    else:
        ways = trained_ways(config, config.run)
        title = f"{config.words} test words, the model of {config.run.name}"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(config.repetitions + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if repetition:  # the first one compiles
                seconds[name].append(time.perf_counter() - began)
    table = Table(title=f"{title}, on {jax.default_backend()}")
    for column in ("", "ms", "words/s", "relative time"):
        table.add_column(column, justify="left" if not column else "right")
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = medians["decode"]
    for name, median in medians.items():
        speed = f"{config.words / median:,.0f}"
        table.add_row(name, f"{1000 * median:.1f}", speed, f"{median / first:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
