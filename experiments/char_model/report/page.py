"""The HTML of the report: one page that needs no other file."""

import html
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import matplotlib.figure

LEVELS = 9  # colours of a scale

STYLE = """
:root { color-scheme: light; }
body { max-width: 52rem; margin: 2rem auto; padding: 0 1rem; color: #222; background: #fff;
  font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } th { text-align: left; font-weight: 600; }
td, th { padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { font: 14px/1.55 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  padding: .8rem; border: 1px solid #ddd; border-radius: .3rem; }
figure { margin: 1rem 0; } figure svg { max-width: 100%; height: auto; }
.note { color: #555; font-size: .9rem; } .key span { padding: 0 .4rem; color: #222; }
.copied { text-decoration: underline 2px #1f77b4; } mark { background: #cfe3f5; }
"""


class Page(NamedTuple):
    """The parts of a page in their order.

    Attributes:
      title: its title.
      parts: HTML.
    """

    title: str
    parts: Sequence[str]

    def render(self) -> str:
        """The whole page."""
        title = html.escape(self.title)
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
            f"<style>{STYLE}{_colours()}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
            + "\n".join(self.parts)
            + "\n</body>\n</html>\n"
        )


def section(title: str, *parts: str) -> str:
    """A heading with what follows it."""
    return "\n".join([f"<h2>{html.escape(title)}</h2>", *parts])


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text.

    >>> paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    mark = f' class="{kind}"' if kind else ""
    return f"<p{mark}>{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """A table. Its columns after the first hold ``numbers`` or text."""
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)] if any(head) else []
    mark = ' class="number"' if numbers else ""
    for first, *others in rows:
        cells = "".join(f"<td{mark}>{html.escape(cell)}</td>" for cell in others)
        lines.append(f"<td>{html.escape(first)}</td>{cells}")
    return "<table>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def figure(fig: "matplotlib.figure.Figure") -> str:
    """A figure as a drawing within the page."""
    file = io.StringIO()
    fig.savefig(file, format="svg", metadata={"Date": None})
    drawing = file.getvalue()
    return f"<figure>{drawing[drawing.index('<svg') :]}</figure>"


def coloured(pieces: Sequence[str], levels: Sequence[int], scale: str, hints: Sequence[str]) -> str:
    """A text whose pieces have a colour of a scale each, ``heat`` or ``sign``, and a hint.

    >>> coloured(["a"], [0], "heat", ["1 bit"])
    '<pre><span class="heat0" title="1 bit">a</span></pre>'
    """
    spans = (
        f'<span class="{scale}{level}" title="{html.escape(hint)}">{_visible(piece)}</span>'
        for piece, level, hint in zip(pieces, levels, hints, strict=True)
    )
    return f"<pre>{''.join(spans)}</pre>"


def key(scale: str, labels: Sequence[str]) -> str:
    """The colours of a scale with a label each."""
    spans = (
        f'<span class="{scale}{n}">{html.escape(label)}</span>' for n, label in enumerate(labels)
    )
    return f'<p class="note key">{"".join(spans)}</p>'


def underlined(text: str, marked: Sequence[bool]) -> str:
    """A text with some characters underlined.

    >>> underlined("abc", [False, True, True])
    '<pre>a<span class="copied">bc</span></pre>'
    """
    runs: list[tuple[bool, str]] = []
    for character, mark in zip(text, marked, strict=True):
        if runs and runs[-1][0] == mark:
            runs[-1] = (mark, runs[-1][1] + character)
        else:
            runs.append((mark, character))
    shown = (
        f'<span class="copied">{html.escape(run)}</span>' if mark else html.escape(run)
        for mark, run in runs
    )
    return f"<pre>{''.join(shown)}</pre>"


def quotation(before: str, passage: str, after: str) -> str:
    """A passage, highlighted between the text before and after it."""
    before, passage, after = map(html.escape, (before, passage, after))
    return f"<pre>… {before}<mark>{passage}</mark>{after} …</pre>"


def _visible(piece: str) -> str:
    return html.escape(piece.replace("\n", "⏎\n"))


def _colours() -> str:
    """The classes of the scales: white to red, and blue over white to orange."""

    def mix(colour: tuple[int, int, int], part: float) -> str:
        return "#" + "".join(f"{round(255 + (c - 255) * part):02x}" for c in colour)

    red, blue, orange = (214, 60, 50), (60, 120, 200), (240, 140, 30)
    rules = []
    for n in range(LEVELS):
        signed = 2 * n / (LEVELS - 1) - 1
        rules.append(f".heat{n} {{ background: {mix(red, n / (LEVELS - 1))}; }}")
        side = orange if signed > 0 else blue
        rules.append(f".sign{n} {{ background: {mix(side, abs(signed))}; }}")
    return "\n".join(rules)
