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
# A cell defines one step of a recurrent network. The loop over time, lengths, stacking, dropout and
# training do not depend on its equations, so one cell can replace another. This notebook explains
# the contract of a cell, combines cells with wrappers, shows how dropout uses keys, and compares
# the memory, the size and the speed of the cells.

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
# A cell is a frozen dataclass of sizes and options. Its parameters and its state are pytrees of
# arrays, which are arguments and results of its functions. `project` computes everything that does
# not depend on the state, for all steps at once. `step` computes the rest of one step. `unroll` is
# equivalent to the loop in the next cell.

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
# The loop and `unroll` return the same outputs. The kernels and the bias hold all four gates side
# by side. The state consists of the memory `c` and the hidden vector `h`.
#
# ## Wrappers
#
# A wrapper is a cell around another cell, so wrappers can be nested. The network of the article
# "RNNs in TensorFlow, a Practical Guide and Undocumented Features" (Britz, 2016) is a stack of four
# LSTMs with dropout. The next cell builds it and four other networks for the same input.
# `jax.eval_shape` derives all shapes without any computation.

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
# The table shows the shape of the outputs, the number of parameters, and the size of the state of
# one row. The attention cell has the largest state, because it keeps its last 10 outputs.
#
# ## Dropout
#
# The noise depends only on a PRNG key: the same key gives the same noise. For evaluation, pass
# `deterministic=True`. It is an error to pass neither. The masks of all steps are drawn in advance.
# By default each step has its own mask; with `locked=True` all steps of a sequence share one mask.
# The next cell plots both kinds of masks, and then runs a cell with and without noise.

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 2.8), sharey=True, layout="constrained")
for ax, locked in zip(axes, (False, True), strict=True):
    dropout = seqjax.Dropout(seqjax.LSTM(24), output_rate=0.5, locked=locked)
    noise = dropout.draw_noise(jax.random.key(2), (40,), input_size=3)
    ax.imshow(noise.output.T, cmap="Greys_r", aspect="auto", interpolation="none")
    ax.set(title=f"locked={locked}", xlabel="step")
axes[0].set_ylabel("unit of the output")
figure.suptitle("Dropout at a rate of 1/2; dropped values are black")
plt.show()

dropped = seqjax.Dropout(cell, output_rate=0.5)
_, silent = seqjax.unroll(dropped, params, xs, deterministic=True)
_, once = seqjax.unroll(dropped, params, xs, key=jax.random.key(3))
_, again = seqjax.unroll(dropped, params, xs, key=jax.random.key(3))
print("deterministic, no noise:", jnp.array_equal(silent, ys))
print("same key, same noise:", jnp.array_equal(once, again), once[0].round(2))

# %% [markdown]
# With `deterministic=True`, the outputs equal those of the cell without dropout. Two calls with the
# same key return the same outputs.
#
# ## How long untrained cells remember
#
# The next cell runs each cell on two inputs that differ only at the first step. It plots the
# difference between both outputs at each step, for random parameters.

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
# The difference vanishes first in the Elman network (`BasicRNN`), and later in the gated cells. The
# forget gate of the LSTM has a bias of 1, so it starts near sigmoid(1) = 0.73. With a bias of 3 it
# starts near 0.95, and the difference even grows. The LRU is designed for long memory: after a fast
# decrease in the first steps, its difference decreases slowly.
#
# ## Size and speed of all cells
#
# The next cell counts the parameters of each cell and reads the training times that `python -m
# benchmarks.cells` has stored. A time is that of a training step on a CPU, relative to the LSTM,
# with 32 rows, 100 steps, 64 features and 128 units. Cells that need as many features as units get
# 128 features. [docs/cells.md](../docs/cells.md) lists the sources and the options of all cells.

# %%
stored = pathlib.Path(benchmarks.__path__[0], "results", "cells.txt").read_text(encoding="utf-8")
table = stored.split("\n\n")[1].splitlines()[1:]
times = {row.split()[0]: float(row.split()[3]) for row in table}
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
# A cell with fewer parameters is not always faster. `ConvLSTM` applies its kernels at many
# positions. A step of `MLSTM` updates a matrix, but `unroll` computes many steps at once, so it
# takes as long as the LSTM. The linear cells RG-LRU, minGRU, minLSTM and LRU take about half the
# time of the LSTM or less. On an accelerator, linear cells compute all steps in parallel.
