# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Static and dynamic unrolling
#
# TensorFlow had two functions for one loop over time. `rnn` laid a copy of the cell into the graph
# for every step, and `dynamic_rnn` put one copy into a loop. The article built the first for 200
# steps of three LSTM layers in 26 seconds, and the second in half a second. In seqjax they are one
# function, `unroll`, and its `method` says what is built. The numbers are the same.

# %%
import functools
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import seqjax

# %% [markdown]
# ## One cell, three methods
#
# `static` is a Python loop that JAX sees unrolled. `scan` is `jax.lax.scan`, a loop in the program.
# `auto`, the default, takes the fastest way there is for the cell: for the LSTM a scan whose
# derivative follows from the equations of a step, so that only what waits for the state is in the
# loop. Here are two sequences of 6 and 4 steps, with the gradient of all parameters.

# %%
cell = seqjax.LSTM(8)
params = cell.init(jax.random.key(0), input_size=4)
xs = jax.random.normal(jax.random.key(1), (2, 6, 4))
lengths = jnp.array([6, 4])


@functools.partial(jax.jit, static_argnames="method")
def outputs_and_gradient(params, method):
    def total(params):
        _, ys = seqjax.unroll(cell, params, xs, lengths=lengths, method=method)
        return (ys**2).sum(), ys

    gradient, ys = jax.grad(total, has_aux=True)(params)
    return ys, gradient


def largest_difference(one, other):
    differences = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), one, other)
    return float(max(jax.tree.leaves(differences)))


reference = outputs_and_gradient(params, "static")
for method in ("scan", "auto"):
    ys, gradient = outputs_and_gradient(params, method)
    print(
        f"{method:5} beside static: outputs differ by {largest_difference(ys, reference[0]):.0e}, "
        f"gradients by {largest_difference(gradient, reference[1]):.0e}"
    )

# %% [markdown]
# That is the rounding of float32.
#
# ## What is built
#
# JAX traces the Python code once, which gives a program, and compiles that. The program of a static
# loop is as long as the sequence, a scan's is always the same. So is the time to compile them.

# %%
NUM_STEPS = (1, 2, 4, 8, 16, 32)
METHODS = ("static", "scan", "auto")
layer = seqjax.BasicRNN(32)
layer_params = layer.init(jax.random.key(0), input_size=16)


def build(method, num_steps):
    """Lines of the program of a gradient, and the seconds of CPU to trace and compile it."""

    def loss(params, xs):
        _, ys = seqjax.unroll(layer, params, xs, method=method)
        return (ys**2).sum()

    began = time.process_time()
    program = jax.jit(jax.grad(loss)).lower(layer_params, jnp.ones((8, num_steps, 16)))
    program.compile()
    return program.as_text().count("\n"), time.process_time() - began


built = {method: np.array([build(method, n) for n in NUM_STEPS]) for method in METHODS}
print(f"num_steps  {'  '.join(f'{n:5}' for n in NUM_STEPS)}")
for method in METHODS:
    print(f"{method:9}  {'  '.join(f'{n:5.0f}' for n in built[method][:, 0])}  lines")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for method, marker in zip(METHODS, "os^", strict=True):
    for ax, column in zip(axes, built[method].T, strict=True):
        ax.plot(NUM_STEPS, column, marker=marker, label=method)
axes[0].set(title="Size of the program", ylabel="lines")
axes[1].set(title="Time to trace and compile it", ylabel="seconds of CPU")
for ax in axes:
    ax.set(xlabel="num_steps", ylim=0)
    ax.legend()
figure.suptitle("The gradient of an Elman layer: a static loop grows with the sequence")
plt.show()

# %% [markdown]
# The article's graph of 200 steps is six times as long as the last point.
# A static loop is worth it for a few steps only, where the compiler may do better across them.
#
# ## Longer sequences
#
# A static graph could not take more steps than it was built for. JAX compiles a program for each
# new shape, whatever the method. Where lengths differ, give them: one program, compiled for the
# longest, then serves all of them, and each row's final state is that of its own last step.

# %%
state, ys = seqjax.unroll(cell, params, xs, lengths=lengths)
_, short = seqjax.unroll(cell, params, xs[1, :4])
print("the row of 4 steps, alone:", largest_difference(ys[1, :4], short) < 1e-6)
print("past its end:", np.unique(ys[1, 4:]))
print("its state is its last output:", jnp.array_equal(state.h[1], ys[1, 3]))

# %% [markdown]
# ## A fourth way, for linear cells
#
# Where the next state is linear in the last one, as in the minGRU, steps need not wait for each
# other: `associative` combines them in pairs, and the pairs in pairs. On GPUs that is what `auto`
# does with such cells.

# %%
linear = seqjax.MinGRU(8)
linear_params = linear.init(jax.random.key(0), input_size=4)
_, by_scan = seqjax.unroll(linear, linear_params, xs, method="scan")
_, at_once = seqjax.unroll(linear, linear_params, xs, method="associative")
print(f"associative beside scan: {largest_difference(by_scan, at_once):.0e}")
try:
    seqjax.unroll(cell, params, xs, method="associative")
except ValueError as error:
    print(str(error)[:63], "...")
