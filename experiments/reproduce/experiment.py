"""The whole experiment: the runs, the verdicts and the report."""

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from pathlib import Path

import jax
from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from experiments.reproduce.articles import CLAIMS, RUNS
from experiments.reproduce.claims import Claim, Files, Run
from experiments.reproduce.config import Config
from experiments.reproduce.report import (
    AGREES,
    DISAGREES,
    FAILED,
    FAILURES,
    FULL_ONLY,
    NOT_COMPARED,
    Finding,
    Finished,
    Report,
    html_page,
    markdown,
)
from experiments.run_directory import RunDirectory


def execute(run: Run, full: bool, folder: Path) -> Finished:
    """Run a command. Its files go to ``folder/NAME`` and its output to ``NAME.log``."""
    arguments, out, log = run.arguments(full), folder / run.name, folder / f"{run.name}.log"
    began = time.perf_counter()
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run(
            [sys.executable, "-m", *arguments, "--out", str(out)],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "80"},
            check=False,
        )
    trouble = f"it ended with exit code {done.returncode}" if done.returncode else ""
    return Finished(
        run,
        shlex.join(["python", "-m", *arguments]),
        time.perf_counter() - began,
        trouble,
        log.read_text(errors="replace", encoding="utf-8"),
        sorted(out.glob("*.png")),
    )


def judge(claim: Claim, finished: Finished | None, full: bool, folder: Path) -> Finding:
    """Read and judge the measured value; ``finished`` is None if the run did not take place."""
    if finished is None or (claim.full_only and not full):
        return Finding(claim, None, FULL_ONLY)
    if finished.trouble:
        return Finding(claim, None, FAILED)
    lines = (folder / claim.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    result = json.loads((folder / claim.run / "result.json").read_text(encoding="utf-8"))
    try:
        measured = claim.read(Files(result, [json.loads(line) for line in lines]))
        holds = claim.criterion.holds
        if holds is None:
            return Finding(claim, measured, FAILED if measured is None else NOT_COMPARED)
        return Finding(claim, measured, AGREES if holds(measured) else DISAGREES)
    except (LookupError, TypeError, ValueError):  # the value is null or not a number
        return Finding(claim, None, FAILED)


def machine() -> str:
    """A description of the machine."""
    devices = f"{jax.device_count()} {jax.default_backend()} device{'s' * (jax.device_count() > 1)}"
    python = f"Python {platform.python_version()}"
    return f"{python}, jax {jax.__version__}, {os.cpu_count()} cores, {devices}"


def summary_table(report: Report) -> Table:
    """A table of all findings except those that agree or need --full."""
    table = Table(title=report.summary, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for column in ("the article says", "measured", ""):
        table.add_column(column)
    for finding in report.findings:
        if finding.verdict not in (AGREES, FULL_ONLY):
            style = "bold red" if finding.verdict in FAILURES else "dim"
            table.add_row(finding.claim.says, finding.value, finding.verdict, style=style)
    return table


def main(config: Config, folder: RunDirectory) -> None:
    """Run all experiments, judge the claims, and write the report."""
    folder.start()
    console = Console()
    finished: dict[str, Finished] = {}
    findings: dict[Claim, Finding] = {}
    with Progress(
        SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
    ) as progress:
        for run in RUNS:
            if config.full or run.quick is not None:
                bar = progress.add_task(run.name, total=1)
                finished[run.name] = execute(run, config.full, folder.path)
                progress.update(bar, completed=1)
            for claim in CLAIMS:
                if claim.run == run.name:
                    findings[claim] = judge(claim, finished.get(run.name), config.full, folder.path)
                    folder.append_jsonl("metrics.jsonl", record(findings[claim]))
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    report = Report(
        config.full, now, machine(), [findings[c] for c in CLAIMS], [*finished.values()]
    )
    with folder.replacing("report.html") as path:
        path.write_text(html_page(report), encoding="utf-8")
    with folder.replacing("report.md") as path:
        path.write_text(markdown(report), encoding="utf-8")
    runs = [f._asdict() | {"run": f.run.name} for f in report.finished]
    folder.write_json(
        "result.json",
        {"claims": [record(finding) for finding in report.findings], "runs": runs},
    )
    console.print(summary_table(report))
    console.print(f"The report is {folder.path / 'report.html'}", highlight=False)
    if any(finding.verdict in FAILURES for finding in report.findings):
        sys.exit(1)


def record(finding: Finding) -> dict[str, object]:
    """A finding as a JSON record."""
    claim = finding.claim
    return {
        "article": claim.article,
        "says": claim.says,
        "measured": finding.measured,
        "criterion": claim.criterion.text,
        "verdict": finding.verdict,
        "run": claim.run,
    }
