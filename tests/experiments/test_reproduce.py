"""The report: what agrees, what does not, and that it says so and ends with another exit code."""

import base64
import html.parser
import importlib.util
import json
import re
import shlex

import pytest
import tyro

from experiments.char_model import __main__ as char_model
from experiments.char_model.config import check_model
from experiments.reproduce import articles, report
from experiments.reproduce import experiment as reproduce
from experiments.reproduce.claims import (
    Claim,
    Files,
    Run,
    at_least,
    at_most,
    between,
    equal,
    near,
    not_compared,
    shown,
)
from experiments.sequence_labelling import config as sequence_labelling
from seqjax.data.text import read_corpus
from seqjax.tasks import BinaryDependency

SMALL = Run("toy", "binary_dependency --num-steps 5", "--seeds 2 --sequence-length 20000")
FAILING = Run("failing", "no_such_experiment")
CURVE = "<svg>"  # must come out as text


def floor(expected):
    return Claim(
        "rnn1", f"the {CURVE} floor | {expected}", "toy",
        lambda files: files.result["expected_loss"]["both"], near(expected, 1e-9), "nats",
    )  # fmt: skip


AGREEING = floor(BinaryDependency().expected_loss([3, 8]))
LAST = Claim("rnn1", "steps", "toy", lambda files: files.metrics[-1]["step"], equal(20))
FULL = Claim("rnn2", "in full", "toy", lambda files: 1, equal(1), full_only=True)
TIME = Claim(
    "rnn2",
    "a time",
    "toy",
    lambda files: files.result["runs"][0]["wall_seconds"],
    not_compared("x"),
)


@pytest.fixture
def run(run_module, monkeypatch, tmp_path):
    def run(runs, claims):
        monkeypatch.setattr(reproduce, "RUNS", runs)
        monkeypatch.setattr(reproduce, "CLAIMS", claims)
        code = 0
        try:
            run_module(reproduce, "--out", tmp_path / "new")
        except SystemExit as stop:
            code = stop.code
        return code, tmp_path / "new"

    return run


class Page(html.parser.HTMLParser):
    """Everything that a page asks a browser for, and the text in it."""

    def __init__(self, text):
        super().__init__()
        self.asked, self.tags, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.asked += [value for name, value in attributes if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.text += data


@pytest.mark.slow
def test_a_number_that_is_broken_on_purpose_ends_the_command_with_1_and_is_in_the_report(
    run, capsys
):
    broken = floor(0.4)
    code, folder = run((SMALL, FAILING), (
        AGREEING, broken, LAST, FULL, TIME,
        Claim("guide", "of a run that failed", "failing", lambda files: 1, equal(1)),
        Claim("guide", "of what is not there", "toy", lambda files: files.result["x"], equal(1)),
    ))  # fmt: skip
    assert code == 1
    result = json.loads((folder / "result.json").read_text())
    assert [claim["verdict"] for claim in result["claims"]] == [
        report.AGREES, report.DISAGREES, report.AGREES, report.FULL_ONLY, report.NOT_COMPARED,
        report.FAILED, report.FAILED,
    ]  # fmt: skip
    assert result["claims"][1]["measured"] == pytest.approx(0.454454367449)
    printed = capsys.readouterr().out
    summary = "2 agree, 1 DISAGREE, 2 could NOT BE MEASURED, 1 are not compared, 1 need"
    assert summary in " ".join(printed.split())

    source = (folder / "report.html").read_text()
    page = Page(source)
    assert "DISAGREES" in page.text
    assert "the <svg> floor | 0.4" in page.text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        page.tags
    )
    for asked in page.asked:  # nothing that needs a network
        assert asked.startswith(("#", "data:image/png;base64,"))
    assert not re.search(r"https?:|@import|url\(", source)
    (image,) = (value for value in page.asked if value.startswith("data:"))
    figure = (folder / "toy" / "learning_curves.png").read_bytes()
    assert base64.b64decode(image.partition(",")[2]) == figure
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {value[1:] for value in page.asked if value.startswith("#")} <= targets
    assert "python -m experiments.binary_dependency --num-steps 5 --seeds 2" in page.text
    assert "No module named experiments.no_such_experiment" in page.text
    assert "it ended with exit code 1" in page.text

    rows = (folder / "report.md").read_text().splitlines()
    assert any(
        re.match(r"\| the <svg> floor \\\| 0.4 \| 0.4545 nats \| DISAGREES \|", row) for row in rows
    )
    columns = [len(re.findall(r"(?<!\\)\|", row)) for row in rows if row.startswith("|")]
    assert {*columns} == {6, 4}


