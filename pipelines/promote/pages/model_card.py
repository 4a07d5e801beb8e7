"""Model card of the champion: https://huggingface.co/docs/hub/model-cards, with the sections of its template."""

import io
from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml import YAML

from models.spec import DataSpec
from pipelines.artifacts import json_object
from pipelines.artifacts.records import CandidateRecord
from pipelines.execution.counts import counted
from pipelines.promote.pages import document, numbers
from pipelines.promote.pages.document import Block, Code, Section, Table
from pipelines.promote.promotion import Promotion

# Names of metrics in https://huggingface.co/metrics, and here.
METRICS = {
    "classification": {"accuracy": "accuracy", "f1": "macro_f1", "roc_auc": "roc_auc"},
    "regression": {"r_squared": "r2", "mae": "mae", "rmse": "rmse"},
}
FRAMEWORKS = {"torch": "PyTorch", "keras": "Keras"}


def markdown(promotion: Promotion) -> str:
    """The card with its metadata as YAML front matter."""
    buffer = io.StringIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.dump(metadata(promotion), buffer)
    return f"---\n{buffer.getvalue()}---\n\n# {_title(promotion)}\n\n{document.markdown(sections(promotion))}"


def metadata(promotion: Promotion) -> dict[str, Any]:
    """The metadata of the hub; a license and languages are for the owner of the model to add."""
    spec, test = promotion.spec, promotion.test
    task = f"{'image' if spec.kind == 'image' else 'tabular'}-{spec.task}"
    metrics = {name: ours for name, ours in METRICS[spec.task].items() if ours in test}
    result = {
        "task": {"type": task},
        "dataset": {"type": spec.name, "name": spec.name, "split": "test", "revision": _data_sha256(promotion)},
        "metrics": [
            {"type": name, "value": float(test[ours]), "name": numbers.metric_name(ours)}
            for name, ours in metrics.items()
        ],
    }
    return {
        "library_name": "onnx",
        "pipeline_tag": task,
        "tags": ["onnx", *_origin(promotion)],
        "metrics": list(metrics),
        "model-index": [{"name": promotion.rules.config.model_name, "results": [result]}],
    }


def sections(promotion: Promotion) -> list[Section]:
    """The sections of the card under its title."""
    return [
        Section("Model Details", [_summary(promotion), _details(promotion)]),
        Section("Uses", _uses(promotion.spec)),
        Section("Bias, Risks, and Limitations", list(_limitations(promotion))),
        Section("How to Get Started with the Model", [_how_to(promotion.spec), _code(promotion)]),
        Section("Training Details", list(_training(promotion))),
        Section("Evaluation", [*_evaluation(promotion), _results(promotion)]),
        Section("Technical Specifications", [Table(list(_specifications(promotion)))]),
    ]


def _title(promotion: Promotion) -> str:
    return f"{promotion.rules.config.model_name}, version {promotion.manifest['version']}"


def _origin(promotion: Promotion) -> list[str]:
    """Framework and architecture, and int8 for a quantised graph, as in the name of the candidate."""
    return str(promotion.manifest["name"]).split("-")


def _data_sha256(promotion: Promotion) -> str:
    return str(promotion.manifest["provenance"]["data_sha256"])


def _is_of_this_data(promotion: Promotion) -> bool:
    """False for a champion that was trained on other data than the report on the splits is about."""
    return bool(promotion.data["data_sha256"] == _data_sha256(promotion))


def _summary(promotion: Promotion) -> str:
    spec, (framework, architecture, *_) = promotion.spec, _origin(promotion)
    if spec.is_classification:
        purpose = f"predicts {spec.target} ({len(spec.labels)} classes)"
    else:
        purpose = f"predicts the number {spec.target}"
    return (
        f"A neural network ({architecture}) that {purpose} from {_inputs(spec)}. It was trained with "
        f"{FRAMEWORKS[framework]} and exported to ONNX; preprocessing is part of the graph."
    )


def _inputs(spec: DataSpec) -> str:
    if spec.kind == "image":
        height, width, channels = spec.shape
        return f"images of {height}×{width} pixels in {'grayscale' if channels == 1 else 'colour'}"
    return f"{counted(len(spec.features), 'column')} of a table"


def _details(promotion: Promotion) -> Table:
    manifest = promotion.manifest
    return Table(
        [
            ("candidate", str(manifest["name"])),
            ("version", str(manifest["version"])),
            ("created", str(manifest["provenance"]["created"])),
            ("file", f"{manifest['model']['file']}, {numbers.kibibytes(manifest['model']['bytes'])}"),
            ("precision", "int8 weights and activations" if "int8" in _origin(promotion) else "float32"),
            ("license", "not stated"),
        ]
    )


def _uses(spec: DataSpec) -> list[str]:
    kind = "images" if spec.kind == "image" else "rows"
    source = f"like those of the data set {spec.name}"
    return [
        f"Direct use: predictions for {kind} {source}, as raw {'pixels' if spec.kind == 'image' else 'values'}.",
        f"Out-of-scope use: {kind} from other sources or of other kinds. The model gives a prediction for every valid "
        "input, also for one that resembles none of its training data.",
    ]


