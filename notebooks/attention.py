# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Attention
#
# An encoder-decoder model reads one sequence and writes another. Without attention, everything that
# the decoder knows of the source is in its initial state. With attention, it looks at all outputs
# of the encoder at every step, and the weights show where. This notebook trains such a model to
# rewrite dates (*3 march 1991* becomes *1991-03-03*), which a person can check, and looks at its
# weights.

# %%
import functools

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax

import seqjax
from seqjax.attention import Additive, General, Monotonic
from seqjax.decoding import Beam, beam_search, decode
from seqjax.seq2seq import EncoderDecoder, shift_right
from seqjax.training import init_train_state, train_steps

# %% [markdown]
# ## Dates in five forms
#
# A token is a character. Sources have different lengths, so each row comes with its length. A
# target ends with the end symbol, which is token 0 here, as is the start symbol of the decoder.

# %%
MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
]  # fmt: skip
FORMS = ("{d} {name} {y}", "{name} {d}, {y}", "{m}/{d}/{y}", "{d}.{m}.{y}", "{d:02} {name:.3} {y}")
SOURCE = "~abcdefghijklmnopqrstuvwxyz0123456789 ,/."
TARGET = "$0123456789-"
LONGEST, WRITTEN = 18, len("1991-03-03$")


def draw_dates(rng, count):
    sources, targets = [], []
    for _ in range(count):
        y, m, d = rng.integers(1900, 2100), rng.integers(1, 13), rng.integers(1, 29)
        form = FORMS[rng.integers(len(FORMS))]
        sources.append(form.format(d=d, m=m, y=y, name=MONTHS[m - 1]))
        targets.append(f"{y}-{m:02}-{d:02}$")
    return sources, targets


def encode(texts, alphabet, width):
    tokens = np.zeros((len(texts), width), np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(text)] = [alphabet.index(c) for c in text]
    return tokens, np.array([len(text) for text in texts], np.int32)


def to_text(tokens):
    return "".join(TARGET[t] for t in tokens).split("$")[0]


rng = np.random.default_rng(0)
sources, targets = draw_dates(rng, 5_000)
train = *encode(sources, SOURCE, LONGEST), encode(targets, TARGET, WRITTEN)[0]
sources, targets = draw_dates(rng, 500)
test = *encode(sources, SOURCE, LONGEST), encode(targets, TARGET, WRITTEN)[0]
for source, target in zip(sources[:5], targets[:5], strict=True):
    print(f"{source:>20}  ->  {target}")

# %% [markdown]
# ## The model
#
# The encoder reads the characters from both ends. The decoder is a language model of the target
# whose cell is a `ContextAttention`. `EncoderDecoder` puts them together: it binds the outputs of
# the encoder to the parameters of the decoder as their context, and computes the decoder's initial
# state from the encoder's final state.


# %%
def make_model(mechanism=None):
    encoder = seqjax.InputProjection(seqjax.Bidirectional(seqjax.GRU(48), seqjax.GRU(48)), 24)
    cell = seqjax.LSTM(96)
    if mechanism is not None:
        cell = seqjax.ContextAttention(
            cell, mechanism, memory_size=96, size=96, activation=jnp.tanh, input_feeding=False
        )
    return EncoderDecoder(encoder, seqjax.LanguageModel(cell, len(TARGET), embedding_size=24))


optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(4e-3))


@functools.cache
def loss_of(model):
    def loss_fn(params, carry, batch):
        source, lengths, target = batch
        logits = model.logits(params, source, shift_right(target, start=0), source_lengths=lengths)
        return seqjax.sequence_loss(logits, target), carry

    return loss_fn


run = jax.jit(train_steps, static_argnums=(0, 1))


def fit(model, epochs=6, batch=50, seed=0):
    params = model.init(jax.random.key(seed), source_size=len(SOURCE))
    state = init_train_state(params, optimizer, carry=None)
    losses = []
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(train[0]))
        for rows in order.reshape(-1, 20, batch):  # 20 steps in one program
            state, loss = run(loss_of(model), optimizer, state, [a[rows] for a in train])
            losses.append(loss.mean())
    return state.params, np.array(losses)


@functools.partial(jax.jit, static_argnums=0)
def write(model, params, source, lengths):
    encoded = model.encode(params, source, lengths=lengths)
    start = jnp.zeros(len(source), jnp.int32)
    return decode(
        model.decoder, encoded.params, start, end=0, max_length=WRITTEN, state=encoded.state
    )


