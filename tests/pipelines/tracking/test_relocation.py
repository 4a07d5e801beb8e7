"""The folder of a local store moved, copied and opened elsewhere."""

import contextlib
import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest

from models.errors import InputError
from pipelines.artifacts import paths
from pipelines.doctor import mlflow_store
from pipelines.tracking import location, model_registry, relocation, runs, store
from tests.pipelines import synthetic
from tests.pipelines.workspace import assert_one_error_line, run_main


@pytest.fixture
def original(tmp_path, monkeypatch):
    """A folder with a run, its artifact and a registered model, and the id of the run."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    synthetic.enter(folder, monkeypatch)
    return folder, log("1")


def log(version):
    synthetic.write_candidate("torch-cnn")
    file = paths.exports("torch-cnn") / "model.onnx"
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        run.log_artifact(paths.SPEC, "data")
        example = synthetic.digits()["test"][0][:2]
        registered = model_registry.register_onnx(file, synthetic.SPEC, example, run, "tandem", {}, "best")
        model_registry.set_alias(registered, "champion")
    assert registered.version == version
    shutil.rmtree(paths.exports("torch-cnn"))
    return run.id


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("is_moved", [True, False], ids=["moved", "copied"])
def test_earlier_and_new_runs_of_a_moved_or_copied_folder_are_within_it(original, monkeypatch, capfd, is_moved):
    folder, run_id = original
    elsewhere = folder.with_name("elsewhere")
    (shutil.move if is_moved else shutil.copytree)(folder, elsewhere)
    before = files(folder)
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert "not compared" in mlflow_store.check_champion().detail
    assert mlflow_store.check().status == "warning"
    assert "python -m pipelines.tracking.relocation" in str(mlflow_store.check())

    relocation.main()
    assert "the folder was moved or copied" in capfd.readouterr().out
    assert mlflow_store.check().status == "ok"
    file = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="data/spec.json")
    assert Path(file).read_bytes() == paths.SPEC.read_bytes()
    images = synthetic.digits()["test"][0][:2]
    assert mlflow.pyfunc.load_model("models:/tandem@champion").predict(images).shape == (2, 10)

    new = log("2")
    assert (elsewhere / "mlartifacts" / new / "artifacts" / "data" / "spec.json").is_file()
    assert mlflow.pyfunc.load_model("models:/tandem/2").predict(images).shape == (2, 10)
    assert capfd.readouterr().out == ""
    assert files(folder) == before


def test_an_unmoved_store_and_other_experiments_are_left_alone(original, capfd):
    folder, _ = original
    mlflow.create_experiment("own", "file:///data/own-artifacts")
    before = (folder / "mlflow.db").read_bytes()
    store.connect()
    assert (folder / "mlflow.db").read_bytes() == before
    assert capfd.readouterr().out == ""


def test_a_file_that_is_no_database_is_one_line_that_names_it(tmp_path, monkeypatch):
    synthetic.enter(tmp_path, monkeypatch)
    location.database().write_bytes(b"garbage" * 1000)
    message = f"{location.database()}: not usable as the local MLflow store (file is not a database)"
    assert_one_error_line(run_main(relocation.main), message)
    with pytest.raises(InputError, match="file is not a database"), runs.Tracker("tandem").start("torch-cnn", {}):
        pass
    results = mlflow_store.check(), mlflow_store.check_champion()
    assert [result.status for result in results] == ["problem", "warning"]
    assert all(message in result.detail for result in results)


def test_a_database_that_cannot_be_corrected_is_one_line_that_names_it(tmp_path):
    database = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE experiments (artifact_location)")
        connection.execute("INSERT INTO experiments VALUES ('file:///elsewhere/mlartifacts')")
    with pytest.raises(InputError, match=r"mlflow\.db: not usable as the local MLflow store \(no such table: runs\)"):
        relocation.correct(database, tmp_path / "mlartifacts")


def test_what_an_outage_left_is_delivered_in_the_moved_folder(original, monkeypatch):
    folder, run_id = original
    box = runs.outbox.create(location.outboxes(), runs.Header(location.outbox_address(), "torch-cnn", "1", run_id))
    box.append("tags", {"values": {"late": "yes"}})
    box.close()
    shutil.move(folder, folder.with_name("elsewhere"))
    monkeypatch.chdir(folder.with_name("elsewhere"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    with runs.Tracker("tandem").start("torch-mlp", {}):
        pass
    assert mlflow.get_run(run_id).data.tags["late"] == "yes"
