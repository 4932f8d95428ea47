# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Bidirectional networks
#
# A forward network computes each output from the current and the past inputs. A task such as
# tagging also needs future inputs. A bidirectional layer therefore adds a second network, which
# reads each sequence from its last step to its first. In a padded batch, each row has its own last
# step. This notebook shows which inputs the outputs of each direction depend on, and trains
# networks on a task that neither direction can solve alone.

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
# ## Two sequences of 10 and 6 steps
#
# `Bidirectional` combines a forward and a backward cell, and is a cell itself. Its parameters and
# states are `Directions`, pairs with the fields `forward` and `backward`. Its outputs are the
# concatenated outputs of the forward and the backward cell. They stay aligned with the inputs, so
# the backward cell ends at step 0. The next cell checks this for the row of 6 steps.

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
# The final forward state equals the output of the last valid step, which is step 5. The final
# backward state equals the output of step 0. The outputs past the length are 0.
#
# ## Which inputs each direction reads
#
# The next cell computes the gradient of each output with respect to each input, for the row of 6
# steps. Row t of each picture shows the norms of the gradients of the output of step t. Where the
# gradient is 0, the output does not depend on the input. The third picture is made without lengths.


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
    "backward, lengths not given": seen(BACKWARD, None),
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
# The forward outputs depend on the current and the past inputs, which is the lower triangle. The
# backward outputs depend on the current and the future inputs, which is the upper triangle. Both
# read only valid steps. Without lengths, the backward cell starts in the padding, and all its
# outputs depend on the padding.
#
# ## A task for both directions
#
# `BinaryDependency` is the task of the article "Recurrent Neural Networks in TensorFlow I" (Pitis,
# 2016), for any lags. Here Y depends on X one step *back* and two steps *ahead*. The expected loss
# of a model that sees neither, one or both of them is exactly known. The next cell prints these
# floors.

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
# A forward network cannot get below the floor of `back`, and a backward network cannot get below
# the floor of `ahead`.
#
# ## Past and future must interact
#
# If the readout is linear, the logits of a bidirectional layer are a sum of a term of the past and
# a term of the future. The log odds of this task are not such a sum, because the effect of the X
# ahead depends on the X back. The next cell computes the lowest loss of such a sum.

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
# The best sum has a loss of 0.4719. The floor of a model that sees both is 0.4545.
#
# The next cell trains four networks: each direction alone, both directions in one layer, and both
# directions in a `Stack` of two layers. The second layer of the stack reads the outputs of both
# directions of the first. The training data are rows of 16 steps, cut from one long sequence. The
# first step and the last two steps of a row depend on steps outside of the row, so their weight in
# the loss is 0. The cell after it plots the learning curves.

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
# The dashed lines are the exact floors. All networks end close to the floor of the inputs that they
# read, and no network can have an expected loss below it. The bidirectional network with one layer
# stops at the floor of a sum. The network with two layers gets below it, because past and future
# interact in its second layer. A bidirectional network for tagging should therefore combine both
# directions in a layer before the readout.
