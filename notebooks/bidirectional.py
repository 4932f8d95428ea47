# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Two directions
#
# A network that runs forward knows the past of a step. To tag a word one wants its future too, and
# so a second network runs from the end to the start. Where sequences are padded, the end is each
# row's own. This notebook looks at what each direction sees, and gives them a task that neither
# can solve alone.

# %%
import functools

import jax
import jax.numpy as jnp
import jax.scipy.optimize
import matplotlib.pyplot as plt
import numpy as np
import optax

import seqjax
from seqjax.tasks import BinaryDependency
from seqjax.training import init_train_state, train_steps
from seqjax.truncation import chunks

# %% [markdown]
# ## Two sequences, of 10 and 6 steps
#
# `Bidirectional` holds a cell for each direction, and is a cell itself. Its parameters and states
# are pairs, `Directions`. Its output joins those of both cells, the forward one first. Outputs stay
# where their inputs are, so the backward cell finishes at step 0.

# %%
T = 10
lengths = jnp.array([T, 6])
cell = seqjax.Bidirectional(seqjax.LSTM(units=16), seqjax.LSTM(units=16))
params = cell.init(jax.random.key(0), input_size=8)
xs = jax.random.normal(jax.random.key(1), (2, T, 8))
state, ys = seqjax.unroll(cell, params, xs, lengths=lengths)
forward, backward = jnp.split(ys, 2, axis=-1)
print("outputs", ys.shape, "of which", forward.shape, "are the forward cell's")
print("forward state is the output of step 5:", jnp.array_equal(state.forward.h[1], forward[1, 5]))
print("backward state that of step 0:", jnp.array_equal(state.backward.h[1], backward[1, 0]))
print("past the end:", np.unique(ys[1, 6:]))

# %% [markdown]
# ## What each direction sees
#
# An output sees an input if its gradient is not 0. For the row of 6 steps, row t of each picture
# below shows how much the output of step t changes with the input of each step.


# %%
def seen(way, lengths):
    """Size of the gradient of every output by every input, of the second row, [T, T]."""

    def outputs(xs):
        return jnp.split(seqjax.unroll(cell, params, xs, lengths=lengths)[1], 2, axis=-1)[way]

    return jnp.linalg.norm(jax.jit(jax.jacrev(outputs))(xs)[1, :, :, 1], axis=(1, 3))


FORWARD, BACKWARD = 0, 1
pictures = {
    "forward": seen(FORWARD, lengths),
    "backward": seen(BACKWARD, lengths),
    "backward, lengths forgotten": seen(BACKWARD, None),
}
figure, axes = plt.subplots(1, 3, figsize=(11, 3.9), sharey=True, layout="constrained")
for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
    image = ax.imshow(jnp.where(picture > 0, picture, jnp.nan), cmap="viridis", vmin=0, vmax=0.5)
    ax.axvline(5.5, color="black", linestyle="--", linewidth=1)
    ax.set(title=name, xlabel="input of step", xticks=range(T), yticks=range(T))
axes[0].set_ylabel("output of step")
figure.colorbar(image, ax=axes, label="norm of the gradient")
figure.suptitle("A row of 6 steps in a batch of 10: blank is exactly 0, the dashed line its end")
plt.show()

# %% [markdown]
# Forward is the lower triangle and backward the upper one, both within the row. With the lengths
# forgotten the backward network starts in the padding: all it puts out depends on it.
#
# ## A task for both
#
# In the binary task of the first article, let Y depend on X one step *back* and two steps *ahead*.
# A model that sees one of them, or both, has an exactly known loss.

# %%
task = BinaryDependency([(1, 0.5), (-2, -0.25)])
FLOORS = {
    "neither": task.expected_loss([]),
    "ahead": task.expected_loss([-2]),
    "back": task.expected_loss([1]),
    "both": task.expected_loss([1, -2]),
}
print({name: round(floor, 4) for name, floor in FLOORS.items()})

# %% [markdown]
# ## They have to meet
#
# A readout of both directions is a sum of logits, one of what is past and one of what is ahead.
# Here the odds are no such sum: X ahead counts for more or less by what X was back. The best sum
# has a floor of its own.

# %%
back, ahead = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
odds = task.base_rate + 0.5 * back - 0.25 * ahead


