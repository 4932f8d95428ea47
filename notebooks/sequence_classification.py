# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One label for a sequence
#
# An image read row by row is a sequence. The article's network reads it, and a softmax on its last
# output says what it was. Here a small one reads the handwritten digits that come with
# scikit-learn, 8 rows of 8 pixels. As it has an output after every row, we can also ask what it
# says half-way.

# %%
import matplotlib.pyplot as plt
import numpy as np

from experiments.sequence_classification.config import Config
from experiments.sequence_classification.data import load, scaled
from experiments.sequence_classification.report import Epoch, Outcome, baselines, confusion_matrix
from experiments.sequence_classification.run import build_model, predict, train

# %% [markdown]
# ## The sequences

# %%
stored = load("digits")
split = scaled(stored)
print("training inputs [N, T, D]", split.train.xs.shape, "test", split.test.xs.shape)
figure, ax = plt.subplots(figsize=(10, 2), layout="constrained")
ax.imshow(np.hstack(stored.test.xs[:12]), cmap="gray_r")
ax.set(xticks=range(4, 96, 8), xticklabels=stored.test.labels[:12], xlabel="label", ylabel="row")
plt.show()

# %% [markdown]
# ## The network and its training
#
# One layer of 64 GRU units with dropout, four seeds at once. The article's three layers of 200 are
# the defaults of `python -m experiments.sequence_classification`.

# %%
config = Config(layers=1, units=64, dropout=0.3, epochs=12, learning_rate=5e-3, seeds=4)
model = build_model(config, len(split.classes))
epochs = []
for _, losses, params in train(config, model, split.train):
    probabilities = predict(model, config.pooling, params, split.test)
    right = probabilities.argmax(-1) == split.test.labels
    epochs.append(Epoch(losses.mean(1), right.mean(1)))
outcome = Outcome(stored, baselines(split), epochs, probabilities, wall_seconds=0.0)
print(
    f"{'GRU':22} {outcome.accuracies.mean():.1%}  of {config.seeds} seeds "
    f"{outcome.accuracies.min():.1%} to {outcome.accuracies.max():.1%}"
)
for name, accuracy in outcome.baselines.items():
    print(f"{name:22} {accuracy:.1%}")

# %% [markdown]
# The nearest neighbours see all pixels at once, and on images so small they are hard to beat.

# %%
confusion_matrix(outcome)

# %% [markdown]
# ## What it says half-way
#
# The output that is classified is the last valid one: give a shorter length, and it is that after
# so many rows. Only the last was ever trained.

# %%
rows = range(1, 9)
guesses = np.stack(
    [
        predict(
            model, config.pooling, params, split.test._replace(lengths=split.test.lengths * 0 + n)
        )
        for n in rows
    ]
)  # [rows, seeds, N, classes]
accuracy = (guesses.argmax(-1) == split.test.labels).mean(-1)
figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.fill_between(rows, accuracy.min(1), accuracy.max(1), alpha=0.25, linewidth=0)
ax.plot(rows, accuracy.mean(1), marker="o")
ax.axhline(0.1, color="black", linestyle="--", linewidth=0.8)
ax.annotate("chance", (8, 0.1), (0, 4), textcoords="offset points", ha="right")
ax.set(xlabel="rows read", ylabel="test accuracy", ylim=(0, 1.02))
ax.set_title(f"What the network says after each row ({config.seeds} seeds, mean and range)")
plt.show()

# %% [markdown]
# Half-way it says next to nothing, less than what the rows so far would allow: it keeps them in its
# state for the end, and nobody asked it before. With `pooling="mean"` every output is trained.
#
# Here are six digits as one seed reads them. Below the pixels stands what it would say after
# each row.

# %%
chosen = [np.flatnonzero(split.test.labels == digit)[0] for digit in (0, 2, 3, 5, 7, 8)]
figure, axes = plt.subplots(2, 6, figsize=(11, 4.2), layout="constrained")
for (above, below), k in zip(axes.T, chosen, strict=True):
    above.imshow(stored.test.xs[k], cmap="gray_r")
    above.set(title=f"a {split.test.labels[k]}", xticks=[], yticks=[])
    image = below.imshow(guesses[:, 0, k], cmap="Blues", vmin=0, vmax=1)
    below.set(xticks=range(0, 10, 3), yticks=range(0, 8, 2), yticklabels=range(1, 9, 2))
    below.set_xlabel("class")
axes[0, 0].set_ylabel("pixels")
axes[1, 0].set_ylabel("rows read")
figure.colorbar(image, ax=axes, label="probability")
plt.show()
