"""The command ``tfds``."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.data.convert.examples import read, run


class Dummies(tfds.core.GeneratorBasedBuilder):
    """A data set of tensorflow-datasets."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        pair = tfds.features.Tensor(shape=(2,), dtype=np.float64)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(num_classes=3),
                    "steps": tfds.features.Sequence({"x": pair}),
                    "image": tfds.features.Image(shape=(None, None, 1)),
                }
            )
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for k in range(3):
            steps = {"x": np.full((k, 2), k / 2)}
            image = np.zeros((1, 1, 1), np.uint8)
            yield k, {"text": "ab"[:k], "label": k, "steps": steps, "image": image}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_data_set_of_tensorflow_datasets_becomes_sequences(tmp_path, fails):
    where = ["tfds", "dummies", tmp_path / "out", "--data-dir", tmp_path / "tfds"]
    columns = ["--sequence", "steps/x", "--context", "label", "text"]
    assert run(*where, *columns) == 0
    assert sorted(read(tmp_path / "out"), key=lambda example: example["label"]) == [
        {"label": k, "text": b"ab"[:k], "steps/x": [[k / 2, k / 2]] * k} for k in range(3)
    ]
    assert run(*where, "--sequence", "text") == 0
    assert sorted(len(example["text"]) for example in read(tmp_path / "out")) == [0, 1, 2]
    fails("select features with --sequence and --context, from {'text'", *where)
    fails("'steps/x': 'float64[None, 2]'", *where, "--context", "none")
    fails("'image' has shape (None, None, 1)", *where, "--context", "image")
    fails("'steps/x' has shape (None, 2)", *where, "--context", "steps/x")
    fails("tensorflow-datasets: ", "tfds", "dummies_of_none", tmp_path / "out")
    fails("tensorflow-datasets: ", *where, *columns, "--split", "tomorrow")
