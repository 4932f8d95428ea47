"""What a score means: the n-grams of its text, and published losses on the same split."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from seqjax.data.text.corpus import TINY_SHAKESPEARE_SHA256

if TYPE_CHECKING:
    from rich.table import Table


class Anchor(NamedTuple):
    """A published loss.

    Attributes:
      name: the model.
      nats: its loss on windows, in nats per character.
    """

    name: str
    nats: float


PUBLISHED = {
    (TINY_SHAKESPEARE_SHA256, "first 90% / last 10%"): (
        Anchor("transformer of nanoGPT (published), windows", 1.4697),
    )
}


def compared(result: Mapping[str, Any]) -> list[tuple[str, float]]:
    """The scores of a run beside what they compare with: names and nats per character.

    Args:
      result: the content of ``result.json``.

    >>> val = {"streaming_nats": 1.5, "windowed_nats": 1.6, "window": 256, "streaming_rows": 1}
    >>> compared({"val": val, "ngram_nats": {"5": 1.561}, "corpus_sha256": "", "split": ""})
    [('this model, streaming', 1.5), ('this model, windows of 256', 1.6), ('5-grams', 1.561)]
    """
    val = result["val"]
    text = (result["corpus_sha256"], result["split"])
    return [
        ("this model, streaming", val["streaming_nats"]),
        (f"this model, windows of {val['window']}", val["windowed_nats"]),
        *((f"{order}-grams", nats) for order, nats in result["ngram_nats"].items()),
        *PUBLISHED.get(text, ()),
    ]


def table(result: Mapping[str, Any]) -> "Table":
    """The scores of a run beside what they compare with, for the console."""
    from rich.table import Table

    val = result["val"]
    per_byte = f"{val['streaming_bits_per_byte']:.4f} bits per byte, streaming"
    shown = Table(title="Loss on the validation text", caption=per_byte)
    shown.add_column("")
    for column in ("nats/char", "bits/char"):
        shown.add_column(column, justify="right")
    for name, nats in compared(result):
        shown.add_row(name, f"{nats:.4f}", f"{nats / math.log(2):.4f}")
    return shown
