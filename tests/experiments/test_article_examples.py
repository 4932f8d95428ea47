"""The worked examples come out as the articles say."""

import json

import jax
import numpy as np
import pytest

from experiments.article_examples import experiment
from experiments.article_examples.experiment import CELLS, EXAMPLES, Outcome

PLAIN = (experiment.record_size, experiment.long_sequence, experiment.listed_cells)


def test_what_needs_no_network_comes_out_exactly():
    assert experiment.padded_batch(0).measured.tolist() == [
        [0, 0, 0, 0], [1, 0, 0, 0], [1, 2, 0, 0], [1, 2, 3, 0], [1, 2, 3, 4],
    ]  # fmt: skip
    assert experiment.sequence_example(0).measured == experiment.EXAMPLE_OF_TENSORFLOW
    assert experiment.long_sequence(1) == Outcome(1, 1)
    assert experiment.listed_cells(0) == Outcome(11, 11)
    assert len(CELLS) == 11
    assert 5 < experiment.record_size(0).measured < 20
    np.testing.assert_allclose(*experiment.padding_share(0), rtol=1e-12)


def test_a_run_writes_what_came_out_beside_what_has_to(run_module, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(experiment, "EXAMPLES", PLAIN)
    run_module(experiment, "--out", tmp_path / "new")
    result = json.loads((tmp_path / "new" / "result.json").read_text())
    assert [*result] == ["record_size", "long_sequence", "listed_cells"]
    assert result["listed_cells"] == {"expected": 11, "measured": 11}
    assert "The number of cells" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run_module(experiment, "--seed", -1)
    assert stop.value.code == 2


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.__name__)
def test_every_example_comes_out(example):
    expected, measured = experiment._plain([*example(3)])
    if example is experiment.record_size:
        assert 5 < measured < 20
    elif example is experiment.full_errors:
        assert measured == [7, 43]  # the article counts 49 - 7
    elif isinstance(expected, str):
        assert measured == expected
    else:
        np.testing.assert_allclose(*map(jax.tree.leaves, (measured, expected)), atol=1e-5)


def test_the_bytes_are_those_of_tensorflow():
    # the wire format by hand: field 1 of the message is the context, field 2 the lists by name
    def field(number, content):
        return bytes([number << 3 | 2, len(content)]) + content

    def integers(value):  # a Feature, whose field 3 is an Int64List, whose field 1 is packed
        return field(3, field(1, bytes([value])))

    def entry(name, content):
        return field(1, field(1, name) + field(2, content))

    def steps(values):
        return b"".join(field(1, integers(value)) for value in values)

    lists = entry(b"labels", steps([0, 1, 0])) + entry(b"tokens", steps([1, 2, 3]))
    message = field(1, entry(b"length", integers(3))) + field(2, lists)
    assert message.hex() == experiment.EXAMPLE_OF_TENSORFLOW
