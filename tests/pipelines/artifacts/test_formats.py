"""Files that stages leave for each other are read as they were written."""

import numpy as np
import pytest

from models.errors import InputError
from models.spec import DataSpec
from pipelines.artifacts import json_object, layer_history, log_files, metrics_file, split_files, validation_report

NOT_JSON = (b"{", b"\xff", b'{"count": ' + b"1" * 5000 + b"}", b"[" * 100_000)


def test_a_json_object_is_read_as_it_was_written(tmp_path):
    json_object.write({"name": "gr\u00fcn", "count": 3}, tmp_path / "record.json")
    assert json_object.read(tmp_path / "record.json") == {"name": "gr\u00fcn", "count": 3}
    assert (tmp_path / "record.json").read_bytes() == b'{\n  "name": "gr\\u00fcn",\n  "count": 3\n}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not found"),
        *[(content, "not JSON") for content in NOT_JSON],
        (b"[]", "holds list; allowed: an object"),
    ],
)
def test_what_is_no_json_object_is_refused_by_name(tmp_path, content, message):
    if content is not None:
        (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"record\.json: {message}.*run `dvc repro`"):
        json_object.read(tmp_path / "record.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        *[(content, "not JSON") for content in NOT_JSON],
        (b"[]", "holds list; allowed: an object"),
        (b"1", "holds int"),
    ],
)
def test_what_is_no_specification_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "spec.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"spec\.json: {message}.*run `dvc repro prepare`"):
        DataSpec.read(tmp_path / "spec.json")


def test_names_in_the_validation_report_are_legible(tmp_path):
    path = tmp_path / validation_report.FILE
    validation_report.write({"classes": {"gr\u00fcn": 1}}, path)
    assert "gr\u00fcn" in path.read_text("utf-8")
    assert validation_report.read(path) == {"classes": {"gr\u00fcn": 1}}


def test_a_split_is_written_in_chunks_and_mapped_into_memory(tmp_path):
    inputs, targets = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1), np.arange(6)
    split_files.write((inputs[:4], inputs[4:]), inputs[:1], targets, tmp_path)
    for result, expected in zip(split_files.read(tmp_path), (inputs, targets), strict=True):
        assert isinstance(result, np.memmap)
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_layers_are_read_by_column(tmp_path):
    layer_history.write([(1, "std", "dense", 0.5), (2, "std", "dense", 0.25)], tmp_path / layer_history.FILE)
    result = layer_history.read(tmp_path / layer_history.FILE)
    assert result["layer"].tolist() == ["dense", "dense"]
    assert result["value"].tolist() == [0.5, 0.25]


def test_metrics_are_flattened_to_their_numbers():
    nested = {"provider": "CPU", "test": {"accuracy": 0.5, "count": 3}, "int8": {"faster": True}}
    assert metrics_file.flatten(nested) == {"test/accuracy": 0.5, "test/count": 3}


def test_log_files_that_rotation_removes_while_they_are_read_are_skipped(tmp_path):
    (tmp_path / "host-1.jsonl").write_text("{}\n", "utf-8")
    (tmp_path / "host-1.jsonl.1").write_text("{}\n", "utf-8")
    files = log_files.find(tmp_path)
    (tmp_path / "host-1.jsonl.1").unlink()
    assert list(log_files.lines(files)) == [b"{}\n"]
