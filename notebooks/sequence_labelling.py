# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A label for every step
#
# Given a line of text in lower case, which of its letters were upper case? Each character gets a
# label, so the network has an output at every step, and what decides may stand before a letter or
# after it. A GRU that reads forward and two that read both ways try it on the help texts of Python,
# beside rules and counts.

# %%
import jax
import matplotlib.pyplot as plt
import numpy as np

from experiments.sequence_labelling import report
from experiments.sequence_labelling.baselines import Characters, baselines, score
from experiments.sequence_labelling.config import Truecasing
from experiments.sequence_labelling.lines import SCHEMA, example, lower
from experiments.sequence_labelling.truecasing import buckets, predict, train
from seqjax.data import ListSource, Report, plan
from seqjax.data.text import Vocabulary

# %% [markdown]
# ## The lines
#
# They are of any length, so they come in buckets of similar ones, with little padding. Letters
# alone count in the loss; spaces, digits and padding have no case.

# %%
config = Truecasing(
    corpus="python_docs",
    forward_units=48,
    bidirectional_units=32,
    dropout=0.1,
    epochs=3,
    seeds=2,
    longest=80,
)
lines = config.read_lines()
vocabulary = Vocabulary.of(lower("".join(lines.train)), min_count=2)
training, held_out = (
    ListSource([example(line, vocabulary) for line in part], set(SCHEMA.sequence))
    for part in (lines.train, lines.held_out)
)
line = next(line for line in lines.train if sum(map(str.isupper, line)) > 4)
features = example(line, vocabulary)
print(line, "".join("^" if upper else " " for upper in features["upper"]), sep="\n")
policy = buckets(training.lengths, config.batch_steps)
print(
    Report.of_plan(
        plan(training.lengths, [len(lines.train)], policy, seed=0), training.lengths, policy
    )
)

# %% [markdown]
# ## Both networks and the baselines
#
# F1 is the harmonic mean of precision and recall of the upper case letters. The last column leaves
# out the first character of each line.

# %%
characters = Characters.of(held_out)
runs, curves = [], {}
for network in config.networks:
    steps = [*train(config, network, training, vocabulary.size)]
    params, curves[network.name] = steps[-1][0], np.mean([loss for _, loss in steps], axis=1)
    probabilities = predict(network, params, held_out)
    count = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    scores = score(characters, probabilities > 0.5)
    runs.append(report.Run(network, count, probabilities, scores, wall_seconds=0.0))

table = {
    name: score(characters, predicted)
    for name, predicted in baselines(Characters.of(training), characters).items()
} | {f"{run.network.name} GRU": run.score for run in runs}
print(f"{'':22}accuracy     F1  F1 after the first")
for name, scores in table.items():
    print(f"{name:22}{'  '.join(f'{np.mean(value):8.4f}' for value in scores)}")

# %%
figure, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
for name, curve in curves.items():
    smooth = np.convolve(curve, np.ones(20) / 20, mode="valid")
    ax.plot(np.arange(20, len(curve) + 1), smooth, label=name)
ax.set(xlabel="training steps", ylabel="loss (nats per letter),\nmean of 20 steps", ylim=(0, 0.25))
ax.legend(title="network reads")
plt.show()

# %% [markdown]
# ## Where they differ
#
# Some held-out lines, among them those on which the two disagree most. Each letter stands on the
# colour of its probability to be upper case.

# %%
report.figure(report.choose(lines.held_out, runs))

# %% [markdown]
# Whoever reads forward has to say whether a word is a name before having seen it. Read from the
# end as well, the word is known at its first letter, and F1 is higher for it. In these few passes
# neither network has learned more than counts of characters know of texts that repeat themselves
# so much; `python -m experiments.sequence_labelling truecasing` trains on Shakespeare, where
# reading from both ends beats them by far. How near a network can come to what there is to know is
# measured on a task with exact losses, in the notebook `bidirectional`.
