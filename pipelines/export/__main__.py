"""Stage `export`: files for other runtimes, each proved equal to the trained model: `python -m pipelines.export`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from models import checkpoint
from models.batches import Split
from models.encoding import any_missing
from models.export_formats import INT8, ONNX
from models.interfaces import Predict
from models.spec import UNKNOWN, DataSpec
from pipelines.artifacts import parity_report, paths, split_files
from pipelines.artifacts.atomic import staged
from pipelines.cli import candidate, stage
from pipelines.cli.banners import banners_hidden
from pipelines.config import params
from pipelines.config.params import Export
from pipelines.export import graph_svg, parity, quantization, reader_processes
from pipelines.export.batch_sizes import BATCHES, predict
from pipelines.export.reader import READERS
from pipelines.export.reader_processes import Runtimes


def main() -> None:
    """Export one candidate and prove every file. Raises InputError; then nothing is left behind."""
    chosen = candidate.from_command_line("export")
    settings = params.read()
    spec = DataSpec.read(paths.SPEC)
    names = [name for name, reader in READERS.items() if chosen.framework in reader.of]
    target = paths.exports(chosen.name)
    with reader_processes.started(names) as readers, staged(target.parent, [target.name]) as beside:
        chosen.framework_module("device").on_cpu()
        model = chosen.architecture_module().build(spec, settings.models.of(chosen.architecture))
        chosen.framework_module("store").load(model, paths.checkpoint(chosen.name) / checkpoint.FILE)
        folder = beside / target.name
        folder.mkdir()
        with banners_hidden():
            chosen.framework_module("export").export(model, spec, folder)
        graph = onnx.load(folder / ONNX)
        reason = quantize(graph, folder / INT8, spec, settings.export.calibration)
        trained = chosen.framework_module("export").predictor(model, spec)
        proof = {"candidate": chosen.name, **prove(trained, readers, folder, spec, settings.export)}
        proof["without"] = {INT8: reason} if reason else {}
        (folder / paths.GRAPH_SVG).write_text(graph_svg.draw(graph.graph, chosen.name), "utf-8")
        parity_report.write(proof, folder / parity_report.FILE)
    report(proof)


def quantize(graph: onnx.ModelProto, target: Path, spec: DataSpec, calibration: int) -> str:
    """Write the int8 copy of a graph, made with so many training examples; why there is none, or nothing."""
    if reason := quantization.reason_against(graph, spec):
        return reason
    train = Split(*split_files.read(paths.split("train")))
    # Evenly spread: the first ones may all be of one class.
    chosen = np.linspace(0, len(train) - 1, min(calibration, len(train))).astype(int)
    quantization.quantize(graph, target, spec, np.array(train.inputs[chosen]))
    return ""


def prove(trained: Predict, readers: Runtimes, folder: Path, spec: DataSpec, config: Export) -> dict[str, Any]:
    """Compare every file of a folder, asked in a process of its own, with the trained model; what parity.json says.

    Raises InputError for the first file that cannot be used or is beyond the tolerances; the int8 graph,
    which has its own, is then recorded as not passed.
    """
    validation = Split(*split_files.read(paths.split("validation")))
    count = min(config.examples, len(validation))
    inputs, targets = with_gaps(validation.inputs[:count], validation.targets[:count], spec)
    expected = predict(trained, inputs, max(BATCHES))
    files = {}
    there = [folder / name for name in READERS if (folder / name).exists()]
    for file, outputs in readers.ask(there, spec, inputs):
        found = parity.compare(expected, outputs, targets, config.absolute_tolerance, unit(spec))
        failures = parity.int8_failures(found, config.int8) if file.name == INT8 else []
        if file.name != INT8:
            parity.require(found, file.name, config)
        files[file.name] = {"passed": not failures, "failures": failures, **parity.describe(file, found)}
    return {"examples": count, "batches": BATCHES, "files": files}


def with_gaps(inputs: np.ndarray, targets: np.ndarray, spec: DataSpec) -> tuple[np.ndarray, np.ndarray]:
    """The examples, and of a table the first again: with all missing that may be, and with unknown categories."""
    if spec.kind == "image" or not any_missing(spec):
        return inputs, targets
    missing, unknown = inputs[:1].copy(), inputs[:1].copy()
    missing[0, [value is not None for value in spec.fill]] = np.nan
    unknown[0, [bool(names) for names in spec.categories]] = UNKNOWN
    return np.concatenate([inputs, missing, unknown]), np.concatenate([targets, targets[:1], targets[:1]])


def unit(spec: DataSpec) -> float:
    """In what differences are counted: 1 for probabilities, else the target's standard deviation.

    Where that is small beside the mean, a hundredth of the mean: float32 has seven digits.
    """
    return 1.0 if spec.is_classification else max(spec.target_std, abs(spec.target_mean) / 100)


def report(proof: Mapping[str, Any]) -> None:
    """A line for each file, and for each that is not there or is no candidate."""
    for name, facts in proof["files"].items():
        failures = f"; no candidate: {', '.join(facts['failures'])}" if facts["failures"] else ""
        print(
            f"{proof['candidate']}: {name} {_said(name, facts)} over {proof['examples']} examples, "
            f"{facts['bytes']:,} bytes{failures}",
            flush=True,
        )
    for name, reason in proof["without"].items():
        print(f"{proof['candidate']}: no {name}: {reason}", flush=True)


def _said(name: str, facts: Mapping[str, Any]) -> str:
    if name == INT8:
        return f"agrees in {facts['top1_agreement']:.2%} and loses {facts['accuracy_loss']:.4f} accuracy"
    return f"differs by {facts['max_absolute_difference']:.2e} at most"


if __name__ == "__main__":
    stage.run(main)
