"""Texts of any size: read in pieces, and encoded to a file of tokens that is memory-mapped."""

import codecs
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c
import numpy as np

from seqjax.checks import check_choice, check_count
from seqjax.data.text.corpus import (
    ERRORS,
    Errors,
    corpus_files,
    data_folders,
    undecodable,
    unreadable,
)
from seqjax.data.text.vocabulary import Vocabulary, code_points

_PIECE = 1 << 22  # bytes
_CODES = 0x110000  # Unicode has fewer code points


class Pieces(Iterable[str]):
    r"""The text of a file or folder in pieces, which together are that of `read_corpus`.

    Each iteration reads the files again, with a few megabytes of memory.

    Args:
      path: a UTF-8 file, a folder of ``*.txt`` files, or a pattern, as in `read_corpus`.
      errors: as in `read_corpus`.

    Raises:
      ValueError: as `read_corpus`; while it is iterated, if a byte is wrong.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "b.txt").write_text("on the mat")
    ...     _ = Path(folder, "a.txt").write_text("the cat")
    ...     "".join(Pieces(folder))
    'the cat\non the mat'
    """

    def __init__(self, path: str | Path, *, errors: Errors = "strict") -> None:
        check_choice("errors", errors, ERRORS)
        self.files, self.errors = corpus_files(path), errors

    @property
    def size(self) -> int:
        """The number of bytes of the files."""
        return sum(_stat(file).st_size for file in self.files)

    def __iter__(self) -> Iterator[str]:
        for number, path in enumerate(self.files):
            if number:
                yield "\n"
            yield from self._of_file(path)

    def _of_file(self, path: Path) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")(self.errors)
        start = lines = 0  # before this piece
        pending = b""  # the start of a character that the piece before did not complete
        _stat(path)
        with path.open("rb") as file:
            while True:
                piece = file.read(_PIECE)
                if b"\0" in piece:
                    raise undecodable(path, start + piece.index(0))
                try:
                    text = decoder.decode(piece, final=not piece)
                except UnicodeDecodeError as error:
                    offset = start - len(pending)
                    raise undecodable(path, offset, lines, error) from None
                if start == 0:
                    text = text.removeprefix("\ufeff")  # a byte order mark
                yield text
                if not piece:
                    return
                start += len(piece)
                lines += piece.count(b"\n")
                pending = decoder.getstate()[0]


def _stat(path: Path) -> os.stat_result:
    try:
        with path.open("rb"):
            return path.stat()
    except OSError as error:
        raise unreadable(path, error) from None


class Survey(NamedTuple):
    """What `survey` found in a text.

    Attributes:
      length: the number of characters.
      size: the number of bytes in UTF-8.
      sha256: the sha256 of the text in UTF-8, as in `Corpus`.
    """

    length: int
    size: int
    sha256: str


def survey(pieces: Iterable[str]) -> Survey:
    """Count the characters of a text.

    >>> survey(["to be ", "or not"])[:2]
    (12, 12)
    """
    length, size, digest = 0, 0, hashlib.sha256()
    for piece in pieces:
        data = piece.encode()
        digest.update(data)
        length, size = length + len(piece), size + len(data)
    return Survey(length, size, digest.hexdigest())


def count_characters(pieces: Iterable[str], start: int, end: int) -> dict[str, int]:
    """Count each character among those from ``start`` to ``end``, in the order of code points.

    >>> count_characters(["to be ", "or not"], 3, 8)
    {' ': 1, 'b': 1, 'e': 1, 'o': 1, 'r': 1}
    """
    check_count("count_characters", "start", start)
    check_count("count_characters", "end", end)
    counts, position = np.zeros(_CODES, np.int64), 0
    for piece in pieces:
        part = piece[max(0, start - position) : max(0, end - position)]
        found = np.bincount(code_points(part))
        counts[: len(found)] += found
        position += len(piece)
        if position >= end:
            break
    return {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}


def token_file(
    pieces: Iterable[str], vocabulary: Vocabulary, found: Survey, *, folder: Path | None = None
) -> np.ndarray:
    """Encode a text to a file, or find the file that an earlier call wrote.

    The file lies in the folder ``tokens`` of the data folder, under a name made of the checksum of
    the text and of the vocabulary. It is checked when it is found, and written again if it is
    damaged. It may be removed when no process uses it.

    Args:
      pieces: the text.
      vocabulary: encodes the text.
      found: the survey of the text.
      folder: the data folder; defaults to the first one of `read_corpus`.

    Returns:
      The tokens ``[N]``, a memory-mapped array of the smallest of uint8, uint16 and int32 that can
      hold them.

    Raises:
      ValueError: the vocabulary lacks a character, the text is not the one that was surveyed, or
        the file cannot be written.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> text = ["to be ", "or not"]
    >>> tokens = token_file(text, Vocabulary.of("".join(text)), survey(text), folder=folder)
    >>> type(tokens).__name__, tokens.dtype, tokens[:5]
    ('memmap', dtype('uint8'), memmap([6, 4, 0, 1, 2], dtype=uint8))
    """
    count = found.size if vocabulary.characters is None else found.length
    fitting = (t for t in (np.uint8, np.uint16, np.int32) if vocabulary.size <= np.iinfo(t).max + 1)
    dtype = np.dtype(next(fitting))
    kind = json.dumps([found.sha256, vocabulary.to_json(), dtype.name])
    name = hashlib.sha256(kind.encode()).hexdigest()[:32]
    folder = (folder or data_folders()[0]) / "tokens"
    path = folder / f"{name}.tokens"
    if not _is_whole(path, count * dtype.itemsize):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _replace(path, pieces, vocabulary, dtype, count)
        except OSError as error:
            raise ValueError(
                f"{folder}: cannot write {count * dtype.itemsize:,} bytes of tokens: "
                f"{error.strerror}; set SEQJAX_DATA to a folder with space"
            ) from None
    return np.memmap(path, dtype, mode="r")


def _replace(
    path: Path, pieces: Iterable[str], vocabulary: Vocabulary, dtype: np.dtype, count: int
) -> None:
    """Write the file whole, or not at all."""
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(8)}")
    try:
        crc = _write(temporary, pieces, vocabulary, dtype, count)
        _checksum_of(path).write_text(
            str(crc), encoding="utf-8"
        )  # before the tokens: an older file does not match
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write(
    path: Path, pieces: Iterable[str], vocabulary: Vocabulary, dtype: np.dtype, count: int
) -> int:
    """Write the tokens, and return their checksum."""
    position, crc = 0, 0
    with path.open("xb") as file:
        for piece in pieces:
            tokens = vocabulary.encode(piece, offset=position).astype(dtype)
            data = tokens.tobytes()
            file.write(data)
            crc = google_crc32c.extend(crc, data)
            position += len(tokens)
        file.flush()
        os.fsync(file.fileno())
    if position != count:
        raise ValueError(
            f"the text has {position:,} tokens, but had {count:,} when it was surveyed; do not "
            "change it while it is read"
        )
    return crc


def _checksum_of(path: Path) -> Path:
    return path.with_suffix(".crc32c")


def _is_whole(path: Path, size: int) -> bool:
    try:
        wanted = int(_checksum_of(path).read_text(encoding="utf-8"))
        if path.stat().st_size != size:
            return False
    except (OSError, ValueError):
        return False
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            crc = google_crc32c.extend(crc, piece)
    return crc == wanted
