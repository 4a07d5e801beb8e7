import csv
import json
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from models.errors import InputError
from models.onnx.session import CUDA, open_session, provider
from models.plotting import decision_boundary, style
from models.spec import DataSpec
from pipelines.artifacts import paths, validation_outputs
from pipelines.config import params
from pipelines.evaluate import __main__ as evaluate
from pipelines.evaluate import classification_plots, largest_errors, plot_tables
from pipelines.evaluate.predictions import Predictions
from pipelines.tracking import runs
from tests.pipelines import synthetic

NAME = "torch-cnn"
PICTURES = {"confusion.png", "roc.png", "reliability.png", "learning_curves.png", "layers.png", "most_wrong.png"}
TABLES = {"confusion.csv", "roc.csv", "reliability.csv", "per_class.csv"}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    """The run of one candidate after `evaluate`; the working directory is its workspace."""
    with pytest.MonkeyPatch.context() as patch:
        settings = synthetic.enter(tmp_path_factory.mktemp("workspace"), patch)
        with runs.Tracker("tandem").start(NAME, {}) as run:
            run.log_once({"epoch/validation_accuracy": 0.5}, 1)
        synthetic.write_candidate(NAME, run.id)
        evaluate.evaluate(NAME, settings.evaluate, settings.tracking.experiment)
        yield mlflow.get_run(run.id)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """Parameters of a workspace in which nothing was evaluated; the working directory is that workspace."""
    settings = synthetic.enter(tmp_path, monkeypatch)
    synthetic.write_candidate(NAME)
    return settings


def read_metrics():
    return json.loads(paths.metrics(NAME).read_text("utf-8"))


