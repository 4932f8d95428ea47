"""The efficiency to expect of data-parallel training on many accelerators, by a formula."""

from typing import NamedTuple

from benchmarks.training_step import Size

VOCABULARY = 65
BYTES = 4  # of a parameter and of a gradient
COUNTS = (8, 64, 512)
ROWS = 1024  # of all accelerators, in strong scaling


class Accelerator(NamedTuple):
    """The speed of one accelerator.

    Attributes:
      products: operations per second of large products.
      memory: bytes per second that it reads.
      launch: seconds of one time step of a layer at least, for its small operations.
    """

    products: float = 50e12
    memory: float = 2e12
    launch: float = 10e-6


class Link(NamedTuple):
    """What connects each accelerator with the next one in the ring.

    Attributes:
      name: its name.
      bandwidth: bytes per second in one direction.
      latency: seconds of one message.
    """

    name: str
    bandwidth: float
    latency: float


MODELS = (Size(1, 320, 32, 64), Size(2, 512, 32, 100), Size(4, 2048, 64, 128))
LINKS = (
    Link("Ethernet, 10 Gbit/s", 1.25e9, 50e-6),
    Link("Ethernet, 100 Gbit/s", 12.5e9, 10e-6),
    Link("NVLink or ICI, 100 GB/s", 100e9, 2e-6),
)


def parameters(size: Size) -> int:
    """The parameters of an LSTM language model.

    >>> parameters(Size(2, 512, 32, 100))
    4265025
    """
    units = size.units
    return size.layers * 4 * units * (2 * units + 1) + VOCABULARY * (2 * units + 1)


def compute(size: Size, rows: int, accelerator: Accelerator) -> float:
    """Seconds of a training step on ``rows`` rows, without exchange.

    A time step of a layer multiplies ``[rows, H]`` by ``[H, 4H]`` in the forward loop, and by its
    transpose in the backward loop. Each waits for the products, for the kernel from memory, or for
    its small operations, whichever takes longest. All other products are of all time steps at once.

    >>> halves = [compute(Size(2, 512, 32, 100), rows, Accelerator()) for rows in (2048, 1024)]
    >>> round(halves[0] / halves[1], 1)
    2.0
    >>> halves = [compute(Size(2, 512, 32, 100), rows, Accelerator()) for rows in (4, 2)]
    >>> round(halves[0] / halves[1], 1)
    1.0
    """
    layers, units, _, steps = size
    kernel = 4 * units**2
    iteration = max(
        accelerator.launch,
        2 * rows * kernel / accelerator.products,
        BYTES * kernel / accelerator.memory,
    )
    at_once = 2 * rows * steps * (layers * 4 * kernel + 3 * units * VOCABULARY)
    return 2 * layers * steps * iteration + at_once / accelerator.products


def exchange(number_of_bytes: float, count: int, link: Link, arrays: int = 1) -> float:
    """Seconds of a ring all-reduce between ``count`` accelerators.

    Each sends and receives ``2 (N - 1) / N`` of the bytes, in ``2 (N - 1)`` messages one after
    another, for each of the arrays that are reduced one by one.

    >>> exchange(1e9, 2, Link("", 1e9, 0.0))
    1.0
    """
    rounds = 2 * (count - 1)
    return rounds / count * number_of_bytes / link.bandwidth + arrays * rounds * link.latency


def weak_efficiency(size: Size, count: int, link: Link, accelerator: Accelerator) -> float:
    """The share of the time that is no exchange, with ``size.batch`` rows on each accelerator."""
    alone = compute(size, size.batch, accelerator)
    return alone / (alone + exchange(BYTES * parameters(size), count, link))


def strong_efficiency(size: Size, count: int, link: Link, accelerator: Accelerator) -> float:
    """The speed with ``ROWS`` rows on all accelerators, over ``count`` times that of one."""
    together = compute(size, ROWS // count, accelerator)
    together += exchange(BYTES * parameters(size), count, link)
    return compute(size, ROWS, accelerator) / (count * together)


def table() -> str:
    """The plan in Markdown."""
    accelerator = Accelerator()
    numbers = [f"{what} {n}" for what in ("exchange, ms:", "weak:", "strong:") for n in COUNTS]
    lines = [
        f"| model | link | step alone, ms | {' | '.join(numbers)} |",
        "|---|---|---:|" + "---:|" * len(numbers),
    ]
    for size in MODELS:
        name = f"{size.layers} x {size.units}, {size.batch} rows, {size.steps} steps"
        alone = f"{1e3 * compute(size, size.batch, accelerator):.1f}"
        for link in LINKS:
            of_model = BYTES * parameters(size)
            cells = [f"{1e3 * exchange(of_model, n, link):.1f}" for n in COUNTS]
            for efficiency in (weak_efficiency, strong_efficiency):
                cells += [percent(efficiency(size, n, link, accelerator)) for n in COUNTS]
            lines.append(f"| {name} | {link.name} | {alone} | {' | '.join(cells)} |")
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share in percent.

    >>> percent(0.123), percent(0.001)
    ('12%', '<1%')
    """
    return f"{share:.0%}" if share >= 0.01 else "<1%"
