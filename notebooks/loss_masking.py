# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Masking the loss
#
# A model that predicts every step of a padded batch also predicts the padded steps. A loss that
# counts these steps is wrong. This notebook shows how large the error is, how `sequence_loss`
# averages over the valid steps, and what a network learns from a wrong mask if 0 is a class. It
# also shows that padding has no effect on gradients, even if it holds NaN.

# %%
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import seqjax
from seqjax.tasks import BinaryDependency
from seqjax.training import init_train_state, train_steps

# %% [markdown]
# ## Four sequences of 1, 2, 3 and 8 steps
#
# The next cell draws random logits for ten classes, and random targets that are padded with 0. With
# both averages turned off, `sequence_loss` returns the loss of each step. The figure shows these
# losses without and with lengths.

# %%
B, T, CLASSES = 4, 8, 10
lengths = np.array([1, 2, 3, 8])
counts = np.arange(T) < lengths[:, None]
rng = np.random.default_rng(0)
logits = 2 * rng.normal(size=(B, T, CLASSES)).astype("float32")
targets = np.where(counts, rng.integers(0, CLASSES, (B, T)), 0)
each = functools.partial(
    seqjax.sequence_loss, logits, targets, average_over_time=False, average_over_batch=False
)
figure, axes = plt.subplots(1, 2, figsize=(10, 2.9), sharey=True, layout="constrained")
for ax, losses, title in zip(
    axes, (each(), each(lengths=lengths)), ("padding counted", "masked by the lengths"), strict=True
):
    image = ax.imshow(losses, cmap="Blues", vmin=0, vmax=8, aspect="auto")
    for b in range(B):
        for t in range(T):
            dark = losses[b, t] > 5
            ax.text(t, b, f"{losses[b, t]:.1f}", ha="center", va="center", color="wk"[not dark])
        ax.plot([lengths[b] - 0.5] * 2, [b - 0.5, b + 0.5], color="tab:red", linewidth=2)
    ax.set(title=title, xlabel="step", yticks=range(B))
axes[0].set_ylabel("row of the batch")
figure.colorbar(image, ax=axes, label="loss (nats)")
figure.suptitle("The loss of each step; a red line is the end of a row")
plt.show()

# %% [markdown]
# With lengths, the loss is exactly 0 at every step past the end of a row.
#
# ## How the loss is averaged
#
# A mean divides by the sum of the weights of its steps. The weight is 1 at valid steps and 0 at
# padded steps. In the mean over all steps, each valid step counts the same. The article "RNNs in
# TensorFlow, a Practical Guide and Undocumented Features" (Britz, 2016) averages each row first and
# then all rows, so a row of one step counts as much as a row of eight. The next cell prints both,
# the mean at each step, and the mean that counts padding.

# %%
print("mean over steps that count ", seqjax.sequence_loss(logits, targets, lengths=lengths))
rows = seqjax.sequence_loss(logits, targets, lengths=lengths, average_over_batch=False)
print("mean of each row           ", rows.round(2))
print("mean of those              ", rows.mean())
steps = seqjax.sequence_loss(logits, targets, lengths=lengths, average_over_time=False)
print("mean at each step          ", steps.round(2))
print("padding counted            ", seqjax.sequence_loss(logits, targets))

# %% [markdown]
# The mean over all valid steps is 3.36, and the mean of the rows is 4.26. The mean that counts
# padding is 3.92.
#
# ## What a network learns from a wrong mask
#
# In this task, Y is 1 with a probability of 1/4 if the previous X is 0, and 3/4 if it is 1. The
# rows have 1 to 12 steps and are padded with 0, which is also a class. The next cell trains three
# networks: with a mask from the lengths, without a mask, and with a mask from the sign of the
# targets, `targets != 0`. It prints their losses on the valid steps of new data, and the lowest
# possible loss. The cell after it plots the mean predictions.

# %%
task = BinaryDependency([(1, 0.5)], base_rate=0.25)
STEPS, ROWS, LONGEST = 200, 64, 12
MASKS = ("lengths", "no mask", "sign of targets")
model = seqjax.OutputProjection(seqjax.BasicRNN(4), size=2)
optimizer = optax.adam(0.03)


def draw(key):
    """Rows padded with 0, their targets and lengths, [STEPS, ROWS, ...]."""
    keys = jax.random.split(key)
    xs, ys = (a.reshape(STEPS, ROWS, -1) for a in task.sample(keys[0], STEPS * ROWS * LONGEST))
    lengths = jax.random.randint(keys[1], (STEPS, ROWS), 1, LONGEST + 1)
    counts = jnp.arange(LONGEST) < lengths[..., None]
    return xs * counts, ys * counts, lengths


