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
# TensorFlow 1 had two functions for the loop over time. `rnn` added a copy of the cell to the graph
# for each step, and `dynamic_rnn` added one copy in a loop. The article "Recurrent Neural Networks
# in TensorFlow II" (Pitis, 2016) built three LSTM layers over 200 steps in 26 seconds with the
# first function, and in half a second with the second. In seqjax, `unroll` is the only function,
# and its argument `method` selects the kind of loop. This notebook shows that all methods give the
# same numbers, compares the size of their programs and their compile times, and runs sequences of
# different lengths with one program.

# %%
import functools
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import seqjax

# %% [markdown]
# ## Three methods
#
# - `static` is a Python loop, which JAX traces step by step.
# - `scan` is `jax.lax.scan`, a loop in the program.
# - `auto`, the default, selects the method for the cell. For the LSTM it is a scan whose derivative
#   seqjax derives from the equations of a step. Only what depends on the derivative of the state
#   runs in the loop, and the rest is computed for all steps at once.
#
# The next cell runs an LSTM over two sequences of 6 and 4 steps. It compares the outputs and the
# gradients of all parameters.

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
# The differences are rounding errors of float32.
#
# ## Program size and compile time
#
# JAX traces the Python code into a program and compiles the program. The program of a static loop
# contains every step. The program of a scan contains one step, for any number of steps. The next
# cell measures the number of lines of the program, and the CPU time to trace and compile it, for
# the gradient of an Elman layer. The cell after it plots both.

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
# The size and the compile time of the static program grow with `num_steps`. The programs of `scan`
# and `auto` do not grow, and their compile times hardly change from 2 steps on. The article's graph
# has 200 steps, which is six times as many as the last point. A static loop is useful only for a
# few steps, where the compiler may optimise across steps.
#
# ## Sequences of different lengths
#
# A static graph could not run more steps than it was built for. JAX compiles a program for each new
# shape, with any method. If sequences have different lengths, pass `lengths`. One program, compiled
# for the longest sequence, then runs all of them, and the final state of each row is the state
# after its last valid step. The next cell compares a padded row of 4 steps with the same row alone.

# %%
state, ys = seqjax.unroll(cell, params, xs, lengths=lengths)
_, short = seqjax.unroll(cell, params, xs[1, :4])
print("the row of 4 steps, alone:", largest_difference(ys[1, :4], short) < 1e-6)
print("past its end:", np.unique(ys[1, 4:]))
print("its state is its last output:", jnp.array_equal(state.h[1], ys[1, 3]))

# %% [markdown]
# The outputs are equal up to rounding. They are 0 past the end of the row, and the final state is
# the output of the last valid step.
#
# ## A parallel method for linear cells
#
# In a linear cell, such as the minGRU, the next state is a linear function of the previous one. The
# method `associative` can therefore compute the steps in parallel: it combines pairs of steps, then
# pairs of pairs, and so on. On accelerators, `auto` uses this method for linear cells. The next
# cell compares it with a scan, and then tries it with an LSTM.

# %%
linear = seqjax.MinGRU(8)
linear_params = linear.init(jax.random.key(0), input_size=4)
_, by_scan = seqjax.unroll(linear, linear_params, xs, method="scan")
_, at_once = seqjax.unroll(linear, linear_params, xs, method="associative")
print(f"associative beside scan: {largest_difference(by_scan, at_once):.0e}")
try:
    seqjax.unroll(cell, params, xs, method="associative")
except ValueError as error:
    print(error)

# %% [markdown]
# Both methods agree up to rounding. An LSTM is not linear, so `unroll` raises `ValueError`.
