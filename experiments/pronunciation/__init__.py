"""Pronunciation: from English spelling to phonemes, on the CMU Pronouncing Dictionary."""
