"""Records of a file in DVC's cache, which may have only some of the outputs."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from models.errors import InputError
from pipelines.artifacts import paths, records, training_record
from pipelines.lineage import dvc_lock, origin
from pipelines.lineage.subject import Subject

SHA256 = "a" * 64
OUTPUTS = {
    "train@torch-cnn": (paths.checkpoint("torch-cnn"), training_record.FILE, {"run_id": "1"}),
    "export@torch-cnn": (
        paths.exports("torch-cnn"),
        records.PARITY,
        {"files": {"model.onnx": {"sha256": SHA256}}},
    ),
}


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The listing in the cache of the output of each stage of a dvc.lock."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)
    with Repo.init(tmp_path) as repo:
        cache = Path(repo.cache.local.path)
    stages, listings = {}, {}
    for stage, (folder, name, content) in OUTPUTS.items():
        md5 = _store(cache, json.dumps(content), "")
        listing = _store(cache, json.dumps([{"md5": md5, "relpath": name}]), ".dir")
        stages[stage] = {"cmd": "", "outs": [{"path": folder.as_posix(), "md5": listing}]}
        listings[stage] = cache / listing[:2] / listing[2:]
    YAML().dump({"schema": "2.0", "stages": stages}, tmp_path / dvc_lock.FILE)
    return listings


def _store(cache: Path, text: str, suffix: str) -> str:
    md5 = hashlib.md5(text.encode()).hexdigest() + suffix
    (cache / md5[:2]).mkdir(parents=True, exist_ok=True)
    (cache / md5[:2] / md5[2:]).write_text(text, "utf-8")
    return md5


def test_a_file_is_known_by_its_export_and_its_training(cached):
    found = dvc_lock.find(SHA256)
    assert found is not None
    assert (found.candidate, found.file, found.training) == ("torch-cnn", "model.onnx", {"run_id": "1"})


@pytest.mark.parametrize("stage", OUTPUTS)
def test_without_one_of_them_the_advice_is_to_fetch_the_outputs(cached, stage):
    cached[stage].unlink()
    assert dvc_lock.find(SHA256) is None
    folder, name, content = OUTPUTS["export@torch-cnn"]  # as `dvc pull` of this output leaves it in the workspace
    folder.mkdir(parents=True)
    (folder / name).write_text(json.dumps(content), "utf-8")
    with pytest.raises(InputError, match=r"nothing is known about SHA-256 a+: .*dvc pull"):
        origin.find(Subject(SHA256, "model.onnx"), [])
