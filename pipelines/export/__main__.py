"""Stage `export`: writes a trained model in formats for other runtimes and compares each file with the model."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models import checkpoint
from models.config import ModelConfig
from models.encoding import any_missing
from models.export_formats import INT8, ONNX
from models.interfaces import FrameworkModel, Predict
from models.metrics.outputs import from_logits
from models.spec import UNKNOWN, DataSpec
from models.training.batches import Split, evenly_spaced
from pipelines.artifacts import json_object, paths, records, split_files
from pipelines.artifacts.atomic import staged
from pipelines.config import params
from pipelines.config.params import Export
from pipelines.execution import candidate, stage
from pipelines.execution.banners import banners_hidden
from pipelines.execution.candidate import Candidate
from pipelines.export import graph_svg, parity, quantization, reader_processes, temperature
from pipelines.export.batch_sizes import BATCH_SIZES, predict
from pipelines.export.reader import READERS
from pipelines.export.reader_processes import ReaderProcesses


def main() -> None:
    """Export the candidate named on the command line."""
    chosen = candidate.from_command_line("export")
    settings = params.read()
    delete_training_state(chosen)
    export(chosen, settings.models.of(chosen.architecture), settings.export)


def delete_training_state(chosen: Candidate) -> None:
    """Delete the state of the training: DVC starts this stage once it has recorded the trained model."""
    if (folder := paths.training_state(chosen.name)).exists():
        shutil.rmtree(folder)


def export(chosen: Candidate, model_config: ModelConfig, config: Export) -> None:
    """Write the files of one candidate and their parity report.

    Raises InputError if a file cannot be used or exceeds the tolerances; nothing is then written.
    """
    spec = DataSpec.read(paths.SPEC)
    names = [name for name, reader in READERS.items() if chosen.framework in reader.frameworks]
    target = paths.exports(chosen.name)
    with reader_processes.started(names) as readers, staged(target.parent, [target.name]) as partial:
        folder = partial / target.name
        folder.mkdir()
        trained = chosen.framework_module("export").predictor(load_model(chosen, model_config, spec), spec)
        fitted = fit_temperature(trained, spec) if config.calibration == "temperature" else None
        # Another model: the files are compared with the trained one.
        model = load_model(chosen, model_config, spec)
        if fitted is not None:
            divide_logits(chosen, model, fitted)
        with banners_hidden():
            chosen.framework_module("export").export(model, spec, folder)
        graph = onnx.load(folder / ONNX)
        reason = write_int8(graph, spec, config.int8.examples, folder / INT8)
        report = {"candidate": chosen.name, **check_parity(trained, fitted, readers, spec, config, folder)}
        report["without"] = {INT8: reason} if reason else {}
        (folder / paths.GRAPH_SVG).write_text(graph_svg.draw(graph.graph, chosen.name), "utf-8")
        json_object.write(report, folder / records.PARITY)
    print_report(report)


def load_model(chosen: Candidate, config: ModelConfig, spec: DataSpec) -> FrameworkModel:
    """The trained model, on the CPU."""
    chosen.framework_module("device").on_cpu()
    model = chosen.architecture_module().build(spec, config)
    chosen.framework_module("store").load(model, paths.checkpoint(chosen.name) / checkpoint.FILE)
    return model


def fit_temperature(trained: Predict, spec: DataSpec) -> float | None:
    """The temperature of the logits, fitted on the validation split; None for a regression, which has no confidence."""
    if not spec.is_classification:
        return None
    inputs, targets = split_files.read(paths.split("validation"))
    return temperature.fit(predict(trained, inputs, max(BATCH_SIZES)), np.asarray(targets))


def divide_logits(chosen: Candidate, model: FrameworkModel, divisor: float) -> None:
    """Change the weights of a model so that it gives its logits divided by a temperature."""
    store = chosen.framework_module("store")
    store.set_weights(model, temperature.scale_weights(store.get_weights(model), divisor))


def write_int8(graph: onnx.ModelProto, spec: DataSpec, examples: int, path: Path) -> str:
    """Write the int8 copy of a graph, with value ranges of so many training examples; the reason if there is none."""
    if reason := quantization.reason_against(graph, spec):
        return reason
    train = Split(*split_files.read(paths.split("train")))
    quantization.quantize(graph, spec, evenly_spaced(train, examples).inputs, path)
    return ""


def check_parity(
    trained: Predict, fitted: float | None, readers: ReaderProcesses, spec: DataSpec, config: Export, folder: Path
) -> dict[str, Any]:
    """Compare every file of a folder, read in a process of its own, with the trained model; the parity report.

    `trained` gives logits, which are divided by the `fitted` temperature if there is one. Raises InputError for the
    first file that cannot be used or exceeds the tolerances. The int8 graph has its own tolerances, and is recorded as
    not passed where it exceeds them.
    """
    validation = Split(*split_files.read(paths.split("validation")))
    sample = evenly_spaced(validation, config.examples)
    inputs = with_missing_and_unknown(sample.inputs, spec)
    expected = from_logits(predict(trained, inputs, max(BATCH_SIZES)), spec, fitted)
    files = {}
    existing = [folder / name for name in READERS if (folder / name).exists()]
    for file, outputs in readers.predict(existing, spec, inputs):
        result = parity.compare(expected, outputs, sample.targets, spec, config.absolute_tolerance)
        failures = parity.int8_failures(result, config.int8) if file.name == INT8 else []
        if file.name != INT8:
            parity.require_within_tolerances(result, file.name, config)
        files[file.name] = {"passed": not failures, "failures": failures, **parity.file_entry(result, file)}
    return {"temperature": fitted, "examples": len(sample.targets), "batches": BATCH_SIZES, "files": files}


def with_missing_and_unknown(inputs: np.ndarray, spec: DataSpec) -> np.ndarray:
    """The examples, and after them the first one with missing values and with unknown categories, if there can be any.

    The added ones have no target.
    """
    added = []
    if any_missing(spec):
        missing = inputs[:1].copy()
        missing[0, [value is not None for value in spec.fill]] = np.nan
        added.append(missing)
    if any(spec.categories):
        unknown = inputs[:1].copy()
        unknown[0, [bool(names) for names in spec.categories]] = UNKNOWN
        added.append(unknown)
    return np.concatenate([inputs, *added]) if added else inputs


def print_report(report: Mapping[str, Any]) -> None:
    """A line for the temperature, for each file, and for each that does not exist."""
    if report["temperature"] is not None:
        print(f"{report['candidate']}: temperature {report['temperature']:.4f} of the logits", flush=True)
    for name, entry in report["files"].items():
        failures = f"; not a candidate: {', '.join(entry['failures'])}" if entry["failures"] else ""
        examples, size = f"{report['examples']} examples", f"{entry['bytes']:,} bytes"
        print(f"{report['candidate']}: {name} {_result(name, entry)} over {examples}, {size}{failures}", flush=True)
    for name, reason in report["without"].items():
        print(f"{report['candidate']}: no {name}: {reason}", flush=True)


def _result(name: str, entry: Mapping[str, Any]) -> str:
    if name == INT8:
        return f"agrees in {entry['top1_agreement']:.2%} and loses {entry['accuracy_loss']:.4f} accuracy"
    return f"differs by {entry['max_absolute_difference']:.2e} at most"


if __name__ == "__main__":
    stage.run(main)
