"""The options of a run come back from JSON as they were, or the wrong one is named."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.char_model.config import PRESETS
from experiments.char_model.config import Config as CharModel
from experiments.pronunciation.config import Config as Pronunciation
from experiments.sequence_classification.config import Config as Classification
from experiments.stored_config import config_from_json


@pytest.mark.parametrize(
    "config",
    [
        *PRESETS.values(),
        Pronunciation(dictionary=Path("words.txt")),
        Classification(classes=("a", "b"), validation=0.25, out=Path("runs")),
    ],
)
def test_a_config_is_read_back(config):
    plain = json.loads(json.dumps(dataclasses.asdict(config), default=str))
    assert config_from_json(type(config), plain) == config


@pytest.mark.parametrize(
    ("kind", "plain", "message"),
    [
        (CharModel, [1], r"must be an object of options, got \[1\]"),
        (CharModel, {"unit": 3}, "unknown options: unit; was it written by another version"),
        (CharModel, {"cell": 0}, "the config holds --cell 0, which must be str"),
        (CharModel, {"units": 3.5}, "--units 3.5, which must be int"),
        (CharModel, {"units": True}, "--units True, which must be int"),
        (CharModel, {"tied": 1}, "--tied 1, which must be bool"),
        (CharModel, {"clip": "1"}, r"--clip '1', which must be float \| None"),
        (CharModel, {"optimizer": "sgd"}, r"--optimizer 'sgd', which must be Literal"),
        (CharModel, {"seed": -1}, "--seed must lie in"),
        (Classification, {"classes": "ab"}, r"--classes 'ab', which must be tuple"),
        (Classification, {"classes": ["a", 1]}, r"--classes \['a', 1\], which must be tuple"),
    ],
)
def test_what_is_no_config_is_named(kind: type, plain: Any, message: str):
    with pytest.raises(ValueError, match=message):
        config_from_json(kind, plain)
