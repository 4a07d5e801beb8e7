"""The champion from an MLflow registry: download, hot reload when the alias moves, and rollback."""

import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import mlflow
import psutil
import pytest

from models.errors import InputError
from models.manifest import CHECKED
from pipelines import registry
from pipelines.artifacts import paths
from pipelines.execution.ports import free_port
from pipelines.promote import __main__ as promote
from pipelines.tracking import model_registry, runs
from serving.process import registry_sync
from serving.settings import REGISTRY, read
from tests.pipelines import synthetic
from tests.pipelines.workspace import assert_one_error_line, run_main, run_stage
from tests.serving.conftest import PATIENCE, ROOT, Served, running

NAME = "tandem"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server with an empty store."""
    folder, address = tmp_path_factory.mktemp("mlflow"), f"http://127.0.0.1:{free_port()}"
    shutil.copy(synthetic.store(), folder / "mlflow.db")
    store = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    options = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--workers", "1"]
    with (folder / "output.txt").open("wb") as output:
        command = [sys.executable, "-m", "mlflow", "server", *store, *options]
        variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # eight more processes
        process = subprocess.Popen(command, cwd=folder, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait(lambda: httpx.get(f"{address}/health").status_code == 200)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


def wait(done: Callable[[], Any]) -> None:
    """Wait until `done` returns a true value."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError, OSError):
            if done():
                return
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s")


@pytest.fixture(scope="module")
def promoted(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace whose `promote` has registered two versions at the server; the second is the champion."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        changes = {"frameworks": ["torch"], "architectures": ["cnn"]}
        settings = synthetic.enter(folder, patch, changes)
        patch.setenv("MLFLOW_TRACKING_URI", server)
        for strength in (1.0, 10.0):
            shutil.rmtree(paths.exports("torch-cnn"), ignore_errors=True)
            synthetic.write_candidate("torch-cnn", strength=strength)
            synthetic.write_metrics("torch-cnn", accuracy=1.0)
            promote.promote(settings.candidates, settings.promote, "cpu", settings.tracking.experiment)
        yield folder


@pytest.fixture
def client(server: str, promoted: Path) -> mlflow.MlflowClient:
    """A client for moving the alias, which is set to version 2."""
    client = mlflow.MlflowClient(server)
    client.set_registered_model_alias(NAME, "champion", "2")
    return client


def content(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "champion.json").read_text("utf-8")))


def test_the_downloaded_bundle_equals_the_one_written_by_promote(client: mlflow.MlflowClient, promoted: Path) -> None:
    fetched = promoted / "fetched"
    version = registry.fetch(NAME, "champion", fetched)
    assert {path.name: path.read_bytes() for path in fetched.iterdir()} == {
        path.name: path.read_bytes() for path in paths.CHAMPION.iterdir()
    }
    assert registry.fetch(NAME, "champion", fetched, version) == version


def test_a_bundle_that_is_deleted_is_fetched_again(client: mlflow.MlflowClient, tmp_path: Path) -> None:
    folder = tmp_path / "fetched"
    version = registry.fetch(NAME, "champion", folder)
    before = content(folder)
    shutil.rmtree(folder)
    assert registry.fetch(NAME, "champion", folder, version) == version
    assert content(folder) == before


def test_a_version_that_promote_did_not_register_leaves_the_folder_unchanged(
    client: mlflow.MlflowClient, promoted: Path
) -> None:
    fetched = promoted / "kept"
    registry.fetch(NAME, "champion", fetched)
    before = content(fetched)
    example = synthetic.digits()["test"][0][:2]
    with runs.Tracker("tandem").start("by hand", {}) as run:
        file = paths.exports("torch-cnn") / "model.onnx"
        model_registry.set_alias(
            model_registry.register_onnx(file, synthetic.SPEC, example, run, NAME, {}, ""), "champion"
        )
    with pytest.raises(InputError, match=r"not registered by `promote`"):
        registry.fetch(NAME, "champion", fetched)
    assert content(fetched) == before


def test_errors_are_one_line(promoted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_one_error_line(run_stage("registry", promoted, "models:/tandem@nobody", "nowhere"), "nobody")
    done = run_main(registry.main, "tandem@champion", "nowhere")
    assert_one_error_line(done, "allowed: models:/NAME@ALIAS")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert_one_error_line(run_main(registry.main, "models:/tandem@champion", "nowhere"), "not reachable")
    assert not Path("nowhere").exists()


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "1e300"])
def test_a_wrong_interval_is_rejected(seconds: str) -> None:
    done = run_main(registry.main, "models:/tandem@champion", "nowhere", f"--poll={seconds}")
    assert_one_error_line(done, f"--poll {float(seconds)}: allowed: seconds above 0, at most 86400")


