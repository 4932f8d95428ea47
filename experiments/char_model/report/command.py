"""Writes the report of a run."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.char_model.anchors import compared
from experiments.char_model.figure import learning_curve
from experiments.char_model.report import figures, page
from experiments.char_model.report.passages import copied, longest_passage, match_lengths
from experiments.char_model.report.reading import Reading, calibration, read
from experiments.char_model.report.units import telling_units
from experiments.char_model.text import Text, read_text
from experiments.char_model.trained import Trained, load
from experiments.run_directory import RunDirectory
from seqjax.data.text import Vocabulary
from seqjax.sampling import Sampling, generate, prime

READ = 20_000  # characters of the validation text for calibration and units
SHOWN = 1_500  # characters of a coloured text
UNITS = 4
SHOWN_OF_UNIT = 700
COPIED = 20  # characters of a passage that counts as copied
COMPARED = 5_000_000  # characters of the training text that passages are looked for in
TEMPERATURES = (0.5, 0.8, 1.0)


def report(folder: Path, which: str, length: int, seed: int) -> Path:
    """Write ``report.html`` into the folder of a run, and return its path.

    Args:
      folder: the folder of the run, which has ended.
      which: the checkpoint, ``best`` or ``last``.
      length: the number of characters of each sample.
      seed: the random seed of the samples.

    Raises:
      ValueError: the folder holds no run that has ended.
    """
    trained = load(folder, which)
    directory = RunDirectory.reopen(folder)
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"{folder} has no result.json, because its run has not ended; train --resume {folder} "
            "ends it"
        ) from None
    text = read_text(trained.config, trained.text)
    tokens = text.validation[: READ + 1]
    reading = read(trained.model, trained.params, tokens)
    name = Path(trained.config.corpus).name
    whole = page.Page(
        f"A character model of {name}",
        [
            _summary(trained, text, result),
            page.section(
                "Learning curve",
                page.figure(learning_curve(directory.read_jsonl("metrics.jsonl"), result)),
            ),
            _samples(trained, text, length, seed),
            _surprise(reading, text.vocabulary, tokens),
            _units(reading, text.vocabulary, tokens),
            _calibration(reading, tokens),
        ],
    )
    with directory.replacing("report.html") as path:
        path.write_text(whole.render(), encoding="utf-8")
    return folder / "report.html"


def _summary(trained: Trained, text: Text, result: dict[str, Any]) -> str:
    config = trained.config
    members = f", an ensemble of {config.members}" if config.members > 1 else ""
    facts = [
        ("cell", f"{config.cell}, {config.layers} x {config.units} units{members}"),
        ("parameters", f"{result['parameters']:,}"),
        ("training", f"{result['steps']:,} steps in {result['train_seconds']:.0f} s"),
        ("checkpoint", f"step {trained.step:,}"),
        ("text", f"{config.corpus}, {text.split}"),
        ("characters", f"{len(text.train):,} and {len(text.validation):,}"),
        ("vocabulary", f"{text.vocabulary.size}"),
    ]
    per_byte = result["val"]["streaming_bits"] * len(text.validation) / text.validation_bytes
    scores = [(name, f"{nats:.4f}", f"{nats / np.log(2):.4f}") for name, nats in compared(result)]
    return "\n".join(
        [
            page.table(["", ""], facts, numbers=False),
            page.section(
                "Scores",
                page.table(["", "nats/character", "bits/character"], scores),
                page.paragraph(f"Streaming takes {per_byte:.4f} bits per byte."),
            ),
        ]
    )


def _samples(trained: Trained, text: Text, length: int, seed: int) -> str:
    training = text.vocabulary.decode(text.train[-COMPARED:])
    start = jnp.asarray(text.validation[None, :1])
    generation = prime(trained.model, trained.params, start)
    held_out = text.vocabulary.decode(text.validation[1 : length + 1])
    rows = [("held-out text", *_copying(match_lengths(held_out, training)))]
    parts = []
    for temperature in TEMPERATURES:
        _, drawn = generate(
            trained.model, trained.params, generation, jax.random.key(seed), length,
            Sampling(temperature),
        )  # fmt: skip
        sample = text.vocabulary.decode(np.asarray(drawn)[0])
        lengths = match_lengths(sample, training)
        longest = longest_passage(sample, lengths, training)
        rows.append((f"temperature {temperature}", *_copying(lengths)))
        parts += [
            f"<h3>Temperature {temperature}</h3>",
            page.underlined(sample, copied(lengths, COPIED)),
            page.paragraph("Its longest passage, in the training text:", "note"),
            page.quotation(longest.before, longest.passage, longest.after),
        ]
    return page.section(
        "Samples",
        page.paragraph(
            f"Passages of at least {COPIED} characters that occur in the training text are "
            "underlined. A model that copies has longer passages than the held-out text."
        ),
        page.table(["", "longest passage", "mean passage", "underlined"], rows),
        *parts,
    )


def _copying(lengths: list[int]) -> tuple[str, str, str]:
    underlined = float(np.mean(copied(lengths, COPIED)))
    return f"{max(lengths)}", f"{np.mean(lengths):.1f}", f"{underlined:.0%}"


def _surprise(reading: Reading, vocabulary: Vocabulary, tokens: np.ndarray) -> str:
    shown = slice(0, SHOWN)
    pieces = [vocabulary.decode([token]) for token in tokens[1:][shown]]
    bits = reading.bits[shown]
    hints = [
        f"{b:.1f} bits; expected "
        + ", ".join(
            f"{vocabulary.decode([token])!r} {chance:.0%}"
            for token, chance in zip(likely, chances, strict=True)
        )
        for b, likely, chances in zip(
            bits, reading.likely[shown], reading.chances[shown], strict=True
        )
    ]
    levels = np.clip(np.round(bits), 0, page.LEVELS - 1).astype(int).tolist()
    labels = [f"{n} bits" for n in range(page.LEVELS - 1)] + [f"{page.LEVELS - 1} or more"]
    return page.section(
        "Surprise",
        page.paragraph(
            "The start of the validation text. The colour is the surprise at a character; point at "
            "one to see what the model expected."
        ),
        page.key("heat", labels),
        page.coloured(pieces, levels, "heat", hints),
    )


def _units(reading: Reading, vocabulary: Vocabulary, tokens: np.ndarray) -> str:
    # one character for each token, also where a token is a byte
    pieces = [vocabulary.decode([token])[:1] or "?" for token in tokens[:-1]]
    parts = [
        page.paragraph(
            "The units of the state that follow a property of the text most closely. The first "
            f"half of {len(pieces):,} characters of the validation text chose them, and the second "
            "half gave the correlations. Blue is negative, orange is positive."
        )
    ]
    for unit in telling_units(reading.units, "".join(pieces), UNITS):
        values = reading.units[:, unit.place]
        size = np.abs(values).max() or 1.0
        levels = np.round((values / size + 1) / 2 * (page.LEVELS - 1)).astype(int).tolist()
        name = reading.names[unit.place]
        parts += [
            f"<h3>{name}: {unit.property}, correlation {unit.correlation:.2f}</h3>",
            page.coloured(
                pieces[:SHOWN_OF_UNIT],
                levels[:SHOWN_OF_UNIT],
                "sign",
                [f"{v:.2f}" for v in values[:SHOWN_OF_UNIT]],
            ),
        ]
    return page.section("Single units", *parts)


def _calibration(reading: Reading, tokens: np.ndarray) -> str:
    found = calibration(reading, tokens)
    return page.section(
        "Calibration",
        page.paragraph(
            f"Over the first {len(reading.bits):,} characters of the validation text, the expected "
            f"calibration error is {found.error:.3f}: the mean distance between the probability of "
            "the most likely character and how often it is the right one."
        ),
        page.figure(figures.reliability(found)),
    )
