# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Inside a character model
#
# The article "Recurrent Neural Networks in TensorFlow II" (Pitis, 2016) trains a network to predict
# the next character of a text, and generates text with it. This notebook trains a small model on
# the help texts of Python for four epochs. It then shows what single units of the memory respond
# to, how the gates of a unit change from step to step, and how far back gradients flow.

# %%
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import seqjax
from seqjax.data.text import Vocabulary, read_corpus, split, streams
from seqjax.sampling import Sampling, generate, prime
from seqjax.training import init_train_state, train_steps
from seqjax.truncation import chunks

# %% [markdown]
# ## From text to chunks
#
# The training text is cut into 32 rows, which are read in parallel. Each row is cut into chunks of
# 64 characters for truncated backpropagation. Errors flow back within a chunk, and the final state
# of a chunk is the initial state of the next.

# %%
ROWS, NUM_STEPS, EPOCHS, UNITS = 32, 64, 4, 128
text = read_corpus("python_docs").text
parts = split(text)
vocabulary = Vocabulary.of(text)
rows = streams(vocabulary.encode(parts.train), ROWS)
inputs, targets = chunks(tuple(map(jnp.asarray, rows)), NUM_STEPS)
print(f"{len(text):,} characters, {vocabulary.size} kinds; chunks [K, B, T] {inputs.shape}")

# %% [markdown]
# There are K = 204 chunks of B = 32 rows and T = 64 steps.
#
# ## Training
#
# `train_epoch` runs all training steps of an epoch in one program. The next cell trains an LSTM
# and, for comparison, an Elman network (`BasicRNN`) with the same number of units. The cell after
# it evaluates both on held-out text and plots the training losses.


# %%
optimizer = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.adam(optax.cosine_decay_schedule(8e-3, EPOCHS * len(inputs), 0.05)),
)


def chunk_loss(model, params, state, batch):
    xs, ys = batch
    state, logits = seqjax.unroll(model, params, xs, initial_state=state)
    return seqjax.sequence_loss(logits, ys), state


@functools.partial(jax.jit, static_argnames="model")
def train_epoch(model, state):
    state = state._replace(carry=model.initial_state((ROWS,)))
    return train_steps(functools.partial(chunk_loss, model), optimizer, state, (inputs, targets))


models = {
    "LSTM": seqjax.LanguageModel(seqjax.LSTM(UNITS), vocabulary.size),
    "BasicRNN": seqjax.LanguageModel(seqjax.BasicRNN(UNITS), vocabulary.size),
}
untrained, trained, curves = {}, {}, {}
for name, model in models.items():
    untrained[name] = model.init(jax.random.key(0), vocabulary.size)
    state = init_train_state(untrained[name], optimizer, model.initial_state((ROWS,)))
    passes = []
    for _ in range(EPOCHS):
        state, losses = train_epoch(model, state)
        passes.append(np.asarray(losses))
    trained[name], curves[name] = state.params, np.concatenate(passes)

# %%
held_out = jnp.asarray(vocabulary.encode(parts.validation))
final = {}
for name, model in models.items():
    _, logits = seqjax.unroll(model, trained[name], held_out[:-1])
    final[name] = seqjax.sequence_loss(logits, held_out[1:])

figure, ax = plt.subplots(figsize=(8, 3.5), layout="constrained")
for name, curve in curves.items():
    smooth = np.convolve(curve, np.ones(20) / 20, mode="valid")
    ax.plot(np.arange(20, len(curve) + 1), smooth, label=f"{name}, held-out text {final[name]:.2f}")
ax.set(
    xlabel="training steps", ylabel="loss (nats per character),\nmean of 20 steps", ylim=(1, 3.5)
)
ax.set_title(f"{EPOCHS} passes over the help texts of Python, {UNITS} units")
ax.legend()
plt.show()

# %% [markdown]
# Both networks reach almost the same loss. The LSTM is slightly better on held-out text.
#
# ## Generating text
#
# The next cell runs the LSTM over the prompt "The " and draws 500 more characters with a
# temperature of 0.7.

# %%
model, params = models["LSTM"], trained["LSTM"]
start = prime(model, params, jnp.asarray(vocabulary.encode("The "))[None])
_, tokens = generate(model, params, start, jax.random.key(1), 500, Sampling(temperature=0.7))
print("The " + vocabulary.decode(np.asarray(tokens)[0]))

# %% [markdown]
# The text imitates the words, the quotes and the layout of the help texts, but it has no meaning.
#
# ## Units of the memory
#
# `WithState` wraps a cell so that `unroll` returns the state after every step. The next cell runs
# the LSTM over 20,000 characters of held-out text. It computes two features of the text: the number
# of letters of the current word so far, and whether the text is inside quotes. The model was not
# trained on these features. For each feature, the cell finds the unit whose memory has the
# strongest correlation with it. The cell after it colours a page of text by the memory of these
# units.

# %%
looked_at = parts.validation[:20_000]
tokens = jnp.asarray(vocabulary.encode(looked_at))
_, (_, states) = seqjax.unroll(seqjax.WithState(model), params, tokens)
memory = np.tanh(states.c)  # [N, H]

characters = np.array(list(looked_at))
place = np.arange(len(characters))
line_start = np.maximum.accumulate(np.where(characters == "\n", place, 0))
word_start = np.maximum.accumulate(np.where(np.char.isalpha(characters), 0, place))
quotes = np.cumsum(characters == '"')
FEATURES = {
    "letters of the word so far": np.minimum(place - word_start, 8),
    "inside of quotes": (quotes - quotes[line_start]) % 2,
}
units = {}
for name, feature in FEATURES.items():
    correlation = np.corrcoef(memory.T, feature)[-1, :-1]
    units[name] = np.abs(correlation).argmax()
    print(f"{name:27} unit {units[name]:3}, correlation {correlation[units[name]]:+.2f}")

