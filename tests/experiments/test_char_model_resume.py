"""A run goes on with what it was started with, from a whole checkpoint, or says why not."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments.char_model import __main__ as cli
from experiments.char_model import run as runs
from experiments.char_model import scores
from experiments.char_model.config import MAY_CHANGE, Config
from experiments.char_model.evaluation import Score
from experiments.char_model.resume import Resume, TrainedOn, check_config
from experiments.char_model.trained import load, read_config, verify
from experiments.run_directory import RunDirectory
from seqjax.checkpoint import Checkpoints
from seqjax.data.text import Corpus, Vocabulary
from tests.test_checkpoint_damage import change_bit

TEXT = "the quick brown fox jumps over the lazy dog. " * 60
CONFIG = Config(
    cell="gru", units=8, embedding_size=4, batch_size=4, num_steps=10, epochs=1, evaluations=2,
    window=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run that has come to its end, and its text."""
    root = tmp_path_factory.mktemp("finished")
    (root / "corpus.txt").write_text(TEXT)
    config = dataclasses.replace(CONFIG, corpus=str(root / "corpus.txt"))
    folder = RunDirectory("char_model", config, root / "run")
    with jax.numpy_dtype_promotion("standard"), jax.enable_x64(False):
        runs.train(config, folder, Console(quiet=True))
    return root


@pytest.fixture
def run(finished, tmp_path):
    """The folder of that run, which is afterwards what it was."""
    shutil.copytree(finished, tmp_path / "copy")
    yield finished / "run"
    shutil.rmtree(finished)
    shutil.copytree(tmp_path / "copy", finished)


def resume(folder, how=Resume()):  # noqa: B008, a frozen dataclass
    config = read_config(folder)
    return runs.train(config, RunDirectory.reopen(folder), Console(quiet=True), how)


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_another_text_is_refused_by_name_and_taken_where_it_is_meant(run):
    corpus = run.parent / "corpus.txt"
    before = corpus.read_text()
    corpus.write_text(before.replace("quick", "quack"))  # of the same characters
    for attempt in (lambda: resume(run), lambda: cli.Evaluate((run,)).main(Console())):
        with pytest.raises(ValueError, match=rf"the text of {corpus} is not the text .*sha256"):
            attempt()
    corpus.write_text(before.replace("quick", "slick"))  # without one that was in it
    result = resume(run, Resume(changed_corpus=True))
    trained = load(run, "last")
    assert trained.vocabulary.characters == "".join(sorted(set(TEXT)))
    assert result["corpus_sha256"] != trained.text.sha256  # no step was left to take
    corpus.write_text(before.replace("quick", "QUICK"))
    with pytest.raises(ValueError, match="the vocabulary lacks these characters: 'Q'"):
        resume(run, Resume(changed_corpus=True))


def test_the_help_of_another_python_is_named():
    text = TrainedOn(Vocabulary("ab"), "other")
    config = dataclasses.replace(CONFIG, corpus="python_docs")
    with pytest.raises(ValueError, match="python_docs differs between versions of Python"):
        text.vocabulary_of(config, Corpus("python_docs", "ab", "this"), text.vocabulary)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("input_dropout", 0.5, "--input-dropout 0.5"), ("num_steps", 5, "--num-steps 5"),
     ("seed", 1, "--seed 1")],
)  # fmt: skip
def test_an_edited_config_is_refused_by_name(run, name, value, shown):
    change_config(run, **{name: value})
    with pytest.raises(ValueError, match=rf"config.json was changed: it has {shown}, but the"):
        resume(run)
    with pytest.raises(ValueError, match=r"config.json was changed"):
        verify(run)


def test_a_run_may_be_extended(run):
    change_config(run, epochs=1.5)
    steps = resume(run)["steps"]
    assert steps == 90


def test_another_vocabulary_is_refused(run):
    with Checkpoints(run / "checkpoints") as checkpoints:
        about = checkpoints.about()
        config, text = runs.trained_on(run, about)
        assert text.vocabulary.characters == "".join(sorted(set(TEXT)))
        about["vocabulary"]["characters"] = text.vocabulary.characters[::-1]
        state = runs.init_state(config, runs.build_model(config, text.vocabulary.size))
        checkpoints.save(99, state, about, 1.0)
    with pytest.raises(ValueError, match=r"the vocabulary of .*, but that of the run is"):
        resume(run)


