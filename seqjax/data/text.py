"""Text as tokens: corpora, vocabularies, and the streams and windows made from them."""

import codecs
import dataclasses
import hashlib
import http.client
import os
import secrets
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np

from seqjax.checks import check_choice, check_size

Errors = Literal["strict", "replace"]
TextOrTokens = TypeVar("TextOrTokens", str, np.ndarray)

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
        depth are sorted and joined by newlines; ``"python_docs"``, the help texts of this Python
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
    check_choice("errors", errors, get_args(Errors))
    if name == "tiny_shakespeare":
        text = _decode(name, _tiny_shakespeare(folder), errors)
    elif name == "python_docs":
        from pydoc_data.topics import topics  # half a megabyte, imported only when needed

        text = "\n".join(topics[topic] for topic in sorted(topics))
    else:
        path = Path(name).expanduser()
        files = sorted(p for p in path.rglob("*.txt") if p.is_file()) if path.is_dir() else [path]
        if not files:
            raise ValueError(f"{path}: this folder holds no *.txt files; name a file in it")
        text = "\n".join(_decode(file, _read_bytes(file), errors) for file in files)
        name = path.resolve().name
    if not text:
        raise ValueError(f"{name} is empty; give a text with characters")
    return Corpus(str(name), text, _sha256(text.encode()))


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"{path}: cannot read this corpus: {error.strerror}; give a UTF-8 file, a folder of "
            f"*.txt files, or one of {', '.join(NAMED_CORPORA)}"
        ) from None


def _decode(name: str | Path, data: bytes, errors: Errors) -> str:
    if b"\0" in data:
        raise ValueError(
            f"{name}: byte {data.index(0)} is NUL, so this is not a UTF-8 text; if it has "
            "another encoding, convert it to UTF-8"
        )
    try:
        return data.decode(errors=errors).removeprefix("\ufeff")  # a byte order mark
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{name}: byte {error.start}, in line {line}, is 0x{data[error.start]:02x}, which is "
            f"not UTF-8 there ({error.reason}); convert the text to UTF-8, or read it with "
            "errors='replace'"
        ) from None


