import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from pipelines.artifacts import paths, raw_data
from pipelines.load import __main__ as load
from tests.pipelines.workspace import (
    assert_one_error_line,
    mount_small_disk,
    run_stage,
    unmount,
    write_params,
)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_params(tmp_path, {"data.source": "digits"})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_digits_are_written_with_their_labels(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load.main()
    assert {path.name for path in paths.RAW.iterdir()} == {"train_inputs.npy", "train_targets.npy", "meta.json"}
    assert np.load(paths.RAW / "train_inputs.npy").shape == (1797, 8, 8, 1)
    meta = json.loads((paths.RAW / "meta.json").read_text())
    assert meta["name"] == "digits"
    assert meta["labels"] == list("0123456789")
    assert len(meta["sha256"]) == 64
    output = capsys.readouterr().out
    assert "loaded digits from scikit-learn: 1797 images of 8×8×1, 10 classes" in output


def test_the_same_data_is_the_same_bytes(workspace: Path) -> None:
    load.main()
    first = hashes(paths.RAW)
    load.main()
    assert hashes(paths.RAW) == first


def test_what_is_written_is_what_is_read(workspace: Path) -> None:
    load.main()
    raw = raw_data.read(paths.RAW)
    assert raw.labels == tuple("0123456789")
    assert isinstance(raw.train_inputs, np.memmap)
    assert raw.test_inputs is None


def test_a_failure_keeps_existing_data(workspace: Path) -> None:
    load.main()
    before = hashes(paths.RAW)
    write_params(workspace, {"data.source": "mnist", "data.path": "nowhere"})
    with pytest.raises(InputError, match=r"data\.path = 'nowhere': no such folder"):
        load.main()
    assert hashes(paths.RAW) == before


def test_an_input_error_is_one_line(tmp_path: Path) -> None:
    write_params(tmp_path, {"data.source": "mnist", "data.path": "nowhere"})
    assert_one_error_line(run_stage("load", tmp_path), "data.path = 'nowhere'", "train-images-idx3-ubyte.gz")
    assert not (tmp_path / "artifacts").exists()
    (tmp_path / "params.yaml").unlink()
    assert_one_error_line(run_stage("load", tmp_path), "params.yaml: not found")


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    write_params(tmp_path, {"data.source": "digits"})
    mount_small_disk(tmp_path / "artifacts", kilobytes=64)
    try:
        done = run_stage("load", tmp_path)
        assert_one_error_line(done, "artifacts/data", "No space left on device")
        assert list((tmp_path / "artifacts").rglob("*")) == [tmp_path / "artifacts" / "data"]
    finally:
        unmount(tmp_path / "artifacts")
