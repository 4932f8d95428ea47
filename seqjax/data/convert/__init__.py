r"""Convert files to data sets of records, and inspect them::

    python -m seqjax.data.convert text lines.txt data/lines
    python -m seqjax.data.convert csv trips.csv data/trips --group trip --sequence speed:float32
    python -m seqjax.data.convert csv walks.csv data/walks --group walk \
        --sequence x=ax,ay,az:float32 --context activity:class --split-by person \
        --split train=0.8,validation=0.1,test=0.1
    python -m seqjax.data.convert jsonl songs.jsonl data/songs --sequence notes:int32[4]
    python -m seqjax.data.convert jsonl mails.jsonl data/mails --sequence text:utf8 \
        --context label:class
    python -m seqjax.data.convert npz arrays.npz data/arrays --sequence xs --lengths lengths
    python -m seqjax.data.convert ts GunPoint_TRAIN.ts data/gunpoint
    python -m seqjax.data.convert tfds imdb_reviews data/imdb --context label --sequence text
    python -m seqjax.data.convert inspect data/lines

A column is ``NAME:DTYPE`` or ``NAME:DTYPE[SHAPE]``; ``*`` as the first size of a shape stands for
lists of any length. ``NAME=COLUMN:DTYPE`` renames a column, and ``NAME=COLUMN,COLUMN:DTYPE`` joins
D columns to one feature of shape ``[D]``. A DTYPE is one of those of
`seqjax.data.schema.Feature`, or:

- ``class``: the names in a text column are numbered in their order, numbers by value, and stored in
  the schema. ``--like`` takes the numbers of another data set.
- ``utf8``: a text is a sequence of its bytes, ``uint8``.
- ``characters``: a text is a sequence of the numbers of its characters in ``--vocabulary``.

A missing value is an empty cell, ``nan``, the ``null`` of JSON, NaN of an array, or the ``?`` of
``ts``. It is an error, unless ``--missing fill`` is given; see `seqjax.data.convert.missing`.

A byte order mark at the start of a text, as spreadsheets write it, is removed.
"""

from seqjax.data.convert.command_line import main

__all__ = ["main"]