def _limitations(promotion: Promotion) -> Iterator[str]:
    yield "Effects on groups of people were not examined."
    if _is_of_this_data(promotion):
        yield from _limitations_of_data(promotion.data)
    if (error := promotion.test.get("calibration_error")) is not None:
        yield f"Probabilities deviate from observed frequencies by {error:.4f} on average (expected calibration error)."
    yield "Metrics of the test split hold for data of the same origin; they say nothing about data that has changed."


def _limitations_of_data(data: Mapping[str, Any]) -> Iterator[str]:
    if classes := data.get("classes"):
        counts = classes["train"]
        rare, common = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        yield (
            f"The training split has {counted(counts[rare], 'example')} of the rarest class ({rare}) and "
            f"{counts[common]:,} of the most frequent one ({common})."
        )
    pairs = ((*pair.split("/"), count) for pair, count in data["duplicates"].items())
    if repeated := [f"{count:,} of {later} in {earlier}" for earlier, later, count in pairs if count]:
        yield (
            f"Examples of one split occur in another ({', '.join(repeated)}), which overestimates the quality on new "
            "data."
        )


def _how_to(spec: DataSpec) -> str:
    return (
        f"The input {spec.input_name} is {spec.dtype} of shape [N, {', '.join(map(str, spec.shape))}] without any "
        f"preprocessing; the output {spec.output_name} is float32 of shape [N, {spec.outputs}]."
    )


def _code(promotion: Promotion) -> Code:
    spec = promotion.spec
    lines = [
        "import numpy as np",
        "import onnxruntime",
        "",
        f'session = onnxruntime.InferenceSession("{promotion.manifest["model"]["file"]}")',
        f"inputs = np.zeros((1, {', '.join(map(str, spec.shape))}), np.{spec.dtype})",
        f'outputs = session.run(["{spec.output_name}"], {{"{spec.input_name}": inputs}})[0]',
    ]
    return Code("\n".join(lines), "python")


def _training(promotion: Promotion) -> Iterator[Block]:
    if _is_of_this_data(promotion):
        examples = promotion.data["examples"]
        yield (
            f"Training data: {examples['train']:,} examples of {promotion.spec.name}; {examples['validation']:,} more "
            "were used for validation and for the selection of the model."
        )
    if (temperature := promotion.manifest["metrics"].get("temperature")) is not None:
        yield f"Logits are divided by a temperature of {temperature:.4f}, fitted on validation data."
    if promotion.champion:
        yield from _training_of(promotion.champion)
    else:
        yield "The parameters of its training are in its MLflow run."


def _training_of(champion: CandidateRecord) -> Iterator[Block]:
    record = champion.training
    yield (
        f"Training took {numbers.seconds(record['seconds'])} for {counted(record['epochs'], 'epoch')} on "
        f"{record['device']} in {record['precision']}. The model has {record['parameters']:,} parameters, "
        f"those of epoch {record['stored_epoch']}."
    )
    set_values = ((name, value) for name, value in json_object.flatten(record["params"]) if value not in (None, []))
    architecture = f"{record['architecture']}."  # of the section `models` of params.yaml
    # Without the place of the data, which is a path on the machine of the training.
    rows = [
        (f"models.{name}" if name.startswith(architecture) else name, numbers.general(value))
        for name, value in set_values
        if name != "data.path"
    ]
    yield Table(rows, ("parameter", "value"))


def _evaluation(promotion: Promotion) -> Iterator[str]:
    count = f"{promotion.data['examples']['test']:,} test" if _is_of_this_data(promotion) else "Test"
    yield (
        f"{count} examples, which neither training nor selection used. Results are those of the exported file in ONNX "
        "Runtime; brackets contain confidence intervals (evaluate.confidence)."
    )
    if champion := promotion.champion:
        difference = champion.parity["files"][champion.file]["max_absolute_difference"]
        yield (
            f"Its outputs differ from those of the trained model by {difference:.1e} at most over "
            f"{champion.parity['examples']:,} validation examples."
        )


def _results(promotion: Promotion) -> Table:
    names = [name for name in promotion.test if not name.endswith(("_low", "_high"))]
    rows = [(numbers.metric_name(name), numbers.with_interval(promotion.test, name)) for name in names]
    return Table(rows, ("metric", "test split"))


def _specifications(promotion: Promotion) -> Iterator[tuple[str, str]]:
    provenance, (size, milliseconds) = promotion.manifest["provenance"], promotion.smallest_batch
    yield "latency", f"{numbers.milliseconds(milliseconds)} (median, batch of {size}, one thread)"
    if promotion.champion:
        versions = promotion.champion.training["versions"]
        yield "software", ", ".join(f"{name} {version}" for name, version in versions.items())
    yield "SHA-256", str(promotion.manifest["model"]["sha256"])
    yield "MLflow run", str(provenance["run_id"])
    yield "git commit", f"{provenance['git_commit']}{' with changes' if provenance['git_dirty'] else ''}"
    yield "data SHA-256", str(provenance["data_sha256"])
