import codecs
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


@pytest.mark.parametrize("offset", ["", "  "])
def test_lists_of_lines_keep_their_indentation(file, offset):
    lines = "".join(f"\n{offset}- {framework}" for framework in ("torch", "keras"))
    file.write_text(file.read_text("utf-8").replace("frameworks: [torch, keras]", f"frameworks:{lines}"), "utf-8")
    assert f"{offset}- keras" in file.read_text("utf-8")
    test_values_are_replaced_and_every_other_byte_is_kept(file)


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


@pytest.mark.parametrize("name", ["cnn", "resnet"])
def test_a_list_with_an_anchor_changes_in_one_place_only(file, name):
    text = file.read_text("utf-8").replace("channels: [32, 64]\n", "channels: &widths [32, 64]\n")
    file.write_text(text.replace("channels: [32, 64, 128]", "channels: *widths"), "utf-8")
    values = {f"models.{name}.channels": [8, 16, 32]}
    expected = overrides.replace(params.read(file), values)
    apply.write(values, file)
    assert params.read(file) == expected


@pytest.fixture
def merged(file):
    """The initializer of `linear` is also that of `cnn`, by a merge key."""
    text = file.read_text("utf-8").replace("  linear:\n", "  linear: &initial\n")
    start = text.index("    initializer: he_uniform\n", text.index("  cnn:\n"))
    file.write_text(text[:start] + "    <<: *initial\n" + text[text.index("  resnet:\n") :], "utf-8")
    return file


def test_a_merged_value_is_replaced_by_one_of_its_own(merged):
    values = {"models.cnn.initializer": "he_normal"}
    expected = overrides.replace(params.read(merged), values)
    apply.write(values, merged)
    assert params.read(merged) == expected


def test_a_value_that_is_merged_elsewhere_is_not_changed(merged):
    before = merged.read_bytes()
    with pytest.raises(InputError, match=r"the YAML anchor &initial would also change models\.cnn\.initializer;"):
        apply.write({"models.linear.initializer": "he_normal"}, merged)
    assert merged.read_bytes() == before


def test_the_byte_order_mark_and_the_line_endings_are_kept(file):
    lines = file.read_bytes()
    file.write_bytes(codecs.BOM_UTF8 + lines.replace(b"\n", b"\r\n"))
    apply.write({"train.epochs": 21}, file)
    changed = lines.replace(b"  epochs: 20\n", b"  epochs: 21\n")
    assert file.read_bytes() == codecs.BOM_UTF8 + changed.replace(b"\n", b"\r\n")


def test_a_symbolic_link_and_the_mode_are_kept(file, tmp_path):
    target = tmp_path / "shared" / "parameters.yaml"
    target.parent.mkdir()
    file.rename(target).chmod(0o640)
    file.symlink_to(target)
    apply.write({"train.epochs": 21}, file)
    assert file.readlink() == target
    assert target.stat().st_mode & 0o777 == 0o640
    assert params.read(target).train.epochs == 21
    assert list(target.parent.iterdir()) == [target]
