import difflib

import pytest

from models.errors import InputError
from pipelines.config import overrides, params
from pipelines.sweep import apply
from tests.pipelines.workspace import REPOSITORY

VALUES = {
    "train.learning_rate": 1e-05,
    "train.gradient_clip": None,
    "train.batch_size": 128,
    "train.optimizer": "sgd",
    "train.augment.flip": True,
    "train.schedule.warmup": 0.5,
    "models.cnn.channels": [16, 48, 96],
    "models.resnet.channels": [8],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes((REPOSITORY / "params.yaml").read_bytes())
    return path


def test_values_are_replaced_and_every_other_byte_is_kept(file):
    before = file.read_text("utf-8").splitlines()
    apply.write(VALUES, file)
    found = params.read(file)
    assert {name: overrides.value_of(found, name) for name in VALUES} == VALUES
    changes = [line for line in difflib.ndiff(before, file.read_text("utf-8").splitlines()) if line[0] in "+-"]
    assert len(changes) == 2 * len(VALUES)
    comments = [{line.partition("#")[2] for line in changes if line[0] == sign} for sign in "+-"]
    assert comments[0] == comments[1]


def test_the_same_values_change_nothing(file):
    before = file.read_bytes()
    found = params.read(file)
    apply.write({name: overrides.value_of(found, name) for name in VALUES}, file)
    assert file.read_bytes() == before


def test_an_invalid_result_leaves_the_file_as_it_is(file):
    before = file.read_bytes()
    with pytest.raises(InputError, match="nesterov = true"):
        apply.write({"train.nesterov": True}, file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