def _tiny_shakespeare(folder: Path | None) -> bytes:
    default = Path(os.environ.get("SEQJAX_DATA") or "~/.cache/seqjax").expanduser()
    paths = [f / "tiny_shakespeare.txt" for f in ([folder] if folder else [default, Path("data")])]
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


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    r"""The tokens of characters or of bytes.

    Token n is ``characters[n]``. If ``unknown`` is set, a last token represents all other
    characters. If ``characters`` is None, the tokens are the 256 bytes of UTF-8, which can encode
    every text.

    Args:
      characters: the known characters, or None for bytes.
      unknown: whether there is a token for unknown characters.

    Raises:
      ValueError: a character occurs twice, there is no token, or ``unknown`` is set for bytes.

    >>> vocabulary = Vocabulary.of("to be or not to be")
    >>> vocabulary.characters, vocabulary.size
    (' benort', 7)
    >>> vocabulary.encode("tree")
    array([6, 5, 2, 2], dtype=int32)
    >>> vocabulary.decode([1, 2, 5, 6])
    'bert'
    >>> Vocabulary(None).encode("né")
    array([110, 195, 169], dtype=int32)
    """

    characters: str | None
    unknown: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.characters, str | None) or not isinstance(self.unknown, bool):
            raise ValueError(
                f"Vocabulary: characters must be a string or None, and unknown a bool, got {self}"
            )
        if self.characters is None:
            if self.unknown:
                raise ValueError("Vocabulary: bytes have no unknown token; remove unknown=True")
        elif len(set(self.characters)) < len(self.characters):
            raise ValueError(f"Vocabulary: characters must all differ, got {self.characters!r}")
        elif not self.size:
            raise ValueError("Vocabulary: characters must not be empty; use Vocabulary.of(text)")

    @classmethod
    def of(cls, text: str, *, min_count: int = 1) -> "Vocabulary":
        """Make a vocabulary of the characters that occur ``min_count`` times or more in ``text``.

        They are in the order of their code points. With a ``min_count`` of 2 or more there is a
        token for unknown characters, which a model learns from the rare ones.

        >>> Vocabulary.of("to be or not to be!", min_count=2)
        Vocabulary(characters=' beot', unknown=True)
        """
        check_size("Vocabulary.of", "min_count", min_count)
        codes, counts = np.unique(_code_points(text), return_counts=True)
        return cls(_characters(codes[counts >= min_count]), unknown=min_count > 1)

    @property
    def size(self) -> int:
        """The number of tokens, V."""
        return 256 if self.characters is None else len(self.characters) + self.unknown

    def encode(self, text: str) -> np.ndarray:
        """Return the tokens of ``text``, ``int32[N]``; N is its number of characters or of bytes.

        Raises:
          ValueError: the vocabulary lacks a character and has no token for unknown ones.

        >>> Vocabulary("abc").encode("bad")
        Traceback (most recent call last):
        ...
        ValueError: the vocabulary lacks these characters: 'd' at 2; remove them from the text, or \
build the vocabulary with min_count=2 or more, which has a token for unknown ones
        """
        if self.characters is None:
            return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        codes, known = _code_points(text), _code_points(self.characters)
        table = np.full(known.max(initial=0) + 2, len(known) if self.unknown else -1, np.int32)
        table[known] = np.arange(len(known))
        tokens: np.ndarray = table[np.minimum(codes, len(table) - 1)]
        lacking = np.flatnonzero(tokens < 0)
        if lacking.size:
            _, first = np.unique(codes[lacking], return_index=True)
            first = lacking[np.sort(first)]
            named = ", ".join(f"{text[position]!r} at {position}" for position in first[:8])
            more = f" and {len(first) - 8} more" if len(first) > 8 else ""
            raise ValueError(
                f"the vocabulary lacks these characters: {named}{more}; remove them from the text, "
                "or build the vocabulary with min_count=2 or more, which has a token for unknown "
                "ones"
            )
        return tokens

    def decode(self, tokens: Any) -> str:
        """Return the text of integers ``[N]``; unknown characters and invalid UTF-8 become U+FFFD.

        Raises:
          ValueError: the tokens are not integers ``[N]`` in ``[0, size)``.

        >>> Vocabulary("abc", unknown=True).decode([0, 3, 2])
        'a�c'
        """
        tokens = check_token_row(tokens, self.size)
        if self.characters is None:
            return tokens.astype(np.uint8).tobytes().decode(errors="replace")
        return _characters(_code_points(self.characters + "\ufffd")[tokens])

    def decode_stream(self, pieces: Iterable[Any]) -> Iterator[str]:
        """Decode tokens as they arrive, in ``pieces`` of integers ``[n]``.

        Incomplete bytes of a character are held back until the piece that completes it.

        >>> [*Vocabulary(None).decode_stream([[110, 195], [169], [101]])]
        ['n', 'é', 'e']
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for tokens in pieces:
            if self.characters is None:
                yield decoder.decode(check_token_row(tokens, self.size).astype(np.uint8).tobytes())
            else:
                yield self.decode(tokens)
        if rest := decoder.decode(b"", final=True):
            yield rest

    def to_json(self) -> dict[str, Any]:
        """Return the vocabulary as JSON data for `from_json`."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Any) -> "Vocabulary":
        """Return the vocabulary that `to_json` described, or raise ``ValueError``.

        >>> vocabulary = Vocabulary.of("abc")
        >>> Vocabulary.from_json(vocabulary.to_json()) == vocabulary
        True
        """
        if not isinstance(content, dict) or content.keys() != {"characters", "unknown"}:
            raise ValueError(
                f"a vocabulary is an object of 'characters' and 'unknown', got {content!r:.80}"
            )
        return cls(**content)


