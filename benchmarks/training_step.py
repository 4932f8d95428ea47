"""Time of a training step with every method, compared with PyTorch, Flax and Keras.

::

    python -m benchmarks.training_step --help
    python -m benchmarks.training_step --allocator tuned             about 6 minutes on 2 cores

The model is an embedding of tokens, recurrent layers, a readout and the mean cross-entropy. A step
is its forward and backward pass and Adam. seqjax multiplies the embedding by the lowest kernel
before tokens select rows of the product (`seqjax.LanguageModel`). The rows called "apart" embed and
then multiply, as the other libraries do.

All measurements run in one process on the same cores with the same allocator. Each method runs once
per repetition, so that other load affects all methods alike, and in random order, since threads of
the previous method may still be waiting for work. Times are medians over repetitions, and ratios
are medians of the ratios within a repetition. Memory is what XLA allocates for intermediates;
PyTorch does not report it.
"""

import dataclasses
import functools
import importlib
import json
import math
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import linen

import seqjax
from seqjax.devices import data_mesh
from seqjax.engine.loop import Method
from seqjax.launch import SETTINGS, launch
from seqjax.operations.affine import affine
from seqjax.terminal import replace_what_cannot_be_shown
from seqjax.training import data_parallel_steps, init_train_state, train_step, train_steps

PRODUCT = 2048  # rows and columns of the matrices of a large product
LONGEST_STATIC = 8  # steps up to which the static program is measured, since it grows with T
MANY = 100  # training steps in one program
HINT = "run pip install '.[benchmarks]' to measure it"
LONG = 1000  # steps from which remat is measured too


class Size(NamedTuple):
    """The size of a training step.

    Attributes:
      layers: the number of recurrent layers.
      units: the number of units of each layer.
      batch: B, the number of rows.
      steps: T, the number of time steps.
    """

    layers: int
    units: int
    batch: int
    steps: int