def test_commands_fall_back_to_the_whole_checkpoint_and_verify_names_the_damage(
    run, caplog, capsys
):
    cli.Verify(run).main(Console())
    with Checkpoints(run / "checkpoints") as checkpoints:
        state = checkpoints.restore(runs.init_state(*_config_and_model(run)), "best")
        best = state.step
        checkpoints.save(best + 1, state.state, state.about, 9.0)
    shown = capsys.readouterr().out
    assert shown.splitlines() == [f"step {best}: intact"]
    change_bit(run / "checkpoints", best, "about")
    cli.Sample(run, prime="the ", length=5).main(Console())
    assert f"the checkpoint of step {best} in {run}/checkpoints is damaged" in caplog.text
    assert "it does not count as the best" in caplog.text
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli.Verify(run).main(Console(width=1000))
    assert stop.value.code == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"step {best}: the checkpoint of step {best}" in lines[0]
    assert lines[1] == f"step {best + 1}: intact"


def _config_and_model(run):
    config = read_config(run)
    return config, runs.build_model(config, len(set(TEXT)))


def test_a_run_goes_on_from_its_best_checkpoint_where_that_is_asked_for(run):
    with Checkpoints(run / "checkpoints") as checkpoints:
        steps = checkpoints.steps()
        restored = checkpoints.restore(runs.init_state(*_config_and_model(run)))
        checkpoints.save(steps["last"] + 1, restored.state, restored.about, 9.0)
    resume(run, Resume(which="best"))
    with pytest.raises(ValueError, match="which must be"):
        resume(run, Resume(which="first"))


def test_what_is_not_finite_is_not_saved(finished, tmp_path, monkeypatch):
    config = dataclasses.replace(CONFIG, corpus=str(finished / "corpus.txt"), evaluations=3)
    folder = RunDirectory("char_model", config, tmp_path / "run")
    take, blocks = runs._Run._take_block, []

    def diverging(self):
        """The loss of the last step is still finite, what comes of it is not."""
        done = take(self)
        blocks.append(self.step)
        if len(blocks) == 2:
            params = self.state.params
            self.state = self.state._replace(params=jax.tree.map(lambda p: p / 0, params))
        return done

    monkeypatch.setattr(runs._Run, "_take_block", diverging)
    message = r"the state of step \d+ is not finite; the last good checkpoint is at step 20"
    with pytest.raises(runs.NotFiniteError, match=message):
        runs.train(config, folder, Console(quiet=True))
    trained = load(folder.path)
    assert trained.step == blocks[0]
    assert runs.all_finite(trained.params)


def test_a_run_that_diverges_at_once_says_that_there_is_no_checkpoint(finished, tmp_path):
    config = dataclasses.replace(
        CONFIG, corpus=str(finished / "corpus.txt"), learning_rate=1e38, schedule="constant",
        warm_up=0, clip=None,
    )  # fmt: skip
    with pytest.raises(runs.NotFiniteError, match="there is no checkpoint yet"):
        runs.train(
            config, RunDirectory("char_model", config, tmp_path / "run"), Console(quiet=True)
        )


def test_a_loss_of_the_validation_text_that_is_no_number_is_not_saved(
    finished, tmp_path, monkeypatch
):
    config = dataclasses.replace(CONFIG, corpus=str(finished / "corpus.txt"))
    monkeypatch.setattr(scores, "streaming", lambda *_: Score(float("nan")))
    folder = RunDirectory("char_model", config, tmp_path / "run")
    with pytest.raises(runs.NotFiniteError, match="the validation loss of step"):
        runs.train(config, folder, Console(quiet=True))
    with Checkpoints(folder.path / "checkpoints") as checkpoints:
        assert checkpoints.steps() == {}


def damaged(rng, content):
    """Flip a bit, cut the end off, or delete or repeat a piece."""
    begin, end = sorted(rng.integers(len(content), size=2))
    kind = rng.choice(["bit", "cut", "delete", "repeat"])
    if kind == "bit":
        changed = bytearray(content)
        changed[begin] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    if kind == "cut":
        return content[:begin]
    return content[:begin] + (content[begin:end] * 2 if kind == "repeat" else b"") + content[end:]


def test_damage_to_the_config_is_an_error_or_changes_nothing(run):
    path, rng, errors = run / "config.json", np.random.default_rng(0), 0
    content, trained = path.read_bytes(), read_config(run)
    for _ in range(500):
        path.write_bytes(damaged(rng, content))
        try:
            config = read_config(run)
            check_config(run, config, trained)
        except ValueError as error:
            assert str(run) in str(error)  # noqa: PT017, no error is as good
            errors += 1
            continue
        extended = {name: getattr(config, name) for name in MAY_CHANGE}
        assert config == dataclasses.replace(trained, **extended)
    assert errors > 300
