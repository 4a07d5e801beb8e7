import csv
import json
import shutil

import mlflow
import numpy as np
import onnxruntime
import pytest

from models.errors import InputError
from pipelines.artifacts import paths, validation_outputs
from pipelines.evaluate import __main__ as evaluate
from pipelines.promote import __main__ as promote
from pipelines.tracking import location, runs
from tests.pipelines import synthetic

BOTH = {"frameworks": ["torch", "keras"], "architectures": ["cnn"]}


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Parameters of a workspace with two candidates; the working directory is that workspace."""
    settings = synthetic.enter(tmp_path, monkeypatch, BOTH)
    for name in settings.candidates:
        synthetic.write_candidate(name)
    return settings


def promote_candidates(settings):
    promote.promote(settings.candidates, settings.promote, "cpu", settings.tracking.experiment)


def champion():
    return json.loads((paths.CHAMPION / "champion.json").read_text("utf-8"))


def champion_files():
    return {path.name: path.read_bytes() for path in paths.CHAMPION.iterdir()}


def registered():
    return mlflow.MlflowClient().get_model_version_by_alias("tandem", "champion")


def test_the_validation_split_chooses_not_the_test_split(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97, test_accuracy=0.90)
    synthetic.write_metrics("keras-cnn", accuracy=0.93, test_accuracy=0.99)
    promote_candidates(settings)
    assert champion()["name"] == "torch-cnn"


@pytest.fixture
def slow_torch(settings):
    """The parameters of a workspace in which the graph of torch-cnn is slower than the others."""
    shutil.rmtree(paths.exports("torch-cnn"))
    synthetic.write_candidate("torch-cnn", hidden=200)
    return settings


def test_of_tied_candidates_the_faster_one_is_promoted_by_a_new_measurement(slow_torch, capsys):
    synthetic.write_metrics("torch-cnn", accuracy=0.985, p50_ms=0.1)  # 4 of 270 are wrong
    synthetic.write_metrics("keras-cnn", accuracy=0.970, p50_ms=0.2)  # 8: four examples decide, p = 0.125
    promote_candidates(slow_torch)
    assert champion()["name"] == "keras-cnn"
    shown, page = capsys.readouterr().out, paths.REPORT.read_text("utf-8")
    row = next(line for line in shown.splitlines() if line.startswith("torch-cnn "))
    assert "best accuracy, but tied and slower: " in row
    assert "torch-cnn has the best validation accuracy, 0.9850; tied with it" in page
    assert "keras-cnn is the fastest of these" in page
    (compared,) = [line for line in page.splitlines() if line.startswith("| keras-cnn") and "0.125" in line]
    assert [cell.strip() for cell in compared.split("|")[2:5]] == ["0.0150", "0.125", "yes"]


def test_a_significant_difference_is_no_tie(slow_torch, capsys):
    synthetic.write_metrics("torch-cnn", accuracy=0.985)
    synthetic.write_metrics("keras-cnn", accuracy=0.960)  # 11 are wrong: seven examples decide, p = 0.016
    promote_candidates(slow_torch)
    assert champion()["name"] == "torch-cnn"
    assert "worse accuracy (p = 0.016)" in capsys.readouterr().out


def test_another_metric_selects(settings):
    config = settings.promote.model_copy(update={"metric": "log_loss"})
    for name, sure in (("torch-cnn", 0.91), ("keras-cnn", 0.73)):
        synthetic.write_metrics(name, accuracy=1.0)
        targets = synthetic.digits()["validation"][1]
        outputs = np.where(np.eye(10, dtype=bool)[targets], sure, (1 - sure) / 9).astype(np.float32)
        validation_outputs.write({"model.onnx": outputs}, paths.validation_outputs(name))
        written = json.loads(paths.metrics(name).read_text("utf-8"))
        written["validation"]["log_loss"] = -np.log(sure)
        synthetic.write_json(paths.metrics(name), written)
    promote.promote(settings.candidates, config, "cpu", settings.tracking.experiment)
    assert champion()["name"] == "torch-cnn"
    page = paths.REPORT.read_text("utf-8")
    assert "torch-cnn has the best validation log loss, 0.0943." in page
    assert "| validation log loss" in page


def test_a_metric_of_the_other_task_is_an_error(settings):
    config = settings.promote.model_copy(update={"metric": "mae"})
    with pytest.raises(InputError, match=r"promote\.metric = 'mae' does not apply to 'digits', a classification"):
        promote.promote(settings.candidates, config, "cpu", settings.tracking.experiment)


def test_outputs_of_another_split_are_refused(settings):
    for name in settings.candidates:
        synthetic.write_metrics(name, accuracy=0.97)
    path = paths.validation_outputs("keras-cnn")
    validation_outputs.write({"model.onnx": np.zeros((3, 10), np.float32)}, path)
    with pytest.raises(InputError, match=r"keras-cnn\.npz: 3 outputs of model\.onnx for 270 examples; run `dvc repro`"):
        promote_candidates(settings)


def test_an_int8_graph_that_is_as_accurate_and_faster_is_what_is_served(slow_torch):
    settings = slow_torch
    synthetic.write_candidate("torch-mlp")
    shutil.copy(paths.exports("torch-mlp") / "model.onnx", paths.exports("torch-cnn") / "model.int8.onnx")
    record = json.loads((paths.exports("torch-cnn") / "parity.json").read_text("utf-8"))
    record["files"]["model.int8.onnx"] = synthetic.proof(paths.exports("torch-cnn") / "model.int8.onnx", passed=True)
    synthetic.write_json(paths.exports("torch-cnn") / "parity.json", record)
    synthetic.write_metrics("torch-cnn", accuracy=0.97, int8_accuracy=0.9695, int8_p50_ms=0.5, faster=True)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    promote_candidates(settings)
    files = json.loads((paths.exports("torch-cnn") / "parity.json").read_text("utf-8"))["files"]
    assert champion()["name"] == "torch-cnn-int8"
    assert champion()["model"]["sha256"] == files["model.int8.onnx"]["sha256"] == registered().tags["sha256"]
    assert champion()["metrics"]["validation/accuracy"] == 0.9695
    assert mlflow.get_run(registered().run_id).info.run_name.startswith("torch-cnn 2")


@pytest.mark.parametrize(
    ("faster", "passed", "verdict"),
    [(False, True, "rejected: not faster than in float32"), (True, False, "rejected: parity check failed")],
)
def test_an_int8_graph_that_is_slower_or_beyond_tolerance_is_reported_and_not_served(settings, faster, passed, verdict):
    synthetic.write_int8("torch-cnn", passed)
    synthetic.write_metrics("torch-cnn", accuracy=0.97, int8_accuracy=0.98, int8_p50_ms=0.5, faster=faster)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    promote_candidates(settings)
    assert champion()["name"] == "torch-cnn"
    (row,) = [
        line
        for line in paths.REPORT.read_text("utf-8").splitlines()
        if line.startswith("| torch-cnn-int8") and "rejected" in line
    ]
    assert verdict in row


def test_the_bundle_has_all_that_serving_needs(settings):
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    synthetic.write_training("torch-cnn", run.id)
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    promote_candidates(settings)
    manifest = champion()
    created = manifest["provenance"].pop("created")
    assert created.endswith("+00:00")
    assert (manifest["schema"], manifest["name"], manifest["version"]) == (1, "torch-cnn", "1")
    assert manifest["spec"] == json.loads(paths.SPEC.read_text("utf-8"))
    assert manifest["metrics"]["validation/accuracy"] == 0.97
    assert manifest["provenance"] == {
        "run_id": run.id,
        "git_commit": synthetic.COMMIT,
        "git_dirty": False,
        "data_sha256": synthetic.DATA,
        "tracking_uri": location.uri(),
        "experiment": "tandem",
    }


def test_the_example_is_what_the_model_in_the_bundle_gives(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    promote_candidates(settings)
    example = champion()["example"]
    session = onnxruntime.InferenceSession(paths.CHAMPION / champion()["model"]["file"])
    outputs = session.run(None, {"image": np.array(example["inputs"], np.uint8)})[0]
    assert outputs.shape == (4, 10)
    assert len(set(outputs.argmax(1))) == 4  # one of each of four classes
    np.testing.assert_array_equal(outputs, np.array(example["outputs"], np.float32))


def test_the_registry_knows_the_version_by_its_origin(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    promote_candidates(settings)
    manifest = champion()
    assert {key: value for key, value in registered().tags.items() if not key.startswith("champion_since.")} == {
        "run_id": manifest["provenance"]["run_id"],
        "git_commit": synthetic.COMMIT,
        "data_sha256": synthetic.DATA,
        "candidate": "torch-cnn",
        "sha256": manifest["model"]["sha256"],
    }
    assert registered().run_id == manifest["provenance"]["run_id"]
    assert mlflow.get_run(registered().run_id).info.run_name.startswith("torch-cnn 2")
    signature = mlflow.models.get_model_info("models:/tandem@champion").signature
    assert (signature.inputs.input_names(), signature.outputs.input_names()) == (["image"], ["probabilities"])


def test_no_candidate_passes_and_the_old_champion_stays(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    promote_candidates(settings)
    before = champion_files()
    synthetic.write_metrics("torch-cnn", accuracy=0.5)
    synthetic.write_metrics("keras-cnn", accuracy=0.6)
    with pytest.raises(InputError, match=r"no candidate passes.*torch-cnn: validation accuracy.*keras-cnn: validation"):
        promote_candidates(settings)
    assert champion_files() == before
    assert registered().version == 1


def test_a_model_changed_after_its_parity_check_is_never_registered(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    model = paths.exports("torch-cnn") / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(InputError, match="parity was checked for"):
        promote_candidates(settings)
    assert not paths.CHAMPION.exists()
    assert mlflow.MlflowClient().search_registered_models() == []


def test_what_other_candidates_left_is_not_looked_at(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    synthetic.write_candidate("keras-mlp")
    synthetic.write_metrics("keras-mlp", accuracy=1.0)
    (paths.METRICS / "torch-mlp.json").write_text("not even JSON", "utf-8")
    promote_candidates(settings)
    assert champion()["name"] == "torch-cnn"
    assert "mlp" not in paths.REPORT.read_text("utf-8")


def test_a_candidate_without_metrics_is_named(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    with pytest.raises(InputError, match=r"artifacts/metrics/keras-cnn\.json: not found; run `dvc repro`"):
        promote_candidates(settings)


def test_curves_of_all_candidates_are_in_one_table(settings):
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    synthetic.write_metrics("keras-cnn", accuracy=0.93)
    promote_candidates(settings)
    with (paths.PLOTS / "learning_curves.csv").open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["candidate"] for row in rows] == ["torch-cnn"] * 10 + ["keras-cnn"] * 10
    assert set(rows[0]) == {
        "candidate",
        "epoch",
        "train_loss",
        "train_metric",
        "validation_loss",
        "validation_metric",
    }
    assert (paths.PLOTS / "comparison.png").stat().st_size > 10_000
    summary = json.loads(paths.SUMMARY.read_text())
    assert [*summary] == ["champion", "torch-cnn", "keras-cnn"]
    assert summary["torch-cnn"]["validation"] == 0.97


def test_what_is_evaluated_is_promoted_and_every_link_of_the_report_leads_somewhere(settings, capsys):
    for name in settings.candidates:
        evaluate.evaluate(name, settings.evaluate, settings.tracking.experiment)
    promote_candidates(settings)
    manifest, shown = champion(), capsys.readouterr().out
    report = paths.REPORT.read_text("utf-8")
    links = [part.split(")")[0] for part in report.split("](")[1:]]
    assert len(links) == 15
    assert all((paths.ARTIFACTS / link).is_file() for link in links)
    assert f"champion: {manifest['name']}, version 1 of tandem" in shown
    assert "tied with it" in shown  # the two have the same weights
    assert "tied with it" in report
    logged = mlflow.MlflowClient().list_artifacts(manifest["provenance"]["run_id"], "promotion")
    names = ("model-card.md", "plots", "report.html", "report.md")
    assert [file.path for file in logged] == [f"promotion/{name}" for name in names]


def test_the_copy_of_an_experiment_names_its_challenger(tmp_path, monkeypatch, capsys):
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "standalone" / "tmpabc"
    copy.mkdir(parents=True)
    settings = synthetic.enter(copy, monkeypatch, {**BOTH, "frameworks": ["torch"]})
    synthetic.write_candidate("torch-cnn")
    synthetic.write_metrics("torch-cnn", accuracy=0.97)
    promote_candidates(settings)
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith(" challenger")
    assert lines[-1] == "challenger: torch-cnn, version 1 of tandem"
