"""Pronunciation: from English spelling to phonemes, on the CMU Pronouncing Dictionary.

An encoder-decoder with attention reads the letters of a word and writes its phonemes. Its
pronunciations are compared with those of a joint n-gram model and of tables of letters::

    python -m experiments.pronunciation train --preset full
    python -m experiments.pronunciation evaluate RUN --beam 8 --baselines
    python -m experiments.pronunciation predict RUN through colonel
    python -m experiments.pronunciation report RUN

References: Toshniwal and Livescu, "Jointly learning to align and convert graphemes to phonemes with
neural attention models", 2016; Yao and Zweig, "Sequence-to-sequence neural net models for
grapheme-to-phoneme conversion", 2015.
"""
