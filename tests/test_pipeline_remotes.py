"""Data and artifacts through a DVC remote: pushed, pulled into a fresh clone, and served there."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from pipelines.execution.ports import free_port
from tests.tiny_pipeline import Workspace

START_SECONDS = 300.0  # at most
BUCKET = "tandem"


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """The environment for an S3 server in this process, with a bucket."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    httpx.put(f"http://{host}:{port}/{BUCKET}").raise_for_status()
    names = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        yield {**names, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    finally:
        server.stop()


def run(workspace: Workspace, *command: str, **variables: str) -> str:
    done = workspace.run(*command, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def push(workspace: Workspace, remote: str, **variables: str) -> None:
    """As docs/experiments.md describes it."""
    run(workspace, "dvc", "remote", "add", "--default", "storage", remote)
    run(workspace, "git", "add", "--force", ".dvc/config", "dvc.lock")
    run(workspace, "git", "commit", "--quiet", "--no-verify", "-m", "Lock the pipeline")
    run(workspace, "dvc", "push", "--quiet", **variables)


def clone(workspace: Workspace, folder: Path) -> Workspace:
    run(workspace, "git", "clone", "--quiet", str(workspace.root), str(folder))
    return Workspace(folder)


def assert_serves(workspace: Workspace, home: Path) -> None:
    """`bentoml serve` answers the examples of the champion as recorded."""
    champion = workspace.read("artifacts/champion/champion.json")
    port = free_port()
    environment = workspace.environment(BENTOML_HOME=str(home), TANDEM_WORKERS="1")
    with (home.parent / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            ["bentoml", "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=workspace.root, env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, home.parent / "serve.log")
        answer = httpx.post(
            f"http://127.0.0.1:{port}/predict", json={"inputs": champion["example"]["inputs"]}, timeout=START_SECONDS
        )
        outputs = [list(one["probabilities"].values()) for one in answer.raise_for_status().json()["predictions"]]
        np.testing.assert_allclose(outputs, champion["example"]["outputs"], atol=1e-6)
        assert answer.json()["model"] == {"name": champion["name"], "version": champion["version"]}
    finally:
        os.killpg(process.pid, 15)
        process.wait(START_SECONDS)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        assert process.poll() is None, log.read_text("utf-8")
        assert time.monotonic() < deadline, log.read_text("utf-8")
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)


def test_a_fresh_clone_pulls_from_a_folder_serves_and_replaces_the_runs(copy, tmp_path):
    push(copy, str(tmp_path / "storage"))
    fresh = clone(copy, tmp_path / "clone")
    assert not (fresh.root / "artifacts").exists()
    run(fresh, "dvc", "pull", "--quiet")
    for folder in ("champion", "checkpoints", "data", "exports"):
        names = copy.files(f"artifacts/{folder}")
        assert names
        assert fresh.files(f"artifacts/{folder}") == names
    run(fresh, "dvc", "repro", "--quiet", "--single-item", "check")  # its output is not pushed
    assert "up to date" in run(fresh, "dvc", "status")
    assert_serves(fresh, tmp_path / "bentoml")
    assert_stages_replace_the_runs(copy, fresh)


def test_a_fresh_clone_pulls_by_the_s3_protocol_and_serves(copy, s3, tmp_path):
    push(copy, f"s3://{BUCKET}/storage", **s3)
    fresh = clone(copy, tmp_path / "clone")
    run(fresh, "dvc", "pull", "--quiet", **s3)
    assert fresh.files("artifacts/champion") == copy.files("artifacts/champion")
    assert fresh.files("artifacts/exports") == copy.files("artifacts/exports")
    assert_serves(fresh, tmp_path / "bentoml")


def assert_stages_replace_the_runs(copy: Workspace, fresh: Workspace) -> None:
    """After `dvc pull`, the MLflow store of the new machine does not have the runs that the artifacts name."""
    output = run(fresh, sys.executable, "-m", "pipelines.promote")
    champion = json.loads((fresh.root / "artifacts" / "champion" / "champion.json").read_text("utf-8"))
    recorded = copy.read("artifacts/champion/champion.json")["provenance"]["run_id"]
    assert f"run {recorded} is not in sqlite:///{fresh.root}/mlflow.db; a new run replaces it" in output
    version = fresh.client.get_model_version_by_alias("tandem", "champion")
    replacement = fresh.client.get_run(version.run_id)
    assert (replacement.data.tags["tandem.replaces_run"], replacement.info.status) == (recorded, "FINISHED")
    assert champion["model"]["sha256"] == version.tags["sha256"]