SIZES = (
    Size(3, 100, 32, 200),
    Size(1, 128, 32, 200),
    Size(1, 320, 32, 64),
    Size(2, 512, 32, 100),
    Size(1, 4, 200, 5),
    Size(1, 1024, 64, 128),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure the time of a training step."""

    sizes: tuple[tuple[int, int, int, int], ...] = SIZES
    """Layers, units, batch and steps of each size."""
    vocabulary: int = 65
    """Size of the vocabulary: 65 for the characters of Shakespeare, 2 for the binary task."""
    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrent cell. The GRU resets after the product, as in PyTorch."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """The precision of products. bfloat16 uses autocast in PyTorch."""
    repetitions: int = 7
    """The number of repetitions of each method."""
    threads: int = 2
    """The number of cores."""
    allocator: Literal["default", "tuned"] = "default"
    """The allocator. tuned restarts the process with the settings of `seqjax.launch`."""
    json: Path | None = None
    """The file for the results."""


class Way(NamedTuple):
    """A method to take training steps, ready to run.

    Attributes:
      run: takes the steps, waits for them and returns the loss.
      compile_seconds: the compile time.
      temporary_bytes: the memory of intermediates.
      steps: the number of training steps of a call of ``run``.
    """

    run: Callable[[], float]
    compile_seconds: float | None = None
    temporary_bytes: int | None = None
    steps: int = 1


Loss = Callable[[Any, jax.Array, jax.Array], jax.Array]


def of_jax(
    loss: Loss,
    params: Any,
    batch: tuple[np.ndarray, np.ndarray],
    devices: int = 1,
    steps: int = 1,
) -> Way:
    """Training steps on a loss in JAX, in one program, with the batch split over ``devices``."""
    optimizer = optax.adam(1e-3)
    state = jax.jit(lambda params: init_train_state(params, optimizer, carry=None))(params)

    def loss_fn(params: Any, carry: None, batch: Any) -> tuple[jax.Array, None]:
        return loss(params, *batch), carry

    if max(devices, steps) > 1:
        tokens, targets = (np.broadcast_to(a, (steps, *a.shape)) for a in batch)
        batch = tokens, targets
    if devices > 1:
        return _split(data_parallel_steps(loss_fn, optimizer, data_mesh(devices)), state, batch)
    step = functools.partial(train_step if steps == 1 else train_steps, loss_fn, optimizer)
    began = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=0).lower(state, batch).compile()
    seconds = time.perf_counter() - began
    holder, placed = [state], jax.device_put(batch)

    def run() -> float:
        holder[0], value = compiled(holder[0], placed)
        return float(value.mean())

    memory: Any = compiled.memory_analysis()
    return Way(run, seconds, memory.temp_size_in_bytes, steps)


def _split(step: Any, state: Any, batch: Any) -> Way:
    """Training steps over several devices, which wait for their result themselves."""
    began = time.perf_counter()
    memory: Any = step.lower(state, batch).compile().memory_analysis()
    seconds = time.perf_counter() - began
    holder = [step(state, batch)[0]]

    def run() -> float:
        holder[0], value = step(holder[0], batch)
        return float(value.mean())

    return Way(run, seconds, memory.temp_size_in_bytes)


def on_gpu() -> bool:
    """Whether JAX, and so every other library, runs on a GPU."""
    return jax.default_backend() == "gpu"


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The mean cross-entropy over batch and time."""
    logits = logits.astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def ours(
    size: Size, config: Config, method: Method, remat: int | None = None, merged: bool = True
) -> tuple[Loss, Any]:
    """The model in seqjax as a loss and its parameters; ``merged`` as in the module docstring."""
    one = {"lstm": seqjax.LSTM(size.units), "gru": seqjax.GRU(size.units, reset_after=True)}
    cell = seqjax.Stack([one[config.cell]] * size.layers)
    model = seqjax.LanguageModel(cell, config.vocabulary, embedding_size=size.units)

    def loss(params: Any, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        params = jax.tree.map(lambda p: p.astype(config.precision), params)
        run = functools.partial(seqjax.unroll, method=method, remat=remat)
        if merged:
            _, logits = run(model, params, tokens)
        else:
            _, ys = run(cell, params.cell, affine(tokens, params.embedding_kernel))
            logits = affine(ys, params.readout_kernel, params.readout_bias)
        return cross_entropy(logits, targets)

    return loss, model.init(jax.random.key(0), config.vocabulary)


def of_flax(size: Size, config: Config) -> tuple[Loss, Any]:
    """The model in Flax as a loss and its parameters."""
    dtype = jnp.dtype(config.precision)
    cell = {"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell}[config.cell]
    layers = [linen.RNN(cell(size.units, dtype=dtype)) for _ in range(size.layers)]
    embedding = linen.Embed(config.vocabulary, size.units, dtype=dtype)
    model = linen.Sequential([embedding, *layers, linen.Dense(config.vocabulary, dtype=dtype)])
    params = model.init(jax.random.key(0), jnp.zeros((size.batch, size.steps), jnp.int32))

    def loss(params: Any, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        logits: Any = model.apply(params, tokens)
        return cross_entropy(logits, targets)

    return loss, params


def of_keras(keras: Any, size: Size, config: Config) -> tuple[Loss, Any]:
    """The model in Keras on JAX as a loss and its parameters."""
    policy = {"float32": "float32", "bfloat16": "mixed_bfloat16"}[config.precision]
    layer = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[config.cell]
    layers = [
        keras.layers.Embedding(config.vocabulary, size.units, dtype=policy),
        *(layer(size.units, return_sequences=True, dtype=policy) for _ in range(size.layers)),
        keras.layers.Dense(config.vocabulary, dtype=policy),
    ]
    model = keras.Sequential(layers)
    model.build((size.batch, size.steps))
    others = [variable.value for variable in model.non_trainable_variables]

    def loss(params: Any, tokens: jax.Array, targets: jax.Array) -> jax.Array:
        logits, _ = model.stateless_call(params, others, tokens)
        return cross_entropy(logits, targets)

    return loss, [variable.value for variable in model.trainable_variables]


def of_torch(torch: Any, size: Size, config: Config, batch: tuple[np.ndarray, np.ndarray]) -> Way:
    """The model in PyTorch on its default device, time-major like PyTorch's kernels."""
    device = torch.get_default_device()
    tokens, targets = (torch.from_numpy(a.T.astype(np.int64).copy()).to(device) for a in batch)
    embedding = torch.nn.Embedding(config.vocabulary, size.units)
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[config.cell]
    recurrent = layer(size.units, size.units, size.layers)
    readout = torch.nn.Linear(size.units, config.vocabulary)
    params = [p for module in (embedding, recurrent, readout) for p in module.parameters()]
    optimizer = torch.optim.Adam(params, lr=1e-3, fused=True)

    def run() -> float:
        optimizer.zero_grad()
        low = config.precision == "bfloat16"
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            logits = readout(recurrent(embedding(tokens))[0])
        loss = torch.nn.functional.cross_entropy(
            logits.float().reshape(-1, config.vocabulary), targets.reshape(-1)
        )
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return Way(run)


def large_products(torch: Any, config: Config) -> dict[str, Callable[[], object]]:
    """A large matrix product in JAX and in PyTorch, to measure the peak speed."""
    square = jnp.ones((PRODUCT, PRODUCT), config.precision)
    product = jax.jit(jnp.matmul)
    ways: dict[str, Callable[[], object]] = {
        "product, jax": lambda: jax.block_until_ready(product(square, square))
    }
    if torch is not None:
        matrix = torch.ones((PRODUCT, PRODUCT), dtype=getattr(torch, config.precision))
        ways["product, torch"] = lambda: float((matrix @ matrix)[0, 0])  # waits for a GPU
    return ways


def flops(size: Size, config: Config) -> float:
    """The floating-point operations of the products of a step, in forward and backward pass.

    The embedding is not merged. The backward pass has twice the operations of the forward pass.
    """
    layers, units, batch, steps = size
    gates = {"lstm": 4, "gru": 3}[config.cell]
    return 3 * 2 * batch * steps * units * (layers * 2 * gates * units + config.vocabulary)


def measure(torch: Any, keras: Any, size: Size, config: Config) -> list[dict[str, Any]]:
    """Time all methods at one size, in random order within each repetition."""
    order = random.Random(0)
    tokens = np.random.default_rng(0).integers(
        0, config.vocabulary, (2, size.batch, size.steps), dtype=np.int32
    )
    batch = tokens[0], tokens[1]
    methods: list[Method] = ["auto", "scan"]
    if size.steps <= LONGEST_STATIC:
        methods.append("static")
    ways = {f"seqjax {m}": of_jax(*ours(size, config, m), batch) for m in methods}
    if size.steps <= LONGEST_STATIC:
        ways[f"seqjax auto, {MANY} a call"] = of_jax(*ours(size, config, "auto"), batch, 1, MANY)
    if size.steps >= LONG:
        chunk = math.isqrt(size.steps)
        ways[f"seqjax auto, remat {chunk}"] = of_jax(*ours(size, config, "auto", chunk), batch)
    if on_gpu() and config.cell == "lstm" and config.precision == "float32":
        ways["seqjax cudnn"] = of_jax(*ours(size, config, "cudnn"), batch)
    devices = jax.device_count()
    if size.batch % devices == 0 and devices > 1:
        name = f"seqjax auto, {devices} devices"
        ways[name] = of_jax(*ours(size, config, "auto"), batch, devices)
        ways[f"{name}, apart"] = of_jax(*ours(size, config, "auto", merged=False), batch, devices)
    ways["flax"] = of_jax(*of_flax(size, config), batch)
    if keras is not None:
        ways["keras on jax"] = of_jax(*of_keras(keras, size, config), batch)
    if torch is not None:
        ways["torch"] = of_torch(torch, size, config, batch)
    runs: dict[str, Callable[[], object]] = {name: way.run for name, way in ways.items()}
    runs |= large_products(torch, config)
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(config.repetitions):
        for name in order.sample([*runs], len(runs)):
            began = time.perf_counter()
            runs[name]()
            steps = ways[name].steps if name in ways else 1
            times[name].append((time.perf_counter() - began) / steps)

    peak = 2 * PRODUCT**3 / min(min(times[name]) for name in runs if name not in ways) / 1e9

    def beside(name: str, peer: str) -> float | None:
        if peer not in times:
            return None
        return statistics.median(a / b for a, b in zip(times[name], times[peer], strict=True))

    return [
        {
            **size._asdict(),
            "way": name,
            "milliseconds": 1000 * statistics.median(times[name]),
            "fastest_milliseconds": 1000 * min(times[name]),
            "beside_torch": beside(name, "torch"),
            "beside_flax": beside(name, "flax"),
            "gflops": flops(size, config) / statistics.median(times[name]) / 1e9,
            "large_product_gflops": peak,
            "compile_seconds": way.compile_seconds,
            "temporary_mib": way.temporary_bytes and way.temporary_bytes / 2**20,
        }
        for name, way in ways.items()
    ]


def show(rows: list[dict[str, Any]]) -> None:
    """Print the results of one size."""
    first = rows[0]
    print(
        f"\n{first['layers']} x {first['units']} units, batch {first['batch']}, "
        f"{first['steps']} steps; a large product runs at {first['large_product_gflops']:.0f} "
        f"GFLOP/s\n{'':32}{'ms':>9}{'fastest':>9}{'x torch':>9}{'x flax':>9}{'GFLOP/s':>9}"
        f"{'compile s':>11}{'MiB':>8}"
    )
    widths = (9, 9, 9, 9, 9, 11, 8)
    names = (
        "milliseconds", "fastest_milliseconds", "beside_torch", "beside_flax", "gflops",
        "compile_seconds", "temporary_mib",
    )  # fmt: skip
    digits = (2, 2, 2, 2, 1, 1, 1)
    for row in rows:
        cells = [
            f"{row[n]:{w}.{d}f}" if row[n] is not None else f"{'-':>{w}}"
            for n, w, d in zip(names, widths, digits, strict=True)
        ]
        print(f"{row['way']:32}{''.join(cells)}", flush=True)


def main() -> None:
    """Measure all sizes."""
    replace_what_cannot_be_shown()
    config = tyro.cli(Config, description=__doc__)
    if config.allocator == "tuned" and not SETTINGS.keys() <= os.environ.keys():
        launch(sys.orig_argv[1:])
    if not hasattr(os, "sched_setaffinity"):
        sys.exit("error: --threads needs Linux, which can keep a process on so many cores")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: config.threads])
    jax.config.update("jax_num_cpu_devices", config.threads)
    os.environ["KERAS_BACKEND"] = "jax"
    try:
        keras: Any = importlib.import_module("keras")
    except ImportError as error:
        keras = None
        print(f"no keras: {error}; {HINT}", file=sys.stderr)
    try:
        torch: Any = importlib.import_module("torch")
        torch.set_num_threads(config.threads)
        if on_gpu():
            if not torch.cuda.is_available():
                raise RuntimeError("PyTorch sees no GPU")
            torch.set_default_device("cuda")
            torch.backends.cuda.matmul.allow_tf32 = True  # as JAX's products and cuDNN's LSTM are
    except (ImportError, RuntimeError) as error:
        torch = None
        print(f"no torch for this device: {error}; {HINT}", file=sys.stderr)
    print(
        f"{jax.devices()[0].device_kind}; "
        f"{config.cell}, {config.precision} products, {config.threads} threads, "
        f"{config.allocator} allocator, median of {config.repetitions}; "
        f"jax {jax.__version__}, torch {torch and torch.__version__}, "
        f"keras {keras and keras.__version__}"
    )
    results = []
    for size in config.sizes:
        rows = measure(torch, keras, Size(*size), config)
        show(rows)
        results.extend(rows)
    if config.json is not None:
        record = {"config": dataclasses.asdict(config), "results": results}
        config.json.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
