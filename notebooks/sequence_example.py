# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Sequences in files
#
# A `SequenceExample` is TensorFlow's message for one sequence: features of the whole, its context,
# and features of each step. Files of such messages, TFRecords, are read by any TensorFlow program,
# and shards of them by many processes. Here sentences go into files, come back, and reach a
# network as batches.

# %%
import os
import pathlib
import tempfile

import jax
import numpy as np

import seqjax
from seqjax.data import Loader, Padded
from seqjax.data.records import Compression, Feature, RecordSource, Schema, write

os.chdir(tempfile.mkdtemp())

# %% [markdown]
# ## A schema says what there is
#
# The words of a sentence are tokens, and each is a noun or none. The text itself is context.

# %%
SENTENCES = {
    "the cat sleeps": [0, 1, 0],
    "a dog chases the cat": [0, 1, 0, 0, 1],
    "birds sing": [1, 0],
    "the dog sees a bird": [0, 1, 0, 0, 1],
}
vocabulary = sorted({word for text in SENTENCES for word in text.split()})
schema = Schema(
    context={"text": Feature(bytes)},
    sequence={"words": Feature(np.int32), "nouns": Feature(np.int32)},
)
examples = [
    {
        "text": text.encode(),
        "words": [vocabulary.index(word) for word in text.split()],
        "nouns": nouns,
    }
    for text, nouns in SENTENCES.items()
]
write("sentences", schema, examples, shards=2)

# %% [markdown]
# The manifest is written last and names the shards, so that whenever the writer is stopped the
# directory holds the old data or the new, whole. A value that does not fit the schema is refused:

# %%
try:
    write("sentences", schema, [{**examples[0], "nouns": [0, 1]}])
except ValueError as error:
    print(error)

# %% [markdown]
# ## Reading
#
# A source knows its schema and all lengths from the index, and reads any example at once.

# %%
source = RecordSource("sentences")
print("lengths", source.lengths, "in shards of", source.shards)
(example,) = source.read([1])
print(example)

# %% [markdown]
# The files hold nothing of ours. This is a record as TensorFlow reads it:

# %%
import tensorflow as tf

shards = sorted(map(str, pathlib.Path("sentences").glob("*.tfrecord")))
records = [record.numpy() for record in tf.data.TFRecordDataset(shards)]
short = min(records, key=len)
print(tf.train.SequenceExample.FromString(short))

# %% [markdown]
# ## To a network
#
# A `Loader` makes batches of it: shuffled, padded, with their lengths. `unroll` and the loss take
# the lengths on.

# %%
cell = seqjax.OutputProjection(seqjax.GRU(units=16), 2)
params = cell.init(jax.random.key(0), input_size=len(vocabulary))
for batch in Loader(source, Padded(batch_size=4), seed=0, epochs=1):
    _, logits = seqjax.unroll(cell, params, batch.features["words"], lengths=batch.lengths)
    loss = seqjax.sequence_loss(logits, batch.features["nouns"], lengths=batch.lengths)
    print(batch.features["text"], batch.features["words"], f"loss {loss:.3f}", sep="\n")

# %% [markdown]
# ## Damage is noticed
#
# Each record has a checksum. A flipped bit is an error that names the record, or a record left out
# and counted.

# %%
content = bytearray(pathlib.Path(shards[1]).read_bytes())
content[40] ^= 1
pathlib.Path(shards[1]).write_bytes(content)
try:
    RecordSource("sentences").read([0, 1, 2, 3])
except ValueError as error:
    print(error)
print("left", len(RecordSource("sentences", skip_corrupt=True).lengths), "of", len(examples))

# %% [markdown]
# ## What it costs
#
# A message holds a list for each feature of each step, which takes room. Where a step is one
# character that is most of the file; where it has more to say it is little.

# %%
rng = np.random.default_rng(0)
KINDS = {
    "a character a step": rng.integers(97, 123, (1_000, 20)).astype(np.uint8),
    "16 numbers a step": rng.normal(size=(1_000, 20, 16)).astype(np.float32),
}
for kind, data in KINDS.items():
    schema = Schema(sequence={"x": Feature(data.dtype, data.shape[2:])})
    for form, compression in {"plain": None, "GZIP": Compression.GZIP}.items():
        write("costs", schema, ({"x": x} for x in data), compression=compression)
        size = sum(path.stat().st_size for path in pathlib.Path("costs").glob("data-*"))
        print(f"{kind:20}{form:6}{size / data.nbytes:5.1f} times its bytes in memory")
