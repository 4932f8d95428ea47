"""The report: one self-contained HTML page, and its tables as Markdown."""

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.reproduce.articles import ARTICLES
from experiments.reproduce.claims import Claim, Run, shown

AGREES = "agrees"
DISAGREES = "DISAGREES"
FAILED = "NOT MEASURED"
NOT_COMPARED = "not compared"
FULL_ONLY = "needs --full"
FAILURES = (DISAGREES, FAILED)
COUNTED = {  # the text of each verdict in the summary
    AGREES: "agree",
    DISAGREES: "DISAGREE",
    FAILED: "could NOT BE MEASURED",
    NOT_COMPARED: "are not compared",
    FULL_ONLY: "need --full",
}


class Finding(NamedTuple):
    """A claim and its measured value."""

    claim: Claim
    measured: Any  # None if nothing was measured
    verdict: str

    @property
    def value(self) -> str:
        """The measured value with its unit."""
        if self.measured is None:
            return "-"
        text = shown(self.measured)
        if len(text) > 100:
            text = f"{text[:12]}… ({len(text)} characters)"
        return f"{text} {self.claim.unit}".rstrip()


class Finished(NamedTuple):
    """A run that has ended."""

    run: Run
    command: str
    seconds: float
    trouble: str  # why it has no results; empty if it has results
    printed: str
    figures: Sequence[Path]


class Report(NamedTuple):
    """The content of the report."""

    full: bool
    when: str
    machine: str
    findings: Sequence[Finding]
    finished: Sequence[Finished]

    @property
    def summary(self) -> str:
        """The number of claims with each verdict."""
        verdicts = [finding.verdict for finding in self.findings]
        counts = (f"{verdicts.count(k)} {text}" for k, text in COUNTED.items() if k in verdicts)
        return f"Of {len(verdicts)} claims {', '.join(counts)}"

    @property
    def seconds(self) -> dict[str, float]:
        """The duration of each run, by name."""
        return {finished.run.name: finished.seconds for finished in self.finished}

    def by_article(self) -> Iterable[tuple[str, list[Finding]]]:
        """The title of each article with its findings."""
        for key, title in ARTICLES.items():
            if findings := [f for f in self.findings if f.claim.article == key]:
                yield title, findings


HEADERS = ("The article says", "Measured", "Verdict", "Criterion", "Run and seconds")
TITLE = "Five articles of 2016, measured again"
STYLE = """
:root { color-scheme: light dark; --line: #d5d9e0; --soft: #f3f5f8; --good: #14713d;
  --bad: #b3261e; --quiet: #5b6472; }
@media (prefers-color-scheme: dark) { :root { --line: #3a404a; --soft: #22262d; --good: #6fd39b;
  --bad: #ff9d94; --quiet: #a3acb9; } }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-weight: 600; }
th:nth-child(1) { width: 34%; }
th:nth-child(3) { width: 9rem; }
th:nth-child(5) { width: 13rem; }
td:nth-child(2) { font-variant-numeric: tabular-nums; }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 700; }
.quiet { color: var(--quiet); }
.summary { background: var(--soft); border-left: .3rem solid currentcolor; padding: .7rem 1rem; }
pre { background: var(--soft); padding: .8rem; overflow-x: auto; overflow-wrap: normal;
  font-size: .8rem; line-height: 1.35; }
img { max-width: 100%; height: auto; background: #fff; border-radius: .3rem; }
figure { margin: 1rem 0; }
@media (max-width: 44rem) {
  thead { display: none; }
  table, tbody, tr, td { display: block; }
  tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  td { border: 0; padding: .15rem 0; }
  td:nth-child(1) { font-weight: 600; }
  td:nth-child(n+2)::before { content: attr(data-label) ": "; color: var(--quiet);
    font-weight: 400; }
}
"""


def html_page(report: Report) -> str:
    """The report as one HTML page, which includes its styles and figures."""
    failed = any(finding.verdict in FAILURES for finding in report.findings)
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{TITLE}</title><style>{STYLE}</style></head><body>",
        f"<header><h1>{TITLE}</h1>",
        f'<p class="summary {"bad" if failed else "good"}">{_text(report.summary)}.</p>',
        f'<p class="quiet">{_text(_provenance(report))}</p></header><main>',
    ]
    for title, findings in report.by_article():
        parts += [f"<section><h2>{_text(title)}</h2>", *_table(report, findings), "</section>"]
    parts.append("<section><h2>The runs</h2>")
    for finished in report.finished:
        parts += _run_section(finished)
    return "\n".join([*parts, "</section></main></body></html>", ""])


def markdown(report: Report) -> str:
    """The tables of the report."""
    lines = [f"# {TITLE}", "", f"{report.summary}.", "", _provenance(report)]
    for title, findings in report.by_article():
        lines += ["", f"## {title}", "", _row(HEADERS), _row(["---"] * len(HEADERS))]
        lines += [_row(_cells(report, finding)) for finding in findings]
    lines += ["", "## The runs", "", _row(["Run", "Command", "Seconds"]), _row(["---"] * 3)]
    for finished in report.finished:
        trouble = finished.trouble and f" ({finished.trouble})"
        cells = (finished.run.name, f"`{finished.command}`", f"{finished.seconds:.0f}{trouble}")
        lines.append(_row(cells))
    return "\n".join([*lines, ""])


def _provenance(report: Report) -> str:
    mode = "Full mode" if report.full else "Quick mode: fewer seeds and steps than with --full"
    return f"{mode}. {report.when}, {report.machine}."


def _cells(report: Report, finding: Finding) -> list[str]:
    claim = finding.claim
    seconds = report.seconds.get(claim.run)  # None if the run did not take place
    run = claim.run if seconds is None else f"{claim.run}, {seconds:.0f}"
    return [claim.says, finding.value, finding.verdict, claim.criterion.text, run]


def _table(report: Report, findings: Sequence[Finding]) -> Iterable[str]:
    yield "<table><thead><tr>"
    yield from (f'<th scope="col">{header}</th>' for header in HEADERS)
    yield "</tr></thead><tbody>"
    colours = {AGREES: "good", DISAGREES: "bad", FAILED: "bad"}
    for finding in findings:
        cells = [_text(cell) for cell in _cells(report, finding)]
        cells[2] = f'<span class="{colours.get(finding.verdict, "quiet")}">{cells[2]}</span>'
        if finding.claim.run in report.seconds:
            cells[4] = f'<a href="#{finding.claim.run}">{cells[4]}</a>'
        yield "<tr>"
        yield from (
            f'<td data-label="{header}">{cell}</td>'
            for header, cell in zip(HEADERS, cells, strict=True)
        )
        yield "</tr>"
    yield "</tbody></table>"


def _run_section(finished: Finished) -> Iterable[str]:
    name = finished.run.name
    yield f'<section id="{name}"><h3>{name}</h3><pre><code>{_text(finished.command)}</code></pre>'
    yield f"<p>{finished.seconds:.0f} seconds.</p>"
    if finished.trouble:
        yield f'<p class="bad">{_text(finished.trouble)}</p>'
    for path in finished.figures:
        data = base64.b64encode(path.read_bytes()).decode()
        title = _text(path.stem.replace("_", " "))
        yield f'<figure><img src="data:image/png;base64,{data}" alt="{name}: {title}">'
        yield f"<figcaption>{title}</figcaption></figure>"
    hidden = "" if not finished.trouble else " open"
    yield f"<details{hidden}><summary>Output</summary><pre>{_text(finished.printed)}"
    yield "</pre></details></section>"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text(text: str) -> str:
    return html.escape(text)