def test_the_setting_names_a_folder_for_each_address() -> None:
    assert read({"TANDEM_CHAMPION": "models:/tandem@champion"}).champion == REGISTRY / "tandem@champion"
    assert registry_sync.follows_alias(read({"TANDEM_CHAMPION": "models:/tandem@champion"}))
    for folder in ("artifacts/registry", "artifacts/registry/champion", "elsewhere/tandem@champion"):
        assert not registry_sync.follows_alias(read({"TANDEM_CHAMPION": folder}))
    for wrong in ("models:/tandem/3", "models:/../x@y", "models:/tandem@"):
        with pytest.raises(InputError, match=r"models:/NAME@ALIAS"):
            read({"TANDEM_CHAMPION": wrong})


def test_moving_the_alias_replaces_the_served_champion_in_both_directions(
    client: mlflow.MlflowClient, promoted: Path, server: str, tmp_path: Path
) -> None:
    variables = {
        "TANDEM_CHAMPION": f"models:/{NAME}@champion",
        "MLFLOW_TRACKING_URI": server,
        "PYTHONPATH": str(ROOT),
        "TANDEM_WORKERS": "1",
        "TANDEM_POLL_SECONDS": "0.2",
    }
    images = synthetic.digits()["test"][0][:2].tolist()
    with running("serving.service:Tandem", promoted, tmp_path / "home", **variables) as served:

        def version() -> str:
            answer = httpx.post(f"{served.url}/predict", json={"inputs": images})
            return str(answer.raise_for_status().json()["model"]["version"])

        assert version() == "2"
        client.set_registered_model_alias(NAME, "champion", "1")
        wait(lambda: version() == "1")
        client.set_registered_model_alias(NAME, "champion", "2")
        wait(lambda: version() == "2")
        assert content(promoted / REGISTRY / f"{NAME}@champion")["version"] == "2"
        wait(lambda: age(served) < 10)
        killed = registry_process(served)
        killed.kill()
        client.set_registered_model_alias(NAME, "champion", "1")
        wait(lambda: version() == "1")
        assert registry_process(served) != killed
        wait(lambda: age(served) < 10)
        text = httpx.get(f"{served.url}/metrics").text
        assert re.search(r"^tandem_registry_age_seconds \d+\.\d+$", text, re.MULTILINE)
        ended = r"the registry process ended: exit status (-9|unknown); last checked"
        assert re.search(ended, served.output.read_text())
    assert not killed.is_running()


def age(served: Served) -> float:
    """Seconds since the last successful check, as `/readyz` returns them."""
    return float(httpx.get(f"{served.url}/readyz").json()["registry_age_seconds"])


def registry_process(served: Served) -> psutil.Process:
    """The process that checks the alias."""
    children = psutil.Process(served.process.pid).children()
    (found,) = (each for each in children if "pipelines.registry" in each.cmdline())
    return found


@pytest.fixture
def follower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], registry_sync.Follower]]:
    """Starts a Follower of a Python program, with short pauses."""
    for name in ("RESTART_SECONDS", "WATCH_SECONDS"):
        monkeypatch.setattr(registry_sync, name, 0.05)
    monkeypatch.setattr(registry_sync, "STALE_SECONDS", 0.5)
    monkeypatch.setattr(registry_sync.log, "propagate", True)
    started = []

    def start(program: str) -> registry_sync.Follower:
        started.append(registry_sync.Follower([sys.executable, "-S", "-c", program], tmp_path))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()
        each.join(PATIENCE)
        assert not each.is_alive()


def test_a_registry_process_that_ends_is_started_again(
    tmp_path: Path, follower: Callable[[str], registry_sync.Follower], caplog: pytest.LogCaptureFixture
) -> None:
    follower(f"open({str(tmp_path / 'starts')!r}, 'a').write('x'); raise SystemExit(3)")
    wait(lambda: len((tmp_path / "starts").read_text()) >= 3)
    assert "the registry process ended: exit status 3; never checked; restart in 0.05 s" in caplog.text
    assert "restart in 0.1 s" in caplog.text


def test_the_age_of_the_last_check_is_logged_once_and_when_checks_succeed_again(
    tmp_path: Path, follower: Callable[[str], registry_sync.Follower], caplog: pytest.LogCaptureFixture
) -> None:
    def levels() -> list[int]:
        return [record.levelno for record in caplog.records if "last checked" in record.message]

    def check_succeeds() -> bool:
        (tmp_path / CHECKED).touch()
        return len(levels()) > 1

    caplog.set_level(logging.INFO)
    (tmp_path / CHECKED).touch()
    follower("import time; time.sleep(60)")
    wait(levels)
    time.sleep(0.3)
    assert levels() == [logging.WARNING]
    wait(check_succeeds)
    assert levels()[:2] == [logging.WARNING, logging.INFO]


def test_a_check_without_an_error_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors: list[Exception] = [InputError("not reachable")]

    def fetch(*_: object) -> None:
        if errors:
            raise errors.pop()

    checked = []
    monkeypatch.setattr(registry, "fetch", fetch)
    monkeypatch.setattr(registry.os, "getppid", lambda: len(checked))  # ends after two checks
    monkeypatch.setattr(registry.time, "sleep", lambda _: checked.append((tmp_path / CHECKED).exists()))
    while len(checked) < 2:
        registry.follow(NAME, "champion", tmp_path, 1.0, len(checked))
    assert checked == [False, True]
