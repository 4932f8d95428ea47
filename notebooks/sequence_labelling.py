# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sequence labelling
#
# In sequence labelling, every step has a label. The task of this notebook is truecasing: given a
# line of text in lower case, predict which letters were upper case. The label of a letter can
# depend on the characters before it and after it. This notebook trains a forward and a
# bidirectional GRU on the help texts of Python. It compares them with rules and with counts of
# characters, and shows where the predictions of both networks differ.

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
# ## The data
#
# The lines have up to 80 characters. They are grouped in buckets of similar lengths, which limits
# the padding. Only letters count in the loss, because spaces, digits and padding have no case. The
# next cell prints a line with its labels, and a report on the batches of an epoch.

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
# The marks below the line are its upper case letters. The report compares the padding with that of
# batches of one length.
#
# ## The networks and the baselines
#
# The next cell trains two seeds of both networks for three epochs, and evaluates the networks and
# the baselines on held-out lines. F1 is the harmonic mean of the precision and the recall of upper
# case letters. The last column ignores the first character of each line. The cell after it plots
# the training losses.

# %%
characters = Characters.of(held_out)
runs, curves = [], {}
for network in config.networks:
    steps = [*train(config, network, range(config.seeds), training, vocabulary.size)]
    params, curves[network.name] = steps[-1][0], np.mean([loss for _, loss in steps], axis=1)
    probabilities = predict(network, params, held_out)
    count = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    scores = score(characters, probabilities > 0.5)
    runs.append(report.Run(network, count, probabilities[0], scores, wall_seconds=0.0))

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
# The bidirectional network has a lower training loss and a higher F1 than the forward network.
#
# ## Where the networks differ
#
# The next cell shows eight held-out lines. Half of them are spread evenly over the text, and half
# are those where the predictions differ most. The colour of a letter shows its predicted
# probability of upper case. A red frame marks a wrong prediction.

# %%
report.figure(report.choose(lines.held_out, runs))

# %% [markdown]
# The forward network has to predict the case of the first letter before it has read the rest of the
# word. The bidirectional network has read the whole word, and has a higher F1. These texts repeat
# themselves often, and after three epochs neither network has a higher F1 than the counts of
# characters with the same context. `python -m experiments.sequence_labelling truecasing` trains on
# Shakespeare, where the bidirectional network is far better than the counts. The notebook
# `bidirectional` compares networks with exactly known losses.
