# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A character model from within
#
# The article trains a network to say what character comes next, and lets it write. Here a small
# one learns the help texts of Python in a few passes. Then we look into it: what single units of
# its memory do over a page of text, how its gates move, and how far back its gradients flow.

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
# The text is cut into 32 rows that are read side by side, and those into chunks of 64 characters.
# Errors flow back within a chunk; the state is carried on to the next.

# %%
ROWS, NUM_STEPS, EPOCHS, UNITS = 32, 64, 4, 128
text = read_corpus("python_docs").text
parts = split(text)
vocabulary = Vocabulary.of(text)
rows = streams(vocabulary.encode(parts.train), ROWS)
inputs, targets = chunks(tuple(map(jnp.asarray, rows)), NUM_STEPS)
print(f"{len(text):,} characters, {vocabulary.size} kinds; chunks [K, B, T] {inputs.shape}")

# %% [markdown]
# ## Training
#
# One program takes all steps of a pass. An Elman network of as many units is trained beside the
# LSTM, to compare their gradients later.


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
# ## It writes

# %%
model, params = models["LSTM"], trained["LSTM"]
start = prime(model, params, jnp.asarray(vocabulary.encode("The "))[None])
_, tokens = generate(model, params, start, jax.random.key(1), 500, Sampling(temperature=0.7))
print("The " + vocabulary.decode(np.asarray(tokens)[0]))

# %% [markdown]
# ## Units over a page
#
# `WithState` wraps a cell so that `unroll` gives the state after every step. It runs over text that
# was held out of training. What does a unit of the memory stand for? Nobody told it to count or to
# remember anything. Here we look for the units that go along most with two things: how many letters
# the word has so far, and whether the text is inside of quotes.

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
# ## The gates of a unit
#
# All a step needs is the state before it. With the states known, nothing waits for anything: the
# gates of all steps are what `project` makes of the inputs, and one product with all states.

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
# ## How far back gradients flow
#
# How much does the loss of the last step depend on the state of each step before? Run the rest of
# the text from each of those states, all as rows of one batch: row t is masked up to step t, where
# the state stands still, and starts from the state after step t.

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
# Each step back is a factor. Untrained, both networks pass gradients on: the kernel of the Elman
# network starts out orthogonal, and the LSTM's forget gates half open. What they learn first is to
# overwrite what is old. The trained Elman network then loses a like factor with every step, down
# to nothing. The LSTM's curve bends: some of its units keep their gates open, and what they hold
# still has a gradient after the whole window.
