"""`dvc repro` killed at random moments, on request: `pytest -s -m large tests/test_pipeline_kills.py`.

PIPELINE_KILLS sets the number of kills (20), each of a run from nothing that one more run completes. At random, all
processes are killed, or `dvc` alone.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from pipelines.artifacts import history
from pipelines.artifacts.hashing import hash_files
from tests import tiny_pipeline
from tests.tiny_pipeline import CANDIDATES, Workspace

KILLS, SEED = int(os.environ.get("PIPELINE_KILLS", "20")), int(os.environ.get("PIPELINE_KILLS_SEED", "0"))
EPOCHS = 60  # so many that every third kill or so interrupts a training
PARAMS = {"frameworks": ["torch"], "train.epochs": EPOCHS, "promote.replace": "always"}
# These hold times, ids of runs, or what depends on measured times.
VARYING = re.compile(
    r"(history\.csv|run\.json|comparison\.png|metrics\.json|report\.\w+|model-card\.md)$"
    r"|/(tensorboard|champion|metrics)/"
)
TIMES = ("latency", "faster")


@pytest.mark.large
@pytest.mark.timeout(4 * 3600)
def test_after_every_kill_the_next_run_ends_as_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny_pipeline, "PARAMS", {**tiny_pipeline.PARAMS, **PARAMS})
    generator, expected, seconds, kills = random.Random(SEED), {}, {}, 0
    for candidate in CANDIDATES:
        start = time.monotonic()
        if candidate == CANDIDATES[0]:
            workspace = tiny_pipeline.run(tmp_path)
        else:
            start_anew(workspace, candidate)
            completed(workspace)
        expected[candidate], seconds[candidate] = result(workspace, candidate), time.monotonic() - start
    while kills < KILLS:
        candidate = CANDIDATES[kills % len(CANDIDATES)]
        start_anew(workspace, candidate)
        earlier = {run.info.run_id for run in workspace.runs()}
        start, moment, alone = time.monotonic(), generator.uniform(0, seconds[candidate]), generator.random() < 0.5
        output = killed(workspace, moment, alone)
        if output is None:  # it had ended before: the machine is less busy
            seconds[candidate] = time.monotonic() - start
            continue
        kills += 1
        recorded, (place,) = last_epoch(workspace, earlier), ["DVC", *re.findall(r"^> (.*)", output, re.MULTILINE)][-1:]
        moments = f"{'DVC alone ' if alone else ''}after {moment:.0f} of {seconds[candidate]:.0f} s"
        print(f"{kills}: {moments}: {place}; {recorded} epochs", flush=True)
        first = first_epoch(completed(workspace), candidate)
        print(f"{kills}: continued with epoch {first} of {EPOCHS}", flush=True)
        assert first > recorded
        if recorded:
            assert {run.info.run_id for run in workspace.runs()} - earlier == {workspace.run_of(candidate).info.run_id}
        assert result(workspace, candidate) == expected[candidate]
        assert_complete(workspace, candidate)


def killed(workspace: Workspace, seconds: float, alone: bool) -> str | None:
    """The output of `dvc repro`, which is killed after so many seconds; None if it has ended before.

    All its processes are killed with it, or it `alone`.
    """
    log = workspace.root / ".dvc" / "tmp" / "output"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["dvc", "repro"], cwd=workspace.root, env=workspace.environment(), start_new_session=True,
            stdout=file, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill() if alone else os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return log.read_text("utf-8")
    assert process.returncode == 0, log.read_text("utf-8")
    return None


def completed(workspace: Workspace) -> str:
    """The output of the next `dvc repro`; if DVC cannot read its own files, of that after what the doctor advises."""
    done = workspace.run("dvc", "repro")
    if done.returncode:
        print(done.stderr[-200:], flush=True)
        damaged = list(damaged_files(workspace))
        assert damaged, done.stdout + done.stderr
        for name in damaged:
            (workspace.root / name).unlink()
        done = workspace.run("dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def damaged_files(workspace: Workspace) -> Iterator[str]:
    """The files of DVC that the doctor advises to delete."""
    checked = workspace.run(sys.executable, "-m", "pipelines.doctor.dvc_repository")
    names = {"dvc.lock": "dvc.lock", "DVC locks": ".dvc/tmp/rwlock"}
    for line in json.loads(checked.stdout.splitlines()[-1]):
        if line["status"] == "problem":
            print(line, flush=True)
            yield names[line["subject"]]


def start_anew(workspace: Workspace, candidate: str) -> None:
    workspace.change({"frameworks": [candidate.partition("-")[0]]})
    for name in ("artifacts", ".dvc/cache"):
        shutil.rmtree(workspace.root / name)
    (workspace.root / "dvc.lock").unlink()


def last_epoch(workspace: Workspace, earlier: set[str]) -> int:
    """The last epoch that has been recorded since the `earlier` runs, delivered to MLflow or not; 0 without one."""
    kept = []
    for file in (workspace.root / ".dvc" / "tmp" / "mlflow").glob("*/records.jsonl"):
        with suppress(FileNotFoundError):  # just delivered
            lines = [line for line in file.read_bytes().splitlines() if line.endswith(b"]")]
            kept += [content["step"] for kind, content, _ in map(json.loads, lines) if kind == "once"]
    runs = [run.info.run_id for run in workspace.runs() if run.info.run_id not in earlier]
    points = [point for run_id in runs for point in workspace.client.get_metric_history(run_id, "epoch/train_loss")]
    return max([0, *kept, *(point.step for point in points)])


def first_epoch(output: str, candidate: str) -> int:
    """The first epoch that a run of `dvc repro` has trained; one more than there are if it has trained none."""
    if resumed := re.search(rf"{candidate}: resuming after epoch (\d+)", output):
        return int(resumed[1]) + 1
    return 1 if "> python -m pipelines.train " in output else EPOCHS + 1


def result(workspace: Workspace, candidate: str) -> dict[str, Any]:
    """The SHA-256 of each file, the metrics and the epochs, as far as they do not depend on the clock."""
    files = [workspace.root / path for path in workspace.files("artifacts") if not VARYING.search(path)]
    metrics = without_times(workspace.read(f"artifacts/metrics/{candidate}.json"))
    epochs = history.read(workspace.root / "artifacts" / "checkpoints" / candidate / history.FILE)
    columns = [name for name in epochs.dtype.names or () if name != "examples_per_second"]
    hashes = {path.relative_to(workspace.root).as_posix(): hash_files([path]) for path in files}
    return {**hashes, "metrics": metrics, "epochs": epochs[columns].tolist()}


def without_times(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {key: without_times(value) for key, value in values.items() if key not in TIMES}


def assert_complete(workspace: Workspace, candidate: str) -> None:
    """No run is RUNNING, each metric of an epoch is there once, and no part of a file is left."""
    assert {run.info.status for run in workspace.runs()} <= {"FINISHED", "KILLED"}
    run = workspace.run_of(candidate)
    assert run.info.status == "FINISHED"
    for key in run.data.metrics:
        if key.startswith(("epoch/", "layers/")):
            steps = [point.step for point in workspace.client.get_metric_history(run.info.run_id, key)]
            assert sorted(steps) == list(range(1, EPOCHS + 1)), key
    manifest = workspace.read("artifacts/champion/champion.json")
    version = workspace.client.get_model_version_by_alias("tandem", "champion")
    assert (str(version.version), version.tags["sha256"]) == (manifest["version"], manifest["model"]["sha256"])
    exports = workspace.root / "artifacts" / "exports" / candidate
    assert manifest["model"]["sha256"] in {hash_files([path]) for path in exports.glob("*.onnx")}
    temporary = workspace.root / ".dvc" / "tmp"
    left = [*(workspace.root / "artifacts").rglob(".*"), *(temporary / "tandem").rglob("*.npz")]
    left += (temporary / "mlflow").iterdir()
    assert [path for path in left if path.name != ".gitignore"] == []
