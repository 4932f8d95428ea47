"""Experiments need no more memory than docs/experiments/index.md says."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seqjax.data.schema import Feature, Schema
from seqjax.data.writing import write

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "experiments" / "index.md"
PEAK = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", *sys.argv[1:]], capture_output=True, text=True)
print(done.stderr if done.returncode else "", file=sys.stderr)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
sys.exit(done.returncode)
"""


def peak(*arguments):
    """The largest resident memory of ``python -m ARGUMENTS``, in bytes."""
    command = [sys.executable, "-c", PEAK, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def stated(name):
    """The base in bytes and the bytes for each unit of input, from the table of the page."""
    row = re.search(rf"^\| {re.escape(name)} \|.*$", PAGE.read_text(), re.MULTILINE).group()
    base, each = re.search(r"\| ([\d.]+) GB \+ (\d+) bytes", row).groups()
    return float(base) * 1e9, int(each)


def check(name, used):
    """Compare the peaks ``used``, by units of input, with the statement."""
    base, each = stated(name)
    (few, low), (many, high) = sorted(used.items())
    print(f"{name}: {low / 1e9:.2f} GB, then {(high - low) / (many - few):.0f} bytes a unit")
    for units, peak_of_units in used.items():
        assert peak_of_units <= base + each * units


def write_text(path, characters):
    rng = np.random.default_rng(0)
    words = np.array(["the", "Quick", "brown", "fox.\n", "jumps", "over", "Lazy", "dogs,"])
    text = " ".join(words[rng.integers(len(words), size=characters // 4)])
    path.write_text(text[:characters])
    return path


@pytest.mark.parametrize(
    ("options", "largest"),
    [
        ("--ngrams none", 3_000_000),
        ("--ngram-targets 0 --ngrams none", 8_000_000),
        ("--ngram-targets 0 --ngrams all", 3_000_000),
    ],
)
def test_of_a_character_model(tmp_path, options, largest):
    used = {}
    for characters in (300_000, largest):
        text = write_text(tmp_path / f"{characters}.txt", characters)
        used[characters] = peak(
            "experiments.char_model", "train", "--corpus", text, "--units", 16, "--max-seconds", 1,
            "--evaluations", 1, "--validation", 0.02, *options.split(),
            "--out", tmp_path / str(characters),
        )  # fmt: skip
    check(f"`char_model {options}`", used)


def test_of_truecasing(tmp_path):
    used = {}
    for characters in (100_000, 400_000):
        text = write_text(tmp_path / f"{characters}.txt", characters)
        used[characters] = peak(
            "experiments.sequence_labelling", "truecasing", "--corpus", text, "--seeds", 1,
            "--epochs", 1, "--forward-units", 4, "--bidirectional-units", 3, "--batch-steps", 65536,
            "--out", tmp_path / str(characters),
        )  # fmt: skip
    check("`sequence_labelling truecasing`", used)


def test_of_classification(tmp_path):
    rng, used = np.random.default_rng(0), {}
    features = Schema({"label": Feature(np.int64)}, {"x": Feature(np.float32, (4,))})
    for count in (800, 2500):
        examples = (
            {"x": rng.normal(size=(200, 4)).astype(np.float32), "label": n % 3}
            for n in range(count)
        )
        write(tmp_path / f"records{count}", features, examples)
        used[count * 200 * 4] = peak(
            "experiments.sequence_classification", "--dataset", tmp_path / f"records{count}",
            "--seeds", 1, "--epochs", 1, "--units", 4, "--batch-size", 500,
            "--out", tmp_path / str(count),
        )  # fmt: skip
    check("`sequence_classification`", used)


def test_of_the_binary_dependency(tmp_path):
    used, seeds = {}, 2
    for bits in (1_000_000, 5_000_000):
        used[bits * seeds] = peak(
            "experiments.binary_dependency", "--sequence-length", bits, "--seeds", seeds,
            "--num-steps", 5, "--epochs", 1, "--out", tmp_path / str(bits),
        )  # fmt: skip
    check("`binary_dependency`", used)
