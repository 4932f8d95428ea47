# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # How far back must errors flow?
#
# The article trains a small network on a binary sequence Y that depends on X three and eight steps
# back. Whether it can learn a dependency is a matter of `num_steps`, over how many steps errors
# flow back. The loss of a model that knows none, one or both is known exactly, so that one sees in
# a learning curve what was learned.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

import seqjax
from experiments.binary_dependency.config import Config
from experiments.binary_dependency.experiment import Run, explain, figure, floors, train
from seqjax.tasks import BinaryDependency
from seqjax.truncation import chunks, truncated_unroll

# %% [markdown]
# ## The task
#
# X is a fair coin at each step. Y is 1 with probability 1/2, plus 1/2 if X was 1 three steps back,
# less 1/4 if it was 1 eight steps back.

# %%
task = BinaryDependency()
print("dependencies (lag, change):", task.dependencies)
xs, ys = task.sample(jax.random.key(0), 20)
print("X       ", xs)
print("P(Y = 1)", task.probabilities(xs))
print("Y       ", ys)

# %% [markdown]
# ## The floors
#
# The best model that sees some of the dependencies answers P(Y = 1) given those alone. Its loss is
# the entropy that is left.

# %%
for known, loss in floors(task).items():
    print(f"knows {known:8} {loss:.12f}")

# %% [markdown]
# ## Errors stop at the start of a chunk
#
# The sequence is cut into chunks of `num_steps`, and the state is carried over as a constant. So
# how far an error goes back depends on where in its chunk it arises. The pictures show the gradient
# of each output by each input of a small random network. Where a white dot lies in colour, the
# error of a step reaches X three steps back.

# %%
T, NUM_STEPS = 20, 5
cell = seqjax.BasicRNN(4)
params = cell.init(jax.random.key(1), input_size=2)


def by_chunks(inputs):
    def chunk_outputs(state, chunk):
        state = jax.lax.stop_gradient(state)
        return seqjax.unroll(cell, params, chunk, initial_state=state)

    pieces = chunks(inputs[None], NUM_STEPS)  # [T / NUM_STEPS, 1, NUM_STEPS, 2]
    return jax.lax.scan(chunk_outputs, cell.initial_state((1,)), pieces)[1].reshape(T, -1)


def truly(inputs):
    return truncated_unroll(cell, params, inputs, NUM_STEPS)[1]


def in_full(inputs):
    return seqjax.unroll(cell, params, inputs)[1]


KINDS = {
    "chunks of 5": by_chunks,
    "every error goes back 5 steps": truly,
    "every error goes back to the start": in_full,
}
fig, axes = plt.subplots(1, 3, figsize=(11, 4.2), sharey=True, layout="constrained")
for ax, (name, outputs) in zip(axes, KINDS.items(), strict=True):
    gradient = jax.jit(jax.jacrev(outputs))(jax.nn.one_hot(xs, 2))  # [T, 4, T, 2]
    size = np.linalg.norm(gradient, axis=(1, 3))
    reached = [size[t, t - 3] > 0 for t in range(NUM_STEPS, T)]
    image = ax.imshow(np.log10(np.where(size > 0, size, np.nan)), vmin=-2, vmax=0.3)
    ax.plot(range(T - 3), range(3, T), "wo", markeredgecolor="black", markersize=4)
    ax.set(title=f"{name}\n{np.mean(reached):.0%} of errors reach lag 3", xlabel="input of step")
    ax.set(xticks=range(0, T, 5), yticks=range(0, T, 5))
axes[0].set_ylabel("error of step")
fig.colorbar(image, ax=axes, label="log10 of the gradient's norm")
plt.show()

# %% [markdown]
# With chunks of 5, two errors of a chunk in five reach lag 3, which turns out to be enough, and
# none reaches lag 8. With `num_steps=10` two of a chunk reach lag 8.
#
# ## Learning curves
#
# The article's three settings, in short: fewer steps, Adam in place of Adagrad, and four seeds at
# once as one program. `python -m experiments.binary_dependency` is the full thing.

# %%
config = Config(
    num_steps=(5, 1, 10),
    state_size=(4, 4, 16),
    epochs=(2, 1, 6),
    seeds=4,
    optimizer="adam",
    learning_rate=0.01,
    sequence_length=400_000,
)
runs = []
for setting in config.settings:
    windows = [losses for _, losses in train(config, task, setting)]
    runs.append(Run(setting, np.concatenate(windows, axis=1), wall_seconds=0.0))
figure(runs, task)

# %%
for run in runs:
    print(explain(run, task), end="\n\n")