def loss_fn(mask, params, carry, batch):
    xs, ys, lengths = batch
    _, logits = seqjax.unroll(model, params, xs)
    by_lengths = jnp.arange(LONGEST) < lengths[:, None]
    weights = jnp.stack([by_lengths, jnp.ones_like(by_lengths), ys != 0])[mask]
    return seqjax.sequence_loss(logits, ys, weights=weights.astype(jnp.float32)), carry


@jax.jit
@jax.vmap
def train(mask):
    start = init_train_state(model.init(jax.random.key(3), input_size=2), optimizer, carry=None)
    step = functools.partial(train_steps, functools.partial(loss_fn, mask), optimizer)
    state, _ = step(start, draw(jax.random.key(4)))
    xs, ys, lengths = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), draw(jax.random.key(5)))
    _, logits = seqjax.unroll(model, state.params, xs)
    return seqjax.sequence_loss(logits, ys, lengths=lengths), logits, xs, lengths


losses, logits, xs, lengths = map(np.asarray, train(jnp.arange(len(MASKS))))
inside = np.arange(1, LONGEST) < lengths[..., None]
answers = np.asarray(jax.nn.softmax(logits))[:, :, 1:, 1]
given = np.array(
    [[answers[m][inside[m] & (xs[m, :, :-1] == x)].mean() for x in (0, 1)] for m in range(3)]
)
print(f"{'trained with':17}loss on the steps that count")
for name, loss in zip(MASKS, losses, strict=True):
    print(f"{name:17}{loss:.4f}")
first = 1 / (1 + LONGEST) * 2  # the share of steps with nothing before them
best = first * task.expected_loss([]) + (1 - first) * task.expected_loss([1])
print(f"{'best possible':17}{best:.4f}")

# %%
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
for x, offset in ((0, -0.2), (1, 0.2)):
    bars = ax.bar(np.arange(3) + offset, given[:, x], width=0.38, label=f"after a {x}")
    ax.bar_label(bars, fmt="%.2f")
    true = task.base_rate + 0.5 * x
    ax.axhline(true, color=bars[0].get_facecolor(), linestyle="--", linewidth=1)
ax.set(xticks=range(3), xticklabels=MASKS, xlabel="mask of the loss", ylim=(0, 1.25))
ax.set(yticks=[0, 0.25, 0.5, 0.75, 1], ylabel="mean answer for P(Y = 1)")
ax.set_title("What the networks learned; dashed: the truth")
ax.legend(loc="upper left", ncols=2)
plt.show()

# %% [markdown]
# The network that is trained with lengths almost reaches the lowest possible loss. Without a mask,
# the network also learns the zeros of the padding, so its predictions of 1 are too low. With a mask
# from the sign, only steps of class 1 count. The network then predicts 1 at every step: its
# training loss is close to 0, but its loss on the valid steps is 3.72.
#
# ## Padding has no effect
#
# It is not enough to multiply the loss by a mask, because 0 times NaN is NaN, also in the gradient.
# seqjax replaces the values of invalid steps by zeros before it computes with them. In the next
# cell, the padding of the inputs holds zeros or NaN, and the targets in the padding are -1, which
# is not a class. The cell compares both gradients. It then computes the gradient of a loss that is
# multiplied by a mask.

# %%
params = model.init(jax.random.key(6), input_size=2)
lengths = jnp.array([3, 5])
counts = jnp.arange(5) < lengths[:, None]
inputs = jax.random.normal(jax.random.key(7), (2, 5, 2))
targets = jnp.array([[0, 1, 0, -1, -1], [1, 1, 0, 0, 1]])


def masked(params, inputs):
    _, logits = seqjax.unroll(model, params, inputs, lengths=lengths)
    return seqjax.sequence_loss(logits, targets, lengths=lengths)


def multiplied(params, inputs):
    _, logits = seqjax.unroll(model, params, inputs)
    return (seqjax.sequence_loss(logits, targets % 2, average_over_time=False) * counts).sum()


zeros, nans = (jnp.where(counts[..., None], inputs, padding) for padding in (0.0, jnp.nan))
clean, dirty = map(jax.jit(jax.grad(masked)), (params, params), (zeros, nans))
print(
    "the same gradient, to the last bit:", jax.tree.all(jax.tree.map(jnp.array_equal, clean, dirty))
)
print("multiplied by a mask:", jax.jit(jax.grad(multiplied))(params, nans).bias)

# %% [markdown]
# With lengths, both gradients are equal. If the loss is multiplied by a mask, the gradient is NaN.