def read_table(name):
    with (paths.plots(NAME) / Path(name).stem / name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def expected(split):
    """Predicted classes by the fitted weights themselves, without ONNX, and the true ones."""
    weights, bias = synthetic.fitted()
    inputs, targets = synthetic.digits()[split]
    return (inputs.reshape(len(inputs), -1) / synthetic.SCALE @ weights + bias).argmax(1), targets


@pytest.mark.parametrize("split", ["validation", "test"])
def test_accuracy_is_that_of_the_model_itself(evaluated, split):
    predicted, targets = expected(split)
    assert read_metrics()[split]["accuracy"] == pytest.approx(np.mean(predicted == targets))


def test_metrics_are_nested_by_what_they_are_about(evaluated):
    written = read_metrics()
    assert set(written) == {"provider", "validation", "test", "latency", "model", "temperature"}
    assert written["temperature"] == 0.8
    assert written["test"]["calibration_error_uncalibrated"] != written["test"]["calibration_error"]
    assert written["provider"] == "CPUExecutionProvider"
    assert set(written["validation"]) == {"accuracy", "balanced_accuracy", "macro_f1", "log_loss"}
    assert written["test"]["accuracy_low"] < written["test"]["accuracy"] < written["test"]["accuracy_high"]
    assert list(written["latency"]) == ["batch_1", "batch_32", "batch_256"]
    assert written["latency"]["batch_1"]["calls"] >= 100
    assert written["latency"]["batch_1"]["p50_ms"] <= written["latency"]["batch_1"]["p99_ms"]
    for times in written["latency"].values():
        assert (times["p99_ms"] is None) is (times["calls"] < 100)
    assert written["model"]["bytes"] == (paths.exports(NAME) / "model.onnx").stat().st_size


def test_outputs_for_the_validation_split_are_kept_for_the_selection(evaluated):
    predicted, targets = expected("validation")
    outputs = validation_outputs.read(paths.validation_outputs(NAME), "model.onnx", len(targets))
    assert outputs.shape == (len(targets), 10)
    np.testing.assert_array_equal(outputs.argmax(1), predicted)


def test_tables_hold_what_the_metrics_say(evaluated):
    predicted, targets = expected("test")
    pairs = [(row["actual"], row["predicted"]) for row in read_table("confusion.csv")]
    assert pairs == [(str(actual), str(guess)) for actual, guess in zip(targets, predicted, strict=True)]
    assert sum(int(row["count"]) for row in read_table("reliability.csv")) == len(targets)
    assert [row["label"] for row in read_table("per_class.csv")] == list(synthetic.SPEC.labels)
    assert {row["label"] for row in read_table("roc.csv")} == {"macro average", *synthetic.SPEC.labels}
    assert np.mean([float(row["f1"]) for row in read_table("per_class.csv")]) == pytest.approx(
        read_metrics()["test"]["macro_f1"], abs=1e-5
    )


def test_pictures_are_there_and_large_enough_to_read(evaluated):
    assert {path.name for path in paths.plots(NAME).rglob("*.*")} == PICTURES | TABLES
    for name in PICTURES:
        with Image.open(paths.plots(NAME) / "pictures" / name) as picture:
            assert picture.width >= 700
            assert len(picture.getcolors(picture.width * picture.height)) > 10


def test_the_run_that_trained_it_gets_metrics_data_and_plots(evaluated):
    metrics, written = evaluated.data.metrics, read_metrics()
    assert metrics["test/accuracy"] == written["test"]["accuracy"]
    assert metrics["latency/batch_1/p50_ms"] == written["latency"]["batch_1"]["p50_ms"]
    assert metrics["epoch/validation_accuracy"] == 0.5  # of the training, untouched
    assert evaluated.info.status == "FINISHED"
    assert evaluated.data.tags["provider"] == "CPUExecutionProvider"
    assert evaluated.data.tags["provider_reason"] == "evaluate.device = 'cpu'"
    assert [entry.dataset.name for entry in evaluated.inputs.dataset_inputs] == ["digits-test"]
    client = mlflow.MlflowClient()
    folders = [file.path for file in client.list_artifacts(evaluated.info.run_id, "evaluation")]
    files = [file for folder in folders for file in client.list_artifacts(evaluated.info.run_id, folder)]
    logged = {Path(file.path).name for file in files}
    assert logged == PICTURES | TABLES


def test_a_model_is_logged_once_however_often_it_is_evaluated(evaluated):
    settings = params.read()
    evaluate.evaluate(NAME, settings.evaluate, settings.tracking.experiment)
    models = mlflow.search_logged_models([evaluated.info.experiment_id], output_format="list")
    assert [(model.name, model.source_run_id) for model in models] == [(f"{NAME}-native", evaluated.info.run_id)]


def test_an_int8_graph_is_measured_beside_the_other_one(fresh, capfd):
    synthetic.write_int8(NAME)
    evaluate.evaluate(NAME, fresh.evaluate, fresh.tracking.experiment)
    written = read_metrics()
    int8 = written.pop("int8")
    assert set(int8) == {*written, "faster"}
    assert int8["model"]["bytes"] == (paths.exports(NAME) / "model.int8.onnx").stat().st_size
    assert int8["test"]["accuracy"] == pytest.approx(written["test"]["accuracy"], abs=0.02)
    assert int8["test"]["log_loss"] != written["test"]["log_loss"]
    medians = [(int8["latency"][size]["p50_ms"], times["p50_ms"]) for size, times in written["latency"].items()]
    assert int8["faster"] is all(mine < other for mine, other in medians)
    assert f"{NAME}-int8: test accuracy" in capfd.readouterr().out
    (run,) = mlflow.search_runs(experiment_names=["tandem"], output_format="list")
    assert run.data.metrics["int8/test/accuracy"] == int8["test"]["accuracy"]


def test_nothing_is_left_beside(evaluated):
    assert list(paths.ARTIFACTS.rglob(".*")) == []


def test_a_lost_run_is_replaced_once_and_only_once(fresh, capfd):
    evaluate.evaluate(NAME, fresh.evaluate, fresh.tracking.experiment)
    evaluate.evaluate(NAME, fresh.evaluate, fresh.tracking.experiment)
    assert capfd.readouterr().out.count("a new run replaces it") == 1
    assert len(mlflow.search_runs(experiment_names=["tandem"])) == 1


def has_cuda():
    """True where ONNX Runtime can use a GPU, by the provider of a session."""
    Path("graph.onnx").write_bytes(synthetic.graph(*synthetic.fitted()).SerializeToString())
    return provider(open_session(Path("graph.onnx"), "auto")) == CUDA


def test_cuda_without_a_gpu_is_an_error_before_anything_is_written(fresh):
    if has_cuda():
        pytest.skip("there is a usable GPU")
    config = fresh.evaluate.model_copy(update={"device": "cuda"})
    with pytest.raises(InputError, match=r"evaluate\.device = 'cuda': .* allowed: auto, cpu"):
        evaluate.evaluate(NAME, config, fresh.tracking.experiment)
    assert not paths.METRICS.exists()
    assert not paths.PLOTS.exists()


@pytest.mark.gpu
def test_cuda_with_a_gpu_is_used_and_said(fresh):
    if not has_cuda():
        pytest.skip("no usable GPU")
    config = fresh.evaluate.model_copy(update={"device": "cuda"})
    evaluate.evaluate(NAME, config, fresh.tracking.experiment)
    assert read_metrics()["provider"] == CUDA


def test_a_graph_without_a_parity_check_is_refused(fresh):
    model = paths.exports(NAME) / "model.onnx"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(InputError, match=r"model\.onnx: SHA-256 is .* parity was checked for"):
        evaluate.evaluate(NAME, fresh.evaluate, fresh.tracking.experiment)
    assert not paths.METRICS.exists()


@pytest.mark.parametrize("file", ["checkpoints/torch-cnn/run.json", "exports/torch-cnn/parity.json"])
def test_a_missing_record_is_named(fresh, file):
    (paths.ARTIFACTS / file).unlink()
    with pytest.raises(InputError, match=f"artifacts/{file}: not found; run `dvc repro`"):
        evaluate.evaluate(NAME, fresh.evaluate, fresh.tracking.experiment)


def test_a_failure_keeps_the_plots_of_before(fresh):
    paths.plots(NAME).mkdir(parents=True)
    (paths.plots(NAME) / "roc.png").write_bytes(b"old")
    (paths.checkpoint(NAME) / "history.csv").write_text("epoch,train_loss\n1,0.5\n", "utf-8")
    with pytest.raises(InputError, match=r"history\.csv: no column train_accuracy, validation_accuracy"):
        evaluate.evaluate(NAME, fresh.evaluate, fresh.tracking.experiment)
    assert (paths.plots(NAME) / "roc.png").read_bytes() == b"old"


def test_an_unknown_framework_is_refused_with_what_is_allowed(monkeypatch, capfd):
    monkeypatch.setattr(sys, "argv", ["evaluate", "--framework", "jax", "--architecture", "cnn"])
    with pytest.raises(SystemExit):
        evaluate.main()
    assert "choose from" in capfd.readouterr().err


def predictions(channels, classes, wrong):
    """Colour or grey examples of many classes, of which so many are classified wrongly."""
    random = np.random.default_rng(0)
    targets = np.arange(60) % classes
    probabilities = np.full((60, classes), 0.1 / (classes - 1), np.float32)
    guesses = np.where(np.arange(60) < wrong, (targets + 1) % classes, targets)
    probabilities[np.arange(60), guesses] = 0.9 - np.arange(60) / 1000
    labels = tuple(f"a class called {index}" for index in range(classes))
    shape = (12, 12, channels)
    spec = DataSpec("made", "classification", "image", shape, "uint8", labels, "label", (), (1.0,), (1.0,))
    return Predictions(spec, random.integers(0, 256, (60, *shape)).astype(np.uint8), targets, probabilities)


@pytest.mark.parametrize(("channels", "classes", "wrong"), [(3, 30, 40), (1, 2, 1), (3, 2, 0)])
def test_pictures_of_any_number_of_classes_channels_and_mistakes(tmp_path, channels, classes, wrong):
    made = predictions(channels, classes, wrong)
    for draw in (classification_plots.confusion, classification_plots.roc, classification_plots.misclassified):
        draw(made, "torch-cnn", tmp_path / "picture.png")
        with Image.open(tmp_path / "picture.png") as picture:
            picture.verify()
    plot_tables.roc(made, tmp_path / "roc.csv")
    plot_tables.confusion(made, tmp_path / "confusion.csv")


def test_legends_have_every_class(tmp_path, monkeypatch):
    figures = []

    @contextmanager
    def picture(*arguments):
        with style.picture(*arguments) as figure:
            figures.append(figure)
            yield figure

    monkeypatch.setattr(classification_plots, "picture", picture)
    made = predictions(channels=1, classes=3, wrong=7)
    made = replace(made, spec=replace(made.spec, labels=("_a", "b", "_"), features=("x", "y")))
    classification_plots.roc(made, "torch-cnn", tmp_path / "roc.png")
    corner, grid = np.ones(2), np.full((decision_boundary.GRID_SIZE**2, 3), 1 / 3)
    plane = decision_boundary.Plane(grid, np.zeros((60, 2)), made.targets, -corner, corner)
    classification_plots.decision_boundary(plane, grid, made.spec, "torch-cnn", tmp_path / "boundary.png")
    names = [[text.get_text().split(" (")[0] for text in figure.legends[0].get_texts()] for figure in figures]
    assert names == [["_a", "b", "_", "macro average"], ["_a", "b", "_"]]


def test_misclassified_examples_are_ordered_by_confidence():
    made = predictions(channels=1, classes=5, wrong=7)
    assert largest_errors.misclassified_by_confidence(made).tolist() == list(range(7))
