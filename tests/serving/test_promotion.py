"""A service under load while candidates are rejected, promoted and rolled back."""

import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from pipelines import rollback
from pipelines.artifacts import paths
from pipelines.promote import __main__ as promote
from pipelines.tracking import model_registry
from tests.pipelines import synthetic
from tests.serving.conftest import PATIENCE, ROOT, running

ROUNDS = int(os.environ.get("PROMOTION_ROUNDS", "3"))
WORSE, FIRST, BETTER = 0.1, 1.0, 10.0  # strengths of the graphs


class Load(threading.Thread):
    """Sends requests until it is stopped; counts responses by status and version."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.stopped = threading.Event()
        self.responses: Counter[tuple[int, str]] = Counter()

    def run(self) -> None:
        body = {"inputs": synthetic.digits()["test"][0][:1].tolist()}
        with httpx.Client() as client:
            while not self.stopped.is_set():
                try:
                    response = client.post(f"{self.url}/predict", json=body)
                    self.responses[response.status_code, response.json()["model"]["version"]] += 1
                except (httpx.HTTPError, KeyError, ValueError) as error:
                    self.responses[0, repr(error)] += 1

    def close(self) -> Counter[tuple[int, str]]:
        self.stopped.set()
        self.join(PATIENCE)
        return self.responses


def test_no_request_fails_while_champions_are_rejected_replaced_and_restored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = synthetic.enter(tmp_path, monkeypatch, {"frameworks": ["torch"], "architectures": ["cnn"]})
    allowed: list[str] = []

    def run(strength: float, accuracy: float) -> str:
        shutil.rmtree(paths.exports("torch-cnn"), ignore_errors=True)
        synthetic.write_candidate("torch-cnn", strength=strength)
        synthetic.write_metrics("torch-cnn", accuracy=accuracy)
        config = settings.promote.model_copy(update={"allow_rolled_back": tuple(allowed)})
        promote.promote(settings.candidates, config, "cpu", settings.tracking.experiment)
        return model_registry.get_version("tandem", "champion").version

    assert run(FIRST, 0.97) == "1"
    variables = {"TANDEM_CHAMPION": str(paths.CHAMPION.resolve()), "TANDEM_WORKERS": "1", "TANDEM_POLL_SECONDS": "0.1"}
    with running("serving.service:Tandem", ROOT, tmp_path / "home", **variables) as served:

        def wait_for(version: str) -> None:
            """Until the service has the version and SHA-256 of the registry, and has answered with it."""
            expected = version, model_registry.get_version("tandem", "champion").tags["sha256"]
            deadline = time.monotonic() + PATIENCE
            while (model := httpx.get(f"{served.url}/model").json()) and time.monotonic() < deadline:
                if (model["version"], model["sha256"]) == expected and (200, version) in load.responses:
                    return
                time.sleep(0.05)
            raise AssertionError(f"not {expected}: {served.output.read_text()}")

        load = Load(served.url)
        load.start()
        for number in range(ROUNDS):
            assert run(WORSE, 0.91) == "1"
            better = run(BETTER, 1.0)
            assert better == str(number + 2)
            wait_for(better)
            allowed = [model_registry.get_version("tandem", "champion").tags["sha256"]]
            rollback.roll_back("tandem", None, f"round {number}")
            wait_for("1")
        responses = load.close()
    assert {status for status, _ in responses} == {200}, responses
    assert {version for _, version in responses} == {str(version) for version in range(1, ROUNDS + 2)}
    assert capsys.readouterr().out.count("torch-cnn is not better than the champion, version 1") == ROUNDS