def loss_of_sum(weights):
    logits = weights[0] + weights[1] * back + weights[2] * ahead
    return (jnp.logaddexp(0.0, logits) - odds * logits).mean()


best = jax.scipy.optimize.minimize(loss_of_sum, jnp.zeros(3), method="BFGS")
FLOORS["both, as a sum"] = float(best.fun)
print(round(FLOORS["both, as a sum"], 4))

# %% [markdown]
# So four networks are trained: each direction alone, both in one layer, and both in a `Stack` of
# two layers, where the second layer's inputs are the outputs of both directions below. Rows of 16
# steps are cut out of one long sequence; the first step and the last two depend on what is not in
# the row, and their weight in the loss is 0.

# %%
STEPS, ROWS, LENGTH, SEEDS = 600, 64, 16, 4
reader = seqjax.OutputProjection(seqjax.BasicRNN(8), size=2)
hidden = seqjax.BasicRNN(8)
ONE_LAYER = seqjax.Bidirectional(reader, reader)
TWO_LAYERS = seqjax.Stack([seqjax.Bidirectional(hidden, hidden), ONE_LAYER])
optimizer = optax.adam(0.01)
inside = (jnp.arange(LENGTH) >= 1) & (jnp.arange(LENGTH) < LENGTH - 2)
weights = jnp.broadcast_to(inside, (ROWS, LENGTH)).astype(jnp.float32)


def loss_fn(network, ways, params, carry, batch):
    xs, ys = batch
    _, outputs = seqjax.unroll(network, params, xs)
    forward, backward = jnp.split(outputs, 2, axis=-1)
    logits = ways[0] * forward + ways[1] * backward
    return seqjax.sequence_loss(logits, ys, weights=weights), carry


@functools.partial(jax.jit, static_argnames="network")
@functools.partial(jax.vmap, in_axes=(None, 0, None))
@functools.partial(jax.vmap, in_axes=(None, None, 0))
def learning_curve(network, ways, key):
    xs, ys = task.sample(key, STEPS * ROWS * LENGTH)
    batches = chunks((xs.reshape(ROWS, -1), ys.reshape(ROWS, -1)), LENGTH)
    start = init_train_state(network.init(key, input_size=2), optimizer, carry=None)
    return train_steps(functools.partial(loss_fn, network, ways), optimizer, start, batches)[1]


NAMES = ("forward", "backward", "both in one layer", "both in two layers")
keys = jax.random.split(jax.random.key(2), SEEDS)
ways = jnp.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
shallow, deep = learning_curve(ONE_LAYER, ways, keys), learning_curve(TWO_LAYERS, ways[2:], keys)
losses = np.concatenate([shallow, deep])  # [4, SEEDS, STEPS]
for name, final in zip(NAMES, losses[:, :, -100:].mean(2), strict=True):
    print(f"{name:19}{final.mean():.4f}  of {SEEDS} seeds {final.min():.4f} to {final.max():.4f}")

# %%
figure, ax = plt.subplots(figsize=(9, 4.5), layout="constrained")
ends = np.arange(20, STEPS + 1, 20)
for name, curves in zip(NAMES, losses.reshape(4, SEEDS, -1, 20).mean(3), strict=True):
    ax.fill_between(ends, curves.min(0), curves.max(0), alpha=0.25, linewidth=0)
    ax.plot(ends, curves.mean(0), label=name)
for name, floor in FLOORS.items():
    ax.axhline(floor, color="black", linewidth=0.8, linestyle="--")
    ax.annotate(
        f"sees {name}: {floor:.4f}", (1, floor), (6, 0), va="center",
        xycoords=("axes fraction", "data"), textcoords="offset points",
    )  # fmt: skip
ax.set(xlabel="training steps", ylabel="loss (nats), mean of 20 steps", ylim=(0.44, 0.72))
ax.set_title(f"Loss of {SEEDS} seeds, mean and range; dashed: exact loss of a model that sees")
ax.legend(loc="upper right")
plt.show()

# %% [markdown]
# The dashed lines are exact. No training takes a network below the floor of what it sees, and one
# layer of both directions stops at the floor of sums. Whoever tags with a bidirectional network
# should let its directions meet before the readout.
