"""Pipelines of several machines on one server with a SQL store and proxied artifacts."""

import json
import shutil
import threading
from pathlib import Path

import mlflow
import pytest

from pipelines.artifacts import paths
from pipelines.promote import __main__ as promote
from pipelines.tracking import runs, store
from tests.pipelines import synthetic


@pytest.fixture
def machine(running, tmp_path, monkeypatch):
    """Makes a workspace of its own on the server, with the working directory in it."""

    def make(name, experiment):
        (tmp_path / name).mkdir()
        changes = {
            "frameworks": ["torch"], "architectures": ["cnn"], "tracking.experiment": experiment,
            "promote.model_name": experiment,
        }  # fmt: skip
        settings = synthetic.enter(tmp_path / name, monkeypatch, changes)
        Path("mlflow.db").unlink()  # that of a machine without a server
        mlflow.set_tracking_uri(running.uri)
        if not running.responds():
            running.start()
        return settings

    return make


def train(settings, accuracy, strength=1.0):
    """The outputs of the stages before `promote`, and a run of the training on the server."""
    with runs.Tracker(settings.tracking.experiment).start("torch-cnn", {}) as run:
        run.log_once({"epoch/loss": 0.5}, 1)
    synthetic.write_candidate("torch-cnn", run.id, strength=strength)
    synthetic.write_metrics("torch-cnn", accuracy)
    return run.id


def promote_candidate(settings):
    promote.promote(settings.candidates, settings.promote, "cpu", settings.tracking.experiment)
    return json.loads((paths.CHAMPION / "champion.json").read_text("utf-8"))


def artifacts(run_id, folder):
    return [file.path for file in mlflow.MlflowClient().list_artifacts(run_id, folder)]


def test_two_pipelines_share_registry_experiment_and_artifacts(machine, tmp_path):
    settings = machine("first", "shared")
    first = train(settings, accuracy=0.91, strength=0.01)
    assert promote_candidate(settings)["version"] == "1"

    settings = machine("second", "shared")
    settings = settings.model_copy(update={"promote": settings.promote.model_copy(update={"replace": "always"})})
    second = train(settings, accuracy=0.99)
    champion = promote_candidate(settings)
    assert (champion["version"], champion["provenance"]["run_id"]) == ("2", second)
    assert mlflow.MlflowClient().get_model_version_by_alias("shared", "champion").run_id == second
    for run_id in (first, second):
        assert mlflow.get_run(run_id).info.status == "FINISHED"
        assert "promotion/report.html" in artifacts(run_id, "promotion")
    assert not list(tmp_path.rglob("mlartifacts"))
    assert not list(tmp_path.rglob("mlflow.db"))


def test_a_machine_that_pulled_the_artifacts_continues_their_runs(machine, tmp_path, capfd):
    settings = machine("first", "pulled")
    run_id = train(settings, accuracy=0.95)
    promote_candidate(settings)

    settings = machine("second", "pulled")
    shutil.rmtree(paths.ARTIFACTS)
    shutil.copytree(tmp_path / "first" / "artifacts", paths.ARTIFACTS)
    capfd.readouterr()
    champion = promote_candidate(settings)
    assert (champion["version"], champion["provenance"]["run_id"]) == ("1", run_id)
    assert "a new run replaces it" not in capfd.readouterr().out
    assert len(mlflow.search_runs(experiment_names=["pulled"])) == 1


def test_a_server_without_the_runs_gets_new_ones(machine, capfd):
    """After `dvc pull` with another server."""
    settings = machine("first", "elsewhere")
    synthetic.write_candidate("torch-cnn", "0" * 32)
    synthetic.write_metrics("torch-cnn", 0.95)
    champion = promote_candidate(settings)
    assert f"run {'0' * 32} is not in http://127.0.0.1" in capfd.readouterr().out
    run = mlflow.get_run(champion["provenance"]["run_id"])
    assert run.data.tags["tandem.replaces_run"] == "0" * 32
    assert "promotion/report.html" in artifacts(run.info.run_id, "promotion")


def test_machines_may_create_an_experiment_at_once(server, monkeypatch):
    """Both look for it before one of them has created it."""
    both = threading.Barrier(2)
    look = mlflow.get_experiment_by_name
    looked = threading.local()

    def look_together(name):
        found = look(name)
        if not hasattr(looked, "once"):
            looked.once = True
            both.wait(300)
        return found

    store.connect()
    monkeypatch.setattr(mlflow, "get_experiment_by_name", look_together)
    ids = []
    threads = [threading.Thread(target=lambda: ids.append(store.open_experiment("at once"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 2
    assert ids[0] == ids[1] == look("at once").experiment_id
