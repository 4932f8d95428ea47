"""Text as tokens: corpora, vocabularies, and the streams and windows made from them."""

from seqjax.data.text.corpus import NAMED_CORPORA, Corpus, read_corpus
from seqjax.data.text.token_file import Pieces, Survey, count_characters, survey, token_file
from seqjax.data.text.tokens import Split, check_token_row, split, split_point, streams, windows
from seqjax.data.text.vocabulary import Vocabulary

__all__ = [
    "NAMED_CORPORA",
    "Corpus",
    "Pieces",
    "Split",
    "Survey",
    "Vocabulary",
    "check_token_row",
    "count_characters",
    "read_corpus",
    "split",
    "split_point",
    "streams",
    "survey",
    "token_file",
    "windows",
]
