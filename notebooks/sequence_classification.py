# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sequence classification
#
# An image can be read row by row as a sequence. In the article "Introduction to Recurrent Networks
# in TensorFlow" (Hafner, 2016), a recurrent network reads the rows, and a softmax on its last
# output predicts the class. This notebook trains a small network on the handwritten digits of
# scikit-learn, which have 8 rows of 8 pixels. It compares the network with simple baselines, and
# shows what the network predicts before it has read all rows.

# %%
import matplotlib.pyplot as plt
import numpy as np

from experiments.sequence_classification.config import Config
from experiments.sequence_classification.data import load
from experiments.sequence_classification.inputs import scaled
from experiments.sequence_classification.report import Epoch, Outcome, baselines, confusion_matrix
from experiments.sequence_classification.run import build_model, predict, train

# %% [markdown]
# ## The data
#
# The next cell loads the digits and shows the first 12 test images with their labels.

# %%
stored = load("digits")
split = scaled(stored)
print("training inputs [N, T, D]", split.train.xs.shape, "test", split.test.xs.shape)
figure, ax = plt.subplots(figsize=(10, 2), layout="constrained")
ax.imshow(np.hstack(stored.test.xs[:12]), cmap="gray_r")
ax.set(xticks=range(4, 96, 8), xticklabels=stored.test.labels[:12], xlabel="label", ylabel="row")
plt.show()

# %% [markdown]
# Each image is a sequence of T = 8 steps with D = 8 features.
#
# ## The network and its training
#
# The network is one layer of 64 GRU units with dropout. The next cell trains four seeds in one
# batch for 12 epochs, and prints the test accuracies of the network and of the baselines. By
# default, `python -m experiments.sequence_classification` trains the network of the article, three
# layers of 200 units.

# %%
config = Config(layers=1, units=64, dropout=0.3, epochs=12, learning_rate=5e-3, seeds=4)
model = build_model(config, len(split.classes), features=8)
epochs = []
for _, losses, params in train(config, model, split.train):
    probabilities = predict(model, params, split.test)
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
# The mean accuracy of the network is between those of logistic regression and nearest neighbours.
# Both baselines see all pixels at once, and nearest neighbours are hard to beat on such small
# images.
#
# The next cell plots the confusion matrix over all four seeds.

# %%
confusion_matrix(outcome)

# %% [markdown]
# The numbers off the diagonal are errors. The most common error is to take an 8 for a 1.
#
# ## Predictions after part of the rows
#
# The network classifies the last valid output. With a length of n, this is the output after n rows.
# Only the output after all 8 rows is trained. The next cell computes the test accuracy for n = 1 to
# 8.

# %%
rows = range(1, 9)
guesses = np.stack(
    [predict(model, params, split.test._replace(lengths=split.test.lengths * 0 + n)) for n in rows]
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
# The accuracy is at most 20% until row 4, where chance is 10%, and it exceeds 90% only after row 7.
# Only the last output contributes to the loss, so the state can hold information that earlier
# outputs do not show. With `pooling="mean"`, every output is trained.
#
# The next cell shows six digits and the predictions of the first seed. The lower pictures show the
# probability of each class after each row.

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

# %% [markdown]
# After the last row, the correct class has the highest probability for all six digits. After the
# first rows, the network often prefers another class.