def test_the_command_ends_with_0_where_all_agrees(monkeypatch, run, tmp_path):
    def execute(run, full, folder):
        (folder / "toy").mkdir()
        (folder / "toy" / "metrics.jsonl").write_text('{"step": 20}\n')
        (folder / "toy" / "result.json").write_text("{}")
        return report.Finished(run, "command", 1.0, "", "printed", [])

    monkeypatch.setattr(reproduce, "execute", execute)
    code, folder = run((SMALL,), (LAST, FULL))
    assert code == 0
    assert "Of 2 claims 1 agree, 1 need --full" in (folder / "report.md").read_text()


@pytest.mark.parametrize(
    ("criterion", "good", "bad"),
    [
        (near(0.5, 0.01), [0.491, 0.505], [0.52, float("nan")]),
        (near([1, 2], 0.1), [[1, 2.05]], [[1, 2.2], [1.2, 2]]),
        (at_most(2), [2, -1], [2.1, float("nan")]),
        (at_most([2, 3]), [[2, 3]], [[3, 2]]),
        (at_least(2), [2, [3, 4]], [1.9, [3, 1]]),
        (between(1, 2), [1, 2, [1.5, 2]], [0.9, [1, 3], float("nan")]),
        (equal([5, 4]), [[5, 4]], [[4, 5], None]),
    ],
)
def test_criteria(criterion, good, bad):
    assert [criterion.holds(value) for value in (*good, *bad)] == (
        [True] * len(good) + [False] * len(bad)
    )


def test_every_claim_belongs_to_an_article_and_a_run_and_every_run_has_claims():
    names = [run.name for run in articles.RUNS]
    assert len(names) == len({*names})
    assert {claim.run for claim in articles.CLAIMS} == {*names}
    assert {claim.article for claim in articles.CLAIMS} == {*articles.ARTICLES}
    assert len({(claim.says, claim.criterion.text) for claim in articles.CLAIMS}) == len(
        articles.CLAIMS
    )


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
@pytest.mark.parametrize("run", articles.RUNS, ids=lambda run: run.name)
def test_every_command_is_one_that_its_experiment_takes(run, full, monkeypatch):
    if run.name == "truecasing":
        if importlib.util.find_spec("tensorflow") is None:
            pytest.skip("its options ask for TensorFlow, as its records do")
        # an option is refused where its corpus is not there, and there is no network here
        monkeypatch.setattr(sequence_labelling, "read_corpus", lambda _: read_corpus("python_docs"))
    module, *arguments = run.arguments(full)  # no matter that quick may do without it
    if module == "experiments.char_model":
        default = char_model._default_train(arguments)
        check_model(tyro.cli(char_model.Train, default=default, args=arguments[1:]).config)
    else:
        if importlib.util.find_spec(module).submodule_search_locations:  # a package
            module += ".__main__"
        tyro.cli(importlib.import_module(module).Config, args=arguments)


def test_a_run_that_measures_several_values_reads_them_where_they_are():
    runs = [{"num_steps": n, "final_loss": {"mean": n / 10, "min": 0.0}} for n in (1, 5)]
    assert articles.final_loss(5, "mean", "min")(Files({"runs": runs}, [])) == [0.5, 0.0]
    curve = {step: {"min": 0.9, "max": 0.9} for step in articles.FIRST_CURVE}
    metrics = [{"num_steps": 5, "step": step, "loss": loss} for step, loss in curve.items()]
    off = articles.beside_first_curve(Files({}, metrics))
    assert off == pytest.approx(0.9 - min(articles.FIRST_CURVE.values()))

    def way(*seconds, steps=1):
        builds = {str(10 * 2**n): {"seconds": s} for n, s in enumerate(seconds)}
        return {"builds": builds, "seconds_per_epoch": seconds[0], "last_loss": 3.0, "steps": steps}

    files = Files({"ways": {"static": way(6.0, 12.0), "dynamic": way(2.0, 2.0, 3.0)}}, [])
    assert articles.static_to_dynamic(files) == 6.0
    assert articles.growth("dynamic")(files) == 1.5
    assert articles.three_epochs("dynamic")(files) == 6.0
    assert articles.losses_apart(files) == 0.0


def test_long_values_are_cut_and_numbers_readable():
    assert shown([0.51234567, 12.345, 3, 1_000_000, 2e-7]) == "0.5123, 12.3, 3, 1,000,000, 2e-07"
    finding = report.Finding(AGREEING, "0a" * 80, report.AGREES)
    assert finding.value == "0a0a0a0a0a0a… (160 characters) nats"


def test_a_command_is_what_a_user_would_type():
    words = SMALL.arguments(full=False)
    assert shlex.join(words) == (
        "experiments.binary_dependency --num-steps 5 --seeds 2 --sequence-length 20000"
    )
    assert SMALL.arguments(full=True) == ["experiments.binary_dependency", "--num-steps", "5"]
