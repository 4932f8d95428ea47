"""Texts: a file, a folder, or a corpus with a name."""

import glob
import hashlib
import http.client
import os
import secrets
import urllib.request
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from seqjax.checks import check_choice

Errors = Literal["strict", "replace"]
ERRORS: tuple[Errors, ...] = get_args(Errors)

NAMED_CORPORA = ("tiny_shakespeare", "python_docs")
TINY_SHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
TINY_SHAKESPEARE_BYTES = 1_115_394
TINY_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


class Corpus(NamedTuple):
    """A text and its name.

    Attributes:
      name: the name of the text in results.
      text: the text.
      sha256: the sha256 of the text in UTF-8.
    """

    name: str
    text: str
    sha256: str


def read_corpus(
    name: str | Path, *, folder: Path | None = None, errors: Errors = "strict"
) -> Corpus:
    r"""Read a text.

    Args:
      name: a UTF-8 file, whose byte order mark is removed; a folder, whose ``*.txt`` files at any
        depth are sorted and joined by newlines; a pattern such as ``"src/**/*.py"``, whose files
        are too; ``"python_docs"``, the help texts of this Python
        (about 465,000 characters, which differ between versions); or ``"tiny_shakespeare"``, which
        is looked up in the data folders, then in the files of tensorflow-datasets
        (``$TFDS_DATA_DIR`` or ``~/tensorflow_datasets``), and otherwise downloaded into the first
        data folder.
      folder: the data folder. By default there are two, ``$SEQJAX_DATA`` (or ``~/.cache/seqjax`` if
        it is not set) and ``./data``.
      errors: ``"replace"`` reads bytes that are not UTF-8 as U+FFFD.

    Raises:
      ValueError: there is no such text, it is empty or not UTF-8 (the message names the byte and
        the line), or the download failed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "b.txt").write_text("on the mat")
    ...     _ = Path(folder, "a.txt").write_text("the cat")
    ...     read_corpus(folder).text
    'the cat\non the mat'
    """
    check_choice("errors", errors, ERRORS)
    if name == "tiny_shakespeare":
        text = _decode(name, _tiny_shakespeare(folder), errors)
    elif name == "python_docs":
        from pydoc_data.topics import topics  # half a megabyte, imported only when needed

        text = "\n".join(topics[topic] for topic in sorted(topics))
    else:
        files = corpus_files(name)
        text = "\n".join(_decode(file, _read_bytes(file), errors) for file in files)
        name = Path(name).expanduser().resolve().name
    if not text:
        raise ValueError(f"{name} is empty; give a text with characters")
    return Corpus(str(name), text, _sha256(text.encode()))


def corpus_files(path: str | Path) -> list[Path]:
    """The files of a text in order: a file, the ``*.txt`` files of a folder, or those of a pattern.

    Raises:
      ValueError: there is no such file in the folder, or of the pattern.

    >>> [str(path) for path in corpus_files("play.txt")]
    ['play.txt']
    """
    path = Path(path).expanduser()
    if path.is_dir():
        found = sorted(p for p in path.rglob("*.txt") if p.is_file())
        if not found:
            raise ValueError(
                f"{path}: this folder holds no *.txt files; name its files by a pattern, such as "
                f"'{path}/**/*.py'"
            )
        return found
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(p for p in map(Path, glob.glob(str(path), recursive=True)) if p.is_file())
    if not found:
        raise ValueError(f"{path}: no file matches this pattern; ** matches any folders")
    return found


def data_folders() -> list[Path]:
    """The data folders: ``$SEQJAX_DATA``, or ``~/.cache/seqjax`` if it is not set, and ``./data``.

    >>> len(data_folders())
    2
    """
    return [Path(os.environ.get("SEQJAX_DATA") or "~/.cache/seqjax").expanduser(), Path("data")]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> ValueError:
    """The error of a file that cannot be read.

    >>> unreadable(Path("play.txt"), OSError(2, "No such file or directory"))
    ValueError('play.txt: cannot read this corpus: No such file or directory; give a UTF-8 file, ...
    """
    return ValueError(
        f"{path}: cannot read this corpus: {error.strerror}; give a UTF-8 file, a folder of "
        f"*.txt files, a pattern such as src/**/*.py, or one of {', '.join(NAMED_CORPORA)}"
    )