# %%
begin = looked_at.index("\n", 3_000) + 1
page = looked_at[begin:].split("\n")[:18]
figure, axes = plt.subplots(2, 1, figsize=(11, 9), layout="constrained")
for ax, (name, unit) in zip(axes, units.items(), strict=True):
    colours, at = np.full((len(page), 80), np.nan), begin
    for r, line in enumerate(page):
        colours[r, : len(line)] = memory[at : at + len(line), unit][:80]
        at += len(line) + 1
        for c, character in enumerate(line.rstrip()):
            ax.text(c, r, character, ha="center", va="center", family="monospace", fontsize=8)
    image = ax.imshow(colours, cmap="coolwarm", vmin=-1, vmax=1, aspect="auto", alpha=0.7)
    ax.set(title=f"unit {unit}: {name}", xticks=[], yticks=[])
figure.colorbar(image, ax=axes, label="tanh of the memory after each character", shrink=0.5)
figure.suptitle("A page of held-out text, coloured by one unit")
plt.show()

# %% [markdown]
# The memory of the first unit increases within a word. The memory of the second unit is negative
# inside quotes and mostly positive outside.
#
# ## The gates of a unit
#
# A step needs only its input and the previous state. If all states are known, the gates of all
# steps can be computed at once: `project` computes the part that depends on the inputs, and one
# product with the recurrent kernel computes the part that depends on the states. The next cell
# plots the gates and the memory of the second unit around a quote.

# %%
cell, unit = model.cell, units["inside of quotes"]
before = jax.tree.map(lambda s: jnp.concatenate([jnp.zeros_like(s[:1]), s[:-1]]), states)
of_input = cell.project(params.cell, tokens).gates
of_state = jnp.split(before.h @ params.cell.recurrent_kernel, 4, axis=-1)
gates = zip("ifgo", of_input, of_state, strict=True)
sums = {name: (x + h)[:, unit] for name, x, h in gates}

middle = looked_at.index('"', begin)
shown = slice(middle - 30, middle + 45)
figure, axes = plt.subplots(2, 1, figsize=(11, 4.5), sharex=True, layout="constrained")
for name, title in (("i", "input"), ("f", "forget"), ("o", "output")):
    axes[0].step(place[shown], jax.nn.sigmoid(sums[name])[shown], where="mid", label=title)
axes[0].set(ylabel="gate", ylim=(-0.05, 1.05))
axes[1].step(place[shown], states.c[shown, unit], where="mid", color="black", label="memory c")
axes[1].axhline(0, color="grey", linewidth=0.5)
axes[1].set(ylabel="memory", xticks=place[shown])
axes[1].set_xticklabels(
    [c.replace("\n", "\u21b5") for c in characters[shown]], family="monospace", fontsize=9
)
for ax in axes:
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figure.suptitle(f"Unit {unit} around a quote, after each character")
plt.show()

# %% [markdown]
# The memory falls below 0 where the quote opens. Within the quote the forget gate is mostly close
# to 1, so the unit keeps its value. At the line break the forget gate falls, and the memory rises
# above 0 again.
#
# ## How far back gradients flow
#
# The next cell computes the gradient of the loss of the last step with respect to the state after
# each earlier step. It runs all states of a window in one batch: row t starts from the state after
# step t, and its mask excludes all steps up to t. The norms are medians over 16 windows, before and
# after training.

# %%
T = 64


@functools.partial(jax.jit, static_argnames="model")
@functools.partial(jax.vmap, in_axes=(None, None, 0))
def gradient_norms(model, params, window):
    """Norm of the gradient of the last step's loss by the state after each step, [T - 1]."""
    xs, target = jnp.broadcast_to(window[:-1], (T, T)), window[-1]
    _, (_, states) = seqjax.unroll(seqjax.WithState(model), params, xs[0])
    later = jnp.arange(T) > jnp.arange(T)[:, None]

    def last_loss(states):
        _, logits = seqjax.unroll(model, params, xs, mask=later, initial_state=states)
        return -jax.nn.log_softmax(logits[:-1, -1])[:, target].sum()

    gradient = jax.tree.leaves(jax.grad(last_loss)(states))
    return jnp.linalg.norm(jnp.concatenate(gradient, axis=-1), axis=-1)[:-1]


windows = tokens[: 16 * (T + 1)].reshape(16, T + 1)
figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for (name, model), colour in zip(models.items(), ("tab:blue", "tab:orange"), strict=True):
    for params, style, when in ((untrained, "--", "untrained"), (trained, "-", "trained")):
        norms = gradient_norms(model, params[name], windows)
        median = np.median(norms, axis=0)[::-1]
        ax.semilogy(np.arange(1, T), median, style, color=colour, label=f"{name}, {when}")
ax.set(xlabel="steps back", ylabel="norm of d loss / d state")
ax.set_title(f"How far back the gradient of a loss flows, median of {len(windows)} windows")
ax.legend()
plt.show()

# %% [markdown]
# Before training, the gradients of both networks decrease slowly. Their recurrent kernels are
# orthogonal at first, and the forget gates of the LSTM start near 0.73. After training, the
# gradients decrease faster, because the networks have learned to overwrite old information. In the
# Elman network they decrease by a similar factor at each step and almost vanish. In the LSTM they
# decrease more slowly after about 30 steps. A likely reason is that some units keep their forget
# gates open, so that their memory still has a gradient at the start of the window.
