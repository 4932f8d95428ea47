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
# The article "Recurrent Neural Networks in TensorFlow I" (Pitis, 2016) trains a small network on a
# binary sequence Y that depends on another sequence X three and eight steps back. With truncated
# backpropagation, errors flow back over at most `num_steps` steps. This limit decides which
# dependencies the network can learn. The loss of a model that knows neither, the first or both
# dependencies is exactly known, so a learning curve shows what the network has learned. This
# notebook explains the task and its floors, shows where truncated backpropagation stops errors, and
# trains the three settings of the article.

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
# X is a fair coin at each step. Y is 1 with a probability of 1/2, plus 1/2 if X was 1 three steps
# back, minus 1/4 if X was 1 eight steps back. The next cell draws 20 steps. A sampled sequence is
# circular: its first steps depend on its last.

# %%
task = BinaryDependency()
print("dependencies (lag, change):", task.dependencies)
xs, ys = task.sample(jax.random.key(0), 20)
print("X       ", xs)
print("P(Y = 1)", task.probabilities(xs))
print("Y       ", ys)

# %% [markdown]
# P(Y = 1) takes the values 0.25, 0.5, 0.75 and 1, one for each combination of both inputs.
#
# ## The floors
#
# The best model that knows some of the dependencies predicts P(Y = 1) given the values of X at
# these lags. Its loss is the entropy of Y that remains. The next cell prints this loss for a model
# that knows neither dependency, the first (lag 3), or both.

# %%
for known, loss in floors(task).items():
    print(f"knows {known:8} {loss:.12f}")

# %% [markdown]
# These are the numbers of the article.
#
# ## Errors stop at the start of a chunk
#
# The sequence is cut into chunks of `num_steps`. The final state of a chunk is the initial state of
# the next, but no gradient flows through it. How far back an error flows therefore depends on its
# position in the chunk. The next cell plots the gradient of each output with respect to each input,
# for a small random network and three kinds of backpropagation: in chunks of 5, over exactly 5
# steps for every error (`truncated_unroll`), and to the start. A white dot marks the input three
# steps before each output. If the dot is on a coloured square, the error of this step reaches lag
# 3.

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
# With chunks of 5, two of the five errors in a chunk reach lag 3, and none reaches lag 8. The next
# section shows that two of five are enough to learn the dependency. With `num_steps=10`, two of the
# ten errors in a chunk reach lag 8.
#
# ## Learning curves
#
# The next cell trains the three settings of the article. It uses fewer training steps, Adam instead
# of Adagrad, and four seeds, which are trained in one program. `python -m
# experiments.binary_dependency` runs the full experiment. The cell after it prints which floor each
# setting can reach and how many seeds reached it.

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

# %% [markdown]
# With `num_steps=5`, the losses reach the floor of the first dependency. With `num_steps=10`, they
# reach the floor of both. With `num_steps=1`, errors do not flow back to earlier steps, and the
# losses end near the floor of neither dependency. They can lie below it, because a random recurrent
# layer keeps some information about earlier inputs and the readout learns to use it.
