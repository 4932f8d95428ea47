# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Cells and wrappers
#
# A cell says what one step does. Everything else, the loop, lengths, depth, dropout, training,
# knows nothing of its equations, so that any cell goes in any place. This notebook looks at the
# contract, builds the article's network out of cells around cells, and compares what there is.

# %%
import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import benchmarks
import seqjax
from benchmarks.cells import ENTRIES, parameter_count

# %% [markdown]
# ## The contract
#
# A cell is a small frozen dataclass of sizes and options. Its parameters and state are plain
# trees of arrays that go in and come out. The work is in two parts: `project` does all that needs
# no state, for all steps at once, and `step` the rest. `unroll` is this loop:

# %%
cell = seqjax.LSTM(units=4)
params = cell.init(jax.random.key(0), input_size=3)
xs = jax.random.normal(jax.random.key(1), (6, 3))  # [T, D], any batch axes in front

zs = cell.project(params, xs)
state, outputs = cell.initial_state(), []
for t in range(6):
    state, y = cell.step(params, state, jax.tree.map(lambda z: z[t], zs))  # noqa: B023
    outputs.append(y)

final, ys = seqjax.unroll(cell, params, xs)
print("the same as unroll:", bool(jnp.allclose(ys, jnp.stack(outputs), atol=1e-6)))
print("parameters", {name: a.shape for name, a in params._asdict().items() if hasattr(a, "shape")})
print("state     ", {name: a.shape for name, a in final._asdict().items()})

# %% [markdown]
# ## Cells around cells
#
# The article's network is an LSTM in a dropout wrapper, four times in a stack. A wrapper is a cell
# too, so they nest in any order. Here it is, with some others on the same input. Nothing needs to
# be computed to know the shapes.

# %%
NETWORKS = {
    "the article's": seqjax.Stack([seqjax.Dropout(seqjax.LSTM(64), output_rate=0.5)] * 4),
    "residual layers": seqjax.Stack([seqjax.GRU(64), seqjax.Residual(seqjax.GRU(64))]),
    "attention over 10 outputs": seqjax.AttentionCell(seqjax.GRU(64), length=10),
    "narrow output": seqjax.LSTM(64, peepholes=True, projection_size=32),
    "readout of 5 classes": seqjax.OutputProjection(seqjax.Zoneout(seqjax.GRU(64), 0.1), size=5),
}
inputs = jax.ShapeDtypeStruct((32, 20, 8), jnp.float32)
print(f"{'':26}{'outputs':14}{'parameters':>10}  numbers in the state of a row")
for name, network in NETWORKS.items():

    def run(xs, network=network):
        params = network.init(jax.random.key(0), input_size=8)
        return params, *seqjax.unroll(network, params, xs, deterministic=True)

    *trees, out = jax.eval_shape(run, inputs)
    weights, numbers = (sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in trees)
    print(f"{name:26}{out.shape!s:14}{weights:10,}  {numbers // 32:,}")

# %% [markdown]
# ## Dropout
#
# Noise follows from a key: the same key gives the same noise. Evaluation says
# `deterministic=True`, and to say neither is an error. Noise is drawn for all steps ahead, anew at
# every step or, `locked`, once for the sequence.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 2.8), sharey=True, layout="constrained")
for ax, locked in zip(axes, (False, True), strict=True):
    dropout = seqjax.Dropout(seqjax.LSTM(24), output_rate=0.5, locked=locked)
    noise = dropout.draw_noise(jax.random.key(2), (40,), input_size=3)
    ax.imshow(noise.output.T, cmap="Greys_r", aspect="auto", interpolation="none")
    ax.set(title=f"locked={locked}", xlabel="step")
axes[0].set_ylabel("unit of the output")
figure.suptitle("Dropout at a rate of 1/2: what is dropped in black")
plt.show()

dropped = seqjax.Dropout(cell, output_rate=0.5)
_, silent = seqjax.unroll(dropped, params, xs, deterministic=True)
_, once = seqjax.unroll(dropped, params, xs, key=jax.random.key(3))
_, again = seqjax.unroll(dropped, params, xs, key=jax.random.key(3))
print("deterministic, no noise:", jnp.array_equal(silent, ys))
print("same key, same noise:", jnp.array_equal(once, again), once[0].round(2))

# %% [markdown]
# ## What untrained cells remember
#
# Run each cell twice on inputs that differ in the first step alone. How long do the outputs
# differ? With random weights the Elman network forgets within some steps and gated cells later. The
# LSTM's forget gate starts out half open by its bias of 1; with a bias of 3 it keeps everything, so
# that a difference even grows. The LRU is made to remember long.

# %%
CELLS = {
    "BasicRNN": seqjax.BasicRNN(64),
    "GRU": seqjax.GRU(64),
    "LSTM": seqjax.LSTM(64),
    "LSTM, forget_bias=3": seqjax.LSTM(64, forget_bias=3.0),
    "LRU": seqjax.LRU(64, 64),
}
noise = jax.random.normal(jax.random.key(4), (2, 16, 100, 8))  # two inputs of 16 rows
pair = noise.at[1, :, 1:].set(noise[0, :, 1:])
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for name, one in CELLS.items():
    _, (ys, others) = seqjax.unroll(one, one.init(jax.random.key(5), input_size=8), pair)
    difference = jnp.linalg.norm(ys - others, axis=-1).mean(0)
    ax.semilogy(difference / difference[0], label=name)
ax.set(xlabel="steps after the input that differs", ylim=(1e-4, 10))
ax.set_ylabel("difference of the outputs\n(1 at the first step)")
ax.set_title("How long an untrained cell remembers, mean of 16 rows")
ax.legend()
plt.show()

# %% [markdown]
# ## All there are, and what they cost
#
# The parameters are counted here. The times of a training step are those that
# `python -m benchmarks.cells` stored, on a CPU, beside the LSTM's: 32 rows of 100 steps, 64
# features, mostly 128 units. [docs/cells.md](../docs/cells.md) has their sources and options.

# %%
stored = pathlib.Path(benchmarks.__path__[0], "results", "cells.txt").read_text(encoding="utf-8")
times = {row.split()[0]: float(row.split()[3]) for row in stored.splitlines()[4:]}
entries = sorted(
    (times[entry.name], entry.name, parameter_count(entry))
    for entry in ENTRIES
    if entry.name in times
)
figure, axes = plt.subplots(1, 2, figsize=(10, 8.5), sharey=True, layout="constrained")
ratios, names, sizes = zip(*entries, strict=True)
for ax, values, title in zip(
    axes, (ratios, sizes), ("Time of a training step, LSTM = 1", "Parameters"), strict=True
):
    ax.barh(names, values, color=["tab:orange" if n == "LSTM" else "tab:blue" for n in names])
    ax.set(title=title, xscale="log")
    ax.grid(axis="x", alpha=0.3)
    ax.margins(y=0.01)
plt.show()

# %% [markdown]
# Fewer parameters are not always less time: a convolution and a matrix memory use theirs many
# times a step. Linear cells (RG-LRU, minGRU, minLSTM, LRU) are among the fastest, and on an
# accelerator they run all steps at once.
