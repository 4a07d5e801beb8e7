"""Evaluation of the exported graphs of one candidate: metrics, latency and plots."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from models.config import Framework
from models.export_formats import ONNX
from models.onnx import inference
from models.onnx.session import Session, open_session, provider, reason_for_cpu
from models.plotting import decision_boundary
from models.spec import DataSpec
from pipelines.artifacts import (
    history,
    json_object,
    layer_history,
    metrics_file,
    paths,
    records,
    validation_outputs,
)
from pipelines.artifacts.atomic import staged
from pipelines.config.params import Evaluate
from pipelines.evaluate import classification_plots, largest_errors, layer_plots, measurement, predictions
from pipelines.evaluate.measurement import GraphPredictions
from pipelines.evaluate.predictions import Predictions
from pipelines.tracking.run import NATIVE_FILES, Run
from pipelines.tracking.runs import Tracker


def evaluate(name: str, config: Evaluate, tracker: Tracker) -> None:
    """Evaluate the graph and its int8 copy, write metrics and plots, and log them to the training run.

    Raises InputError where `evaluate.device` is not available or a file of an earlier stage is missing.
    """
    spec, training = DataSpec.read(paths.SPEC), records.training(name)
    models = [records.model(name, file) for file in records.graphs(name)]
    sessions = [open_session(model, config.device, "evaluate.device") for model in models]
    with tracker.resume(name, training["run_id"]) as run:
        graphs = [_predict(session, spec, records.temperature(name)) for session in sessions]
        _log_native(run, name, training["framework"], graphs[0].validation)
        print(f"{name}: {len(graphs[0].test.targets)} test examples on {provider(graphs[0].session)}", flush=True)
        measured = measurement.compute_metrics(graphs, config)
        for metrics, model in zip(measured, models, strict=True):
            metrics["model"] = {"bytes": model.stat().st_size}
        _write_plots(graphs[0], config, training, name)
        metrics = _with_int8(*measured)
        _write_records(metrics, dict(zip(records.graphs(name), graphs, strict=True)), name)
        _log(run, metrics, name, spec)
        if reason := reason_for_cpu(sessions[0], config.device, "evaluate.device"):
            run.set_tags({"provider_reason": reason})
    _print_summary(metrics, name)


def _predict(session: Session, spec: DataSpec, temperature: float | None) -> GraphPredictions:
    validation, test = (predictions.predict(session, spec, split) for split in ("validation", "test"))
    return GraphPredictions(session, validation, test, temperature)


def _with_int8(metrics: dict[str, Any], int8: dict[str, Any] | None = None) -> dict[str, Any]:
    """The metrics of a graph, with those of its int8 copy under `int8`."""
    if int8 is None:
        return metrics
    return {**metrics, "int8": {**int8, "faster": measurement.is_faster(int8, than=metrics)}}


def _print_summary(metrics: Mapping[str, Any], name: str) -> None:
    print(f"{name}: {measurement.summary(metrics)}", flush=True)
    if int8 := metrics.get("int8"):
        print(f"{name}-int8: {measurement.summary(int8)}", flush=True)


def _write_plots(graph: GraphPredictions, config: Evaluate, training: Mapping[str, Any], name: str) -> None:
    epochs = history.read(paths.checkpoint(name) / history.FILE)
    layers = layer_history.read(paths.checkpoint(name) / layer_history.FILE)
    with staged(paths.PLOTS, [name]) as beside:
        folder = beside / name
        folder.mkdir()
        measurement.write_plots(graph.test, name, config, folder)
        pictures = folder / paths.PICTURES
        marked = int(training["best_epoch"]), int(training["stored_epoch"])
        classification_plots.learning_curves(epochs, *marked, name, pictures / "learning_curves.png")
        layer_plots.layers(layers, name, pictures / "layers.png")
        if decision_boundary.is_applicable(graph.test.spec):
            _write_boundary(graph, name, pictures / "decision_boundary.png")


def _write_boundary(graph: GraphPredictions, name: str, path: Path) -> None:
    plane = decision_boundary.plane(graph.test.inputs, graph.test.targets, graph.test.spec)
    probabilities = inference.predict(graph.session, plane.grid)
    classification_plots.decision_boundary(plane, probabilities, graph.test.spec, name, path)


def _write_records(metrics: Mapping[str, Any], graphs: Mapping[str, GraphPredictions], name: str) -> None:
    """Write metrics, largest errors and what `promote` compares candidates by; `graphs` by file name."""
    outputs = {file: graph.validation.outputs for file, graph in graphs.items()}
    _write(paths.metrics(name), partial(metrics_file.write, metrics))
    _write(paths.validation_outputs(name), partial(validation_outputs.write, outputs))
    _write(paths.errors(name), partial(json_object.write, largest_errors.find(graphs[ONNX].test)))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    with staged(path.parent, [path.name]) as beside:
        write(beside / path.name)


def _log_native(run: Run, name: str, framework: Framework, validation: Predictions) -> None:
    """Log the exported model of the framework, whose outputs are those of the graph, with two examples."""
    file = records.model(name, NATIVE_FILES[framework])
    run.log_native(file, framework, validation.spec, validation.inputs[:2])


def _log(run: Run, metrics: Mapping[str, Any], name: str, spec: DataSpec) -> None:
    run.log_metrics(metrics_file.flatten(metrics))
    run.set_description(measurement.summary(metrics))
    run.set_tags({"provider": metrics["provider"]})
    run.log_dataset(spec, "test", paths.split("test"))
    run.log_artifact(paths.plots(name), "evaluation")
    run.log_artifact(paths.exports(name) / paths.GRAPH_SVG, "graph")