def _decode(name: str | Path, data: bytes, errors: Errors) -> str:
    if b"\0" in data:
        raise undecodable(name, data.index(0))
    try:
        return data.decode(errors=errors).removeprefix("\ufeff")  # a byte order mark
    except UnicodeDecodeError as error:
        raise undecodable(name, 0, 0, error) from None


def undecodable(
    name: str | Path, offset: int, lines: int = 0, error: UnicodeDecodeError | None = None
) -> ValueError:
    r"""The error of a text that is not UTF-8.

    Args:
      name: the name of the text.
      offset: the position of a NUL byte, or of the part that ``error`` is about.
      lines: the number of line ends before that part.
      error: the error of decoding, or None for a NUL byte.

    >>> undecodable("play.txt", 7)
    ValueError('play.txt: byte 7 is NUL, so this is not a UTF-8 text; if it has another ...
    """
    if error is None:
        return ValueError(
            f"{name}: byte {offset} is NUL, so this is not a UTF-8 text; if it has "
            "another encoding, convert it to UTF-8"
        )
    line = lines + error.object.count(b"\n", 0, error.start) + 1
    return ValueError(
        f"{name}: byte {offset + error.start}, in line {line}, is "
        f"0x{error.object[error.start]:02x}, which is not UTF-8 there ({error.reason}); convert "
        "the text to UTF-8, or read it with errors='replace'"
    )


def _tiny_shakespeare(folder: Path | None) -> bytes:
    paths = [f / "tiny_shakespeare.txt" for f in ([folder] if folder else data_folders())]
    for path in paths:
        if path.exists():
            data = _read_bytes(path)
            if _sha256(data) != TINY_SHAKESPEARE_SHA256:
                raise ValueError(
                    f"{path} is not tiny_shakespeare: its sha256 is {_sha256(data)}, expected "
                    f"{TINY_SHAKESPEARE_SHA256}; remove it, or read it by its path"
                )
            return data
    prepared = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()
    if found := _from_tensorflow_datasets(prepared):
        return found
    try:
        with urllib.request.urlopen(TINY_SHAKESPEARE_URL, timeout=30) as response:
            data = response.read(TINY_SHAKESPEARE_BYTES + 1)
        if len(data) > TINY_SHAKESPEARE_BYTES:
            raise OSError(f"the download has more than {TINY_SHAKESPEARE_BYTES:,} bytes")
        if _sha256(data) != TINY_SHAKESPEARE_SHA256:
            raise OSError(f"the download has sha256 {_sha256(data)}")
        _write_whole(paths[0], data)
    except (OSError, http.client.HTTPException) as error:
        raise ValueError(
            f"tiny_shakespeare is not at {' nor at '.join(map(str, paths))}, nor in the files "
            f"of tensorflow-datasets in {prepared} (which need seqjax[records]), and "
            f"downloading it from {TINY_SHAKESPEARE_URL} failed: {error}; put the file at "
            f"{paths[0]}, give the path of another text, or use python_docs, which needs no "
            "network"
        ) from None
    return data


def _from_tensorflow_datasets(prepared: Path) -> bytes | None:
    """Return the text that tensorflow-datasets has stored, one example in each part, or None."""
    pattern = "tiny_shakespeare/*/tiny_shakespeare-{}.tfrecord*"
    parts = ("train", "validation", "test")
    if not all([*prepared.glob(pattern.format(part))] for part in parts):
        return None
    try:  # reading records has optional dependencies
        from seqjax.data.records import Feature, RecordSource, Schema

        schema = Schema(context={"text": Feature(np.object_)})
        sources = [RecordSource(prepared / pattern.format(part), schema) for part in parts]
    except ImportError:
        return None
    examples = (source.read(np.array([0]))[0] for source in sources)
    data = b"".join(example["text"].item() for example in examples)
    if _sha256(data) != TINY_SHAKESPEARE_SHA256:
        raise ValueError(
            f"the tiny_shakespeare in {prepared} has sha256 {_sha256(data)}, expected "
            f"{TINY_SHAKESPEARE_SHA256}; remove it to download the text"
        )
    return data


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # each process has its own name, since two may download at once
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:  # with the permissions of the umask, unlike tempfile
            file.write(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