def check_token_row(tokens: Any, size: int | None = None) -> np.ndarray:
    """Return ``tokens`` as an array of integers ``[N]``, in ``[0, size)`` if ``size`` is given.

    Raises:
      ValueError: the tokens are not such integers.

    >>> check_token_row([0, 2, 1], size=2)
    Traceback (most recent call last):
    ...
    ValueError: tokens must lie in [0, 2), the vocabulary, got 2 at 1
    """
    tokens = np.asarray(tokens)
    if not tokens.size:
        tokens = tokens.astype(np.int32)  # NumPy converts an empty list to floats
    if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens must be integers [N], got {tokens.dtype} of shape {tokens.shape}")
    if size is not None:
        outside = np.flatnonzero((tokens < 0) | (tokens >= size))
        if outside.size:
            raise ValueError(
                f"tokens must lie in [0, {size}), the vocabulary, got {tokens[outside[0]]} "
                f"at {outside[0]}"
            )
    return tokens


# lone surrogates, which a command line may contain, are unknown characters
def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _characters(codes: np.ndarray) -> str:
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


class Split(NamedTuple, Generic[TextOrTokens]):
    """A split of a text or tokens ``[N]`` into ``train`` and ``validation``, with its ``name``."""

    train: TextOrTokens
    validation: TextOrTokens
    name: str


def split(text: TextOrTokens, validation: float = 0.1) -> Split[TextOrTokens]:
    """Split a text or tokens ``[N]``; the last fraction ``validation`` is for validation.

    Raises:
      ValueError: a part would be empty.

    >>> split("0123456789")
    Split(train='012345678', validation='9', name='first 90% / last 10%')
    """
    end = int(len(text) * (1 - validation)) if 0 < validation < 1 else 0
    if not 0 < end < len(text):
        raise ValueError(
            f"split: validation must be a fraction in (0, 1) that leaves neither part of a text of "
            f"length {len(text)} empty, got {validation}"
        )
    name = f"first {100 * (1 - validation):g}% / last {100 * validation:g}%"
    return Split(text[:end], text[end:], name)


def streams(tokens: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Split tokens into rows for a model that carries its state from chunk to chunk.

    Each row continues where the row before it ends. `seqjax.truncation.chunks` splits the rows into
    chunks.

    Args:
      tokens: integers ``[L]``.
      rows: B, the number of rows.

    Returns:
      ``(inputs, targets)``, both ``[B, N]`` with ``N = (L - 1) // B``. A target is the token after
      its input. Fewer than B tokens at the end are dropped.

    Raises:
      ValueError: the tokens are not integers ``[L]``, or there are fewer than B + 1.

    >>> streams(np.arange(8), 2)
    (array([[0, 1, 2],
           [3, 4, 5]]), array([[1, 2, 3],
           [4, 5, 6]]))
    """
    check_size("streams", "rows", rows)
    tokens = check_token_row(tokens)
    length = (len(tokens) - 1) // rows
    if length < 1:
        raise ValueError(
            f"{len(tokens)} tokens are too few for {rows} rows, which need {rows + 1} or more; "
            "give a longer text or fewer rows"
        )
    used = rows * length
    return tokens[:used].reshape(rows, -1), tokens[1 : used + 1].reshape(rows, -1)


def windows(tokens: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split tokens into windows that a model reads one by one, each from its initial state.

    Args:
      tokens: integers ``[L]``.
      size: T, the length of a window.

    Returns:
      ``(inputs, targets, lengths)``, of shapes ``[W, T]``, ``[W, T]`` and ``int32[W]``. W is the
      least number of windows in which every token but the first is a target. The last window is
      padded with zeros.

    Raises:
      ValueError: the tokens are not integers ``[L]``, or there are fewer than 2.

    >>> inputs, targets, lengths = windows(np.arange(6), 3)
    >>> print(inputs, targets, lengths, sep=", ")
    [[0 1 2]
     [3 4 0]], [[1 2 3]
     [4 5 0]], [3 2]
    """
    check_size("windows", "size", size)
    tokens = check_token_row(tokens)
    total = len(tokens) - 1
    if total < 1:
        raise ValueError(
            f"{len(tokens)} tokens are too few for a window; give 2 or more, an input and a target"
        )
    starts = np.arange(0, total, size)
    padding = (0, len(starts) * size - total)
    inputs, targets = (np.pad(t, padding).reshape(-1, size) for t in (tokens[:-1], tokens[1:]))
    return inputs, targets, np.minimum(total - starts, size).astype(np.int32)
