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
# A `SequenceExample` is TensorFlow's message for one sequence. It holds context features, which
# belong to the whole sequence, and sequence features, which have a value for each step. TFRecord
# files of such messages can be read by any TensorFlow program, and several processes can read
# different files (shards) of a data set. This notebook writes sentences to files, reads them, and
# passes them to a network in batches. It also shows how damage is detected, and how large the files
# are.

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
# ## The schema
#
# A `Schema` lists the features of a data set. Here the words of a sentence are tokens, and the
# label of a word is 1 if it is a noun. The text is a context feature. The next cell writes four
# sentences to two shards.

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
# `write` returns the number of examples. The manifest, which lists the shards, is written last. If
# the writer is stopped at any time, the directory therefore holds either the old data set or the
# new one, complete. An example that does not match the schema raises `ValueError`. The next cell
# writes a sentence of three words with two labels.

# %%
try:
    write("sentences", schema, [{**examples[0], "nouns": [0, 1]}])
except ValueError as error:
    print(error)

# %% [markdown]
# The error names the example and its features.
#
# ## Reading
#
# `RecordSource` reads the schema from the manifest and all lengths from an index, so it does not
# read the records when it is opened. It can read any example directly. The next cell reads example
# 1.

# %%
source = RecordSource("sentences")
print("lengths", source.lengths, "in shards of", source.shards)
(example,) = source.read([1])
print(example)

# %% [markdown]
# Example 1 is the second example of the first shard.
#
# The files do not depend on seqjax. The next cell reads them with TensorFlow and prints the
# shortest record.

# %%
import tensorflow as tf

shards = sorted(map(str, pathlib.Path("sentences").glob("*.tfrecord")))
records = [record.numpy() for record in tf.data.TFRecordDataset(shards)]
short = min(records, key=len)
print(tf.train.SequenceExample.FromString(short))

# %% [markdown]
# The message holds the text as context, and one list of values for each step of `words` and
# `nouns`.
#
# ## From files to a network
#
# A `Loader` shuffles the examples, pads them, and returns batches with their lengths. `unroll` and
# `sequence_loss` take these lengths. The next cell computes the loss of an untrained GRU that
# predicts which words are nouns.

# %%
cell = seqjax.OutputProjection(seqjax.GRU(units=16), 2)
params = cell.init(jax.random.key(0), input_size=len(vocabulary))
for batch in Loader(source, Padded(batch_size=4), seed=0, epochs=1):
    _, logits = seqjax.unroll(cell, params, batch.features["words"], lengths=batch.lengths)
    loss = seqjax.sequence_loss(logits, batch.features["nouns"], lengths=batch.lengths)
    print(batch.features["text"], batch.features["words"], f"loss {loss:.3f}", sep="\n")

# %% [markdown]
# The loss of the untrained network is close to ln 2 = 0.693, the loss of a coin flip.
#
# ## Damage is detected
#
# Each record has checksums. Reading a damaged record raises an error. With `skip_corrupt=True`,
# damaged records are left out and logged as a warning. The next cell flips one bit of a file and
# reads the data set in both ways.

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
# The error and the warning name the file and the record. With `skip_corrupt=True`, three of the
# four examples are left.
#
# ## File size
#
# A message holds a list for each step of each feature, which takes space. The next cell compares
# the size of the files with the size of the data in memory, for steps of one character and for
# steps of 16 numbers.

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

# %% [markdown]
# With one character per step, the file is 8.4 times as large as the data, or 1.3 times with GZIP.
# With 16 numbers per step, it is only 1.1 times as large.
