"""The memory of a long run that saves a checkpoint every minute, on Linux.

    $ python -m benchmarks.soak --minutes 60

Trains the character model's preset `small` and prints the resident memory of the process at each
checkpoint. Memory that grows from checkpoint to checkpoint is a leak.
"""

import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro


@dataclasses.dataclass(frozen=True)
class Config:
    """Train for a while, and measure the memory of the process at each checkpoint."""

    minutes: int = 60
    """Minutes of training, and number of checkpoints."""
    corpus: str = "python_docs"
    """Text to train on."""


def resident(process: int) -> int:
    """The resident memory of a process in bytes."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def evaluations(log: Path) -> list[int]:
    """The steps of the checkpoints so far."""
    if not log.exists():
        return []
    lines = (
        log.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    )  # the last may be incomplete
    return [record["step"] for record in map(json.loads, lines) if "validation_nats" in record]


def growth(memory: list[int]) -> float:
    """The slope of the second half of ``memory``, in bytes per checkpoint.

    >>> growth([5, 9, 10, 11, 12, 13])
    1.0
    """
    later = memory[len(memory) // 2 :]
    return float(np.polyfit(np.arange(len(later)), later, 1)[0].round(6))


def main(config: Config) -> None:
    """Run the training and print the table."""
    run = Path(tempfile.mkdtemp()) / "run"
    command = [
        sys.executable, "-m", "experiments.char_model", "train", "--corpus", config.corpus,
        "--max-seconds", str(60 * config.minutes), "--evaluations", str(config.minutes),
        "--out", str(run),
    ]  # fmt: skip
    memory: list[int] = []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    print("checkpoint    step    resident memory", flush=True)
    while process.poll() is None:
        steps = evaluations(run / "metrics.jsonl")
        if len(steps) > len(memory):
            memory.append(resident(process.pid))
            print(f"{len(steps):10} {steps[-1]:7} {memory[-1] / 1e6:15.1f} MB", flush=True)
        time.sleep(1)
    if process.returncode != 0:
        sys.exit(f"the run ended with exit code {process.returncode}")
    print(f"{growth(memory) / 1e6:+.3f} MB per checkpoint in the second half of the run")


if __name__ == "__main__":
    main(tyro.cli(Config, prog="python -m benchmarks.soak"))
