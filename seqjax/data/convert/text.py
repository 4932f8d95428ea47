"""The command ``text``: each line of a text is a sequence of tokens."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seqjax.data.convert.files import check_twice, decode, lines
from seqjax.data.convert.output import Located, Output, save
from seqjax.data.convert.vocabulary import saved_vocabulary
from seqjax.data.schema import Feature, Schema


def text(
    source: Path,
    out: Path,
    /,
    tokens: Literal["bytes", "characters"] = "bytes",
    vocabulary: Path | None = None,
    output: Output = Output(),  # noqa: B008
) -> None:
    """Convert each line of a UTF-8 text to a sequence of tokens.

    Args:
      source: the text; line ends are removed.
      out: directory of the data set.
      tokens: type of the tokens; bytes are uint8, characters are int32.
      vocabulary: JSON list of the characters, in the order of their numbers; created if it does not
        exist.
      output: the files and the split.
    """
    if (tokens == "characters") != (vocabulary is not None):
        raise ValueError(
            "--tokens characters and --vocabulary FILE must be given together, got --tokens "
            f"{tokens} {'with' if vocabulary else 'without'} a vocabulary"
        )
    with contextlib.ExitStack() as stack:
        numbers: Mapping[str, int] = {}
        if vocabulary:
            if not vocabulary.exists():
                check_twice(source, "a new vocabulary")
            texts = lambda: (decode(source, *line) for line in lines(source))  # noqa: E731
            numbers = stack.enter_context(saved_vocabulary(vocabulary, texts))

        def tokens_of(line: int, content: bytes) -> Any:
            if not vocabulary:
                return np.frombuffer(content, np.uint8)
            try:
                return [numbers[character] for character in decode(source, line, content)]
            except KeyError as error:
                raise ValueError(f"{source}, line {line}: {error} is not in {vocabulary}") from None

        def examples() -> Iterator[Located]:
            for line, content in lines(source):
                example = {"tokens": tokens_of(line, content)}
                yield Located(f"{source}, line {line}", example)

        schema = Schema(sequence={"tokens": Feature(np.int32 if vocabulary else np.uint8)})
        save(source, out, schema, examples, output)
