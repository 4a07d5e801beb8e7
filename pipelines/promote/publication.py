"""Registration of a graph, and its bundle as the champion of the workspace."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from models.onnx import inference
from models.onnx.session import open_session
from models.spec import DataSpec
from models.training.batches import Split, evenly_spaced
from pipelines.artifacts import bundle, example_hashes, metrics_file, paths, records, signature, split_files
from pipelines.artifacts.records import CandidateRecord
from pipelines.promote.current_champion import CurrentChampion
from pipelines.tracking import location, model_registry, promotion_history
from pipelines.tracking.model_registry import ModelVersion
from pipelines.tracking.run import Run

EXAMPLES = 4  # raw inputs in the bundle, spread over the classes, with the outputs of the graph for them


@dataclass(frozen=True)
class Content:
    """A graph, its SHA-256, and the keys of champion.json that do not depend on the registration.

    `training_examples` are hashes of what it was trained on, None if that is not known.
    """

    model: Path
    sha256: str
    record: Mapping[str, Any]
    training_examples: np.ndarray | None = None


def of_candidate(candidate: CandidateRecord) -> Content:
    """The content for a candidate of the workspace. Raises InputError where its file has not the recorded SHA-256."""
    model = records.model(candidate.candidate, candidate.file)
    example = evenly_spaced(Split(*split_files.read(paths.split("validation"))), EXAMPLES).inputs
    outputs = inference.run(open_session(model, "cpu"), example)  # the same on machines with and without a GPU
    record = {
        "name": candidate.name,
        "spec": DataSpec.read(paths.SPEC).to_dict(),
        "metrics": metrics_file.flatten(candidate.metrics),
        "provenance": {
            **{key: candidate.training[key] for key in ("run_id", "git_commit", "git_dirty", "data_sha256")},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
        },
        "example": {"inputs": _without_nan(example), "outputs": outputs.tolist()},
    }
    training_examples = example_hashes.of(split_files.read(paths.split("train"))[0])
    return Content(model, candidate.sha256, record, training_examples)


def of_champion(champion: CurrentChampion) -> Content:
    """The content of a bundle, to register it again."""
    keys = ("name", "spec", "metrics", "provenance", "example")
    return Content(champion.model, champion.sha256, {key: champion.manifest[key] for key in keys})


def publish(content: Content, run: Run, name: str, experiment: str, replaced: ModelVersion | None, reason: str) -> None:
    """Register a graph under `name` and make it champion, or challenger in the copy of an experiment, with its bundle.

    It is signed if TANDEM_SIGNING_KEY is set. Raises InputError if the key cannot be used or the store does not
    respond; alias and bundle are then unchanged.
    """
    sign = signature.signer()
    content = _located(content, run, experiment)
    spec = DataSpec.from_dict(dict(content.record["spec"]))
    example = np.asarray(content.record["example"]["inputs"], spec.dtype)
    version = model_registry.register_onnx(content.model, spec, example, run, name, _tags(content), reason)
    with TemporaryDirectory() as beside:
        record = {"version": version.version, **content.record}
        bundle.build(record, content.model, content.sha256, Path(beside))
        if sign:
            sign(Path(beside))
        if content.training_examples is not None:
            np.save(Path(beside) / example_hashes.FILE, content.training_examples)
        model_registry.store_beside_model(version, Path(beside))
        with bundle.installing(Path(beside), paths.CHAMPION):
            if model_registry.promotion_alias() == model_registry.CHAMPION:
                promotion_history.promote(version, replaced, reason)
            else:
                model_registry.set_alias(version, model_registry.CHALLENGER)


def keep(champion: CurrentChampion) -> None:
    """Make the current champion the bundle of the workspace, and sign it if there is a key and it is not signed."""
    sign = signature.signer()
    with TemporaryDirectory() as beside:
        folder = Path(beside) / "bundle"
        bundle.install(champion.folder, folder)
        if sign and not any(folder.glob("*.sig")):
            sign(folder)
            if champion.registered:
                model_registry.store_beside_model(champion.registered, folder)
        elif champion.folder == paths.CHAMPION:
            return
        bundle.install(folder, paths.CHAMPION)


def _located(content: Content, run: Run, experiment: str) -> Content:
    """The content with the place of its run in the provenance."""
    place = {"run_id": run.id, "tracking_uri": location.public_uri(), "experiment": experiment}
    return replace(content, record={**content.record, "provenance": {**content.record["provenance"], **place}})


def _without_nan(example: np.ndarray) -> list[Any]:
    """Nested lists with null for a missing value: JSON has no NaN."""
    values = example.astype(object)
    values[np.isnan(example)] = None
    return list(values.tolist())


def _tags(content: Content) -> dict[str, str]:
    """Tags of the registered version."""
    provenance = {key: str(content.record["provenance"][key]) for key in ("run_id", "git_commit", "data_sha256")}
    return {**provenance, "candidate": str(content.record["name"]), "sha256": content.sha256}
