"""Stage `evaluate`: how good and how fast one exported graph is; of what would be served, not of what was trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.spec import DataSpec
from pipelines.artifacts import history, layer_history, metrics_file, paths, records
from pipelines.artifacts.atomic import staged
from pipelines.cli import candidate, stage
from pipelines.config import params
from pipelines.config.params import Params
from pipelines.evaluate import classification_plots, layer_plots, measurement, predictions
from pipelines.evaluate.measurement import Asked
from pipelines.evaluate.predictions import Predictions
from pipelines.inference import onnx_runtime
from pipelines.inference.onnx_runtime import Session
from pipelines.plotting import decision_boundary
from pipelines.tracking import runs


def main() -> None:
    """Evaluate the one candidate that the command line names."""
    evaluate(candidate.from_command_line("evaluate").name, params.read())


def evaluate(name: str, settings: Params) -> None:
    """Measure the graph and its int8 copy, write their metrics and plots, and log them to the run that trained it.

    Raises InputError where `evaluate.device` cannot be had or what an earlier stage wrote is missing.
    """
    spec, training = DataSpec.read(paths.SPEC), records.training(name)
    models = [records.model(name, file) for file in records.graphs(name)]
    asked = [_ask(model, spec, settings) for model in models]
    test = asked[0].test
    print(f"{name}: {len(test.targets)} test examples on {onnx_runtime.provider(asked[0].session)}", flush=True)
    measured = measurement.measure(asked, settings.evaluate)
    for metrics, model in zip(measured, models, strict=True):
        metrics["model"] = {"bytes": model.stat().st_size}
    _plot(name, asked[0], settings, int(training["best_epoch"]))
    metrics = _together(*measured)
    _write(name, metrics)
    _log(name, metrics, spec, training, settings.tracking.experiment)
    _report(name, metrics)


def _ask(model: Path, spec: DataSpec, settings: Params) -> Asked:
    session = onnx_runtime.open_session(model, settings.evaluate.device)
    return Asked(session, *(predictions.predict(session, spec, split) for split in ("validation", "test")))


def _together(metrics: dict[str, Any], int8: dict[str, Any] | None = None) -> dict[str, Any]:
    """The metrics of a graph, with those of its int8 copy inside."""
    if int8 is None:
        return metrics
    return {**metrics, "int8": {**int8, "faster": measurement.is_faster(int8, than=metrics)}}


def _report(name: str, metrics: Mapping[str, Any]) -> None:
    print(f"{name}: {measurement.summary(metrics)}", flush=True)
    if int8 := metrics.get("int8"):
        print(f"{name}-int8: {measurement.summary(int8)}", flush=True)


def _plot(name: str, asked: Asked, settings: Params, best_epoch: int) -> None:
    epochs = history.read(paths.checkpoint(name) / history.FILE)
    layers = layer_history.read(paths.checkpoint(name) / layer_history.FILE)
    with staged(paths.PLOTS, [name]) as beside:
        folder = beside / name
        folder.mkdir()
        measurement.plot(folder, name, asked.test, settings.evaluate)
        pictures = folder / measurement.PICTURES
        classification_plots.learning_curves(pictures / "learning_curves.png", name, epochs, best_epoch)
        layer_plots.layers(pictures / "layers.png", name, layers)
        if decision_boundary.fits(asked.test.spec):
            _plot_boundary(pictures / "decision_boundary.png", name, asked.session, asked.test)


def _plot_boundary(path: Path, name: str, session: Session, test: Predictions) -> None:
    plane = decision_boundary.plane(test.inputs, test.targets)
    probabilities = onnx_runtime.predict(session, plane.places)
    classification_plots.decision_boundary(path, name, test.spec, plane, probabilities)


def _write(name: str, metrics: Mapping[str, Any]) -> None:
    path = paths.metrics(name)
    with staged(path.parent, [path.name]) as beside:
        metrics_file.write(metrics, beside / path.name)


def _log(name: str, metrics: Mapping[str, Any], spec: DataSpec, training: Mapping[str, Any], experiment: str) -> None:
    with runs.resume(experiment, name, training["run_id"]) as run:
        run.log_metrics(metrics_file.flatten(metrics))
        run.describe(measurement.summary(metrics))
        run.set_tags({"provider": metrics["provider"]})
        run.log_dataset(spec, "test", paths.split("test"), training["data_sha256"])
        run.log_artifact(paths.plots(name), "evaluation")
        run.log_artifact(paths.exports(name) / "graph.svg", "graph")


if __name__ == "__main__":
    stage.run(main)