def success(model, params):
    written = write(model, params, *test[:2]).tokens
    return np.mean([to_text(row) == t[:-1] for row, t in zip(written, targets, strict=True)])


models = {
    "no attention": make_model(),
    "general": make_model(General()),
    "additive": make_model(Additive(48)),
    "monotonic": make_model(Monotonic(Additive(48))),
}
results = {}
for name, model in models.items():
    params, losses = fit(model)
    results[name] = params
    print(f"{name:13} loss {losses[-5:].mean():.4f} nats, {success(model, params):6.1%} exact")

# %% [markdown]
# A row counts as exact if every character is right. All models have seen the same 5,000 dates six
# times. The model without attention has to keep the whole source in its state.
#
# ## Where the decoder looks
#
# The weights are part of the decoder's state. `WithState` outputs the state at every step, so one
# more `unroll` over the written target gives all weights, for any cell and mechanism. With a
# general mechanism, the decoder goes to the year, then to the month and then to the day, wherever
# they stand.


# %%
def weights_of(name, source):
    model, params = models[name], results[name]
    tokens, lengths = encode([source], SOURCE, len(source))
    written = write(model, params, tokens, lengths).tokens
    encoded = model.encode(params, tokens, lengths=lengths)
    decoder = seqjax.WithState(model.decoder)
    inputs = shift_right(written, start=0)
    _, (_, states) = seqjax.unroll(decoder, encoded.params, inputs, initial_state=encoded.state)
    return to_text(written[0]), states.alignment.weights[0, :, 0]  # [T, S]


def show(ax, name, source):
    text, weights = weights_of(name, source)
    ax.imshow(weights[: len(text)], cmap="Greys", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(source)), source)
    ax.set_yticks(range(len(text)), text)
    ax.set_title(name, fontsize=10)


fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for ax, source in zip(axes, ("3 march 1991", "march 3, 1991", "3.3.1991"), strict=True):
    show(ax, "general", source)
fig.supxlabel("read")
fig.supylabel("written")
# %% [markdown]
# ## Monotonic attention
#
# A monotonic mechanism moves forward only. It fits speech or spelling, where the target follows the
# order of the source. Here the year comes last but is written first. The decoder therefore writes
# the year while it waits at the first character, whose output from the backward cell depends on the
# whole source. Then it moves to the month, and to the day.

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.4), layout="constrained")
for ax, name in zip(axes, ("general", "additive", "monotonic"), strict=True):
    show(ax, name, "december 24, 1999")
fig.supxlabel("read")
fig.supylabel("written")
# %% [markdown]
# ## The most likely targets
#
# `decode` writes the most likely character at each step. `beam_search` keeps several hypotheses
# and returns the best ones with their log-probabilities, here for a date with a typing error.

# %%
model, params = models["general"], results["general"]
tokens, lengths = encode(["21 jume 1990"], SOURCE, LONGEST)
encoded = model.encode(params, tokens, lengths=lengths)
found = beam_search(
    model.decoder,
    encoded.params,
    jnp.zeros(1, jnp.int32),
    Beam(width=8, n_best=4),
    end=0,
    max_length=WRITTEN,
    state=encoded.state,
)
for row, score in zip(found.tokens[0], found.scores[0], strict=True):
    print(f"{to_text(row)}   probability {np.exp(score):.3f}")

# %% [markdown]
# ## Padding has no effect
#
# The lengths reach the encoder and the mechanism. Positions past the length have a weight of 0, so
# a source gives the same logits in a batch of any width.

# %%
narrow = encode(["3.3.1991"], SOURCE, 8)
wide = encode(["3.3.1991"], SOURCE, LONGEST)
wide[0][:, 8:] = 5  # any token
inputs = shift_right(encode(["1991-03-03$"], TARGET, WRITTEN)[0], start=0)
logits = [
    model.logits(params, tokens, inputs, source_lengths=lengths)
    for tokens, lengths in (narrow, wide)
]
print("largest difference:", float(jnp.abs(logits[0] - logits[1]).max()))

# %% [markdown]
# The page [from sequence to sequence](../docs/guides/sequence_to_sequence.md) shows the parts one
# by one, and the experiment [pronunciation](../docs/experiments/pronunciation.md) trains such a
# model on a real task, from English spelling to sounds.
