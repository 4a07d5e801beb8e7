"""`dvc repro` killed at random moments, on request: `pytest -m large tests/test_pipeline_kills.py`.

PIPELINE_KILLS sets the number of kills (20), PIPELINE_KILL_SECONDS the longest time until one (60).
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
from typing import Any

import pytest

from pipelines.artifacts.hashing import hash_files
from tests import tiny_pipeline
from tests.tiny_pipeline import Workspace

KILLS, SECONDS = int(os.environ.get("PIPELINE_KILLS", "20")), float(os.environ.get("PIPELINE_KILL_SECONDS", "60"))
NAME, EPOCHS = "torch-mlp", 60
PARAMS = {
    "frameworks": ["torch"],
    "architectures": ["mlp"],
    "train.epochs": EPOCHS,
    "train.batch_size": 8,
    "promote.replace": "always",
}
FILES = (f"checkpoints/{NAME}/weights.npz", f"exports/{NAME}/model.onnx", f"exports/{NAME}/model.int8.onnx")


@pytest.mark.large
@pytest.mark.timeout(7200)
def test_after_every_kill_the_next_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_pipeline, "PARAMS", {**tiny_pipeline.PARAMS, **PARAMS})
    workspace = tiny_pipeline.run(tmp_path)
    expected, kills, generator = result(workspace), 0, random.Random(0)
    while kills < KILLS:
        start_anew(workspace)
        stored = None
        while True:
            is_last = kills == KILLS or generator.random() < 0.2
            output = repro(workspace, None if is_last else generator.uniform(0.5, SECONDS))
            if (resumed := re.search(r"resuming after epoch (\d+)", output)) and stored:
                assert int(resumed[1]) in (stored, stored - 1)  # one may be recorded, and not stored yet
            if is_last or "champion: " in output:
                break
            kills, stored = kills + 1, last_epoch(workspace) or stored
        assert result(workspace) == expected
        assert_complete(workspace)


def repro(workspace: Workspace, seconds: float | None) -> str:
    """The output of `dvc repro`, which is killed with all its processes after so many seconds."""
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=workspace.root, env=workspace.environment(), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        locks = workspace.root / ".dvc" / "tmp" / "rwlock"
        if locks.exists() and not locks.read_text("utf-8"):
            locks.unlink()  # DVC's own; see docs/experiments.md
        return process.communicate()[0]
    assert process.returncode == 0, output
    return output


def start_anew(workspace: Workspace) -> None:
    for name in ("artifacts", ".dvc/cache"):
        shutil.rmtree(workspace.root / name)
    (workspace.root / "dvc.lock").unlink()


def last_epoch(workspace: Workspace) -> int:
    """The last epoch of a training that was killed, in the records for its run; 0 without one."""
    files = (workspace.root / ".dvc" / "tmp" / "mlflow").glob("*/records.jsonl")
    lines = (line for file in files for line in file.read_bytes().splitlines() if line.endswith(b"]"))
    records = (json.loads(line) for line in lines)
    return max((content["step"] for kind, content, _ in records if kind == "once"), default=0)


def result(workspace: Workspace) -> dict[str, Any]:
    """What does not depend on the clock."""
    artifacts = workspace.root / "artifacts"
    metrics = without_times(workspace.read(f"artifacts/metrics/{NAME}.json"))
    return {**{name: hash_files([artifacts / name]) for name in FILES}, "metrics": metrics}


def without_times(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: without_times(value) for key, value in values.items() if key not in ("latency", "faster")}


def assert_complete(workspace: Workspace) -> None:
    """No run is RUNNING, each metric of an epoch is there once, and no part of a file is left."""
    assert {run.info.status for run in workspace.runs()} <= {"FINISHED", "KILLED"}
    run = workspace.run_of(NAME)
    assert run.info.status == "FINISHED"
    for key in run.data.metrics:
        if key.startswith(("epoch/", "layers/")):
            steps = [point.step for point in workspace.client.get_metric_history(run.info.run_id, key)]
            assert sorted(steps) == list(range(1, EPOCHS + 1)), key
    manifest = workspace.read("artifacts/champion/champion.json")
    version = workspace.client.get_model_version_by_alias("tandem", "champion")
    assert (str(version.version), version.tags["sha256"]) == (manifest["version"], manifest["model"]["sha256"])
    temporary = workspace.root / ".dvc" / "tmp"
    left = [*(workspace.root / "artifacts").rglob(".*"), *(temporary / "tandem").rglob("*.npz")]
    left += (temporary / "mlflow").iterdir()
    assert [path for path in left if path.name != ".gitignore"] == []
