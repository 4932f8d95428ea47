"""Reading files with a progress bar."""

import codecs
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


def lines(source: Path, *, show: bool = True) -> Iterator[tuple[int, bytes]]:
    """Yield the number and the content of each line, without a byte order mark and line ends."""
    with opened(source, "rb") if show else source.open("rb") as file:
        for line, content in enumerate(file, start=1):
            if line == 1:
                content = content.removeprefix(codecs.BOM_UTF8)
            yield line, content.rstrip(b"\r\n")


def decode(source: Path, line: int, content: bytes) -> str:
    """Return the text of a line, or raise ``ValueError``."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}, line {line}: {error}; convert the file to UTF-8") from None


def check_twice(source: Path, why: str) -> None:
    """Raise ``ValueError`` if a source can be read only once."""
    if source.exists() and not source.is_file():
        raise ValueError(f"{source}: must be a file, since {why} reads it twice")


def opened(source: Path, mode: Any, **options: Any) -> Any:
    """Open a file, with a progress bar of how much of it is read."""
    from rich import progress
    from rich.console import Console

    return progress.open(
        source, mode, description=source.name, console=Console(stderr=True), **options
    )


def tracked(items: Iterable[Any], name: str) -> Iterable[Any]:
    """Iterate with a progress bar."""
    from rich import progress
    from rich.console import Console

    return progress.track(items, name, console=Console(stderr=True))
