"""Stage `promote`: select the champion, register it, and write its bundle and the report."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from models.config import Device
from models.manifest import MANIFEST
from models.session import open_session
from models.spec import DataSpec
from models.training.batches import Split, evenly_spaced
from pipelines.artifacts import bundle, history, json_object, metrics_file, paths, records, split_files
from pipelines.artifacts.atomic import staged
from pipelines.artifacts.records import CandidateRecord
from pipelines.cli import stage
from pipelines.config import params
from pipelines.config.params import Promote
from pipelines.inference import onnx_runtime
from pipelines.promote import candidate_data, comparison_plot, report
from pipelines.promote.selection import Choice, Rules
from pipelines.tracking import model_registry, runs, store
from pipelines.tracking.run import Run

EXAMPLES = 4  # raw inputs in the bundle, spread over the classes, with the outputs of the graph for them


def main() -> None:
    """Promote the best of the candidates named in `params.yaml`."""
    settings = params.read()
    promote(settings.candidates, settings.promote, settings.evaluate.device, settings.tracking.experiment)


def promote(names: Sequence[str], config: Promote, device: Device, experiment: str) -> None:
    """Select, register, write the bundle and the report. Tied candidates are measured again on `device`.

    Raises InputError where no candidate passes the gates; the current champion is then kept.
    """
    spec = DataSpec.read(paths.SPEC)
    config.require_task(spec.name, spec.task)
    candidates = [record for name in names for record in records.read(name)]
    rules = Rules(config, config.metric_for(spec.task), candidates[0].metric)
    choice = candidate_data.choose(candidates, rules, device)
    print(f"{report.table(candidates, choice, rules)}\n\n{choice.reason}", flush=True)
    champion = next(candidate for candidate in candidates if candidate.name == choice.champion)
    with runs.resume(experiment, champion.candidate, champion.training["run_id"]) as run:
        provenance = _provenance(champion, run.id, experiment)
        manifest = _register_and_bundle(champion, config.model_name, run, provenance, choice.reason)
        _write_report(candidates, choice, rules, manifest)
        run.log_artifact(paths.REPORT, "promotion")
        run.log_artifact(paths.COMPARISON, "promotion/plots")
    alias = model_registry.promotion_alias()
    print(f"{alias}: {champion.name}, version {manifest['version']} of {config.model_name}", flush=True)


def _register_and_bundle(
    champion: CandidateRecord, model_name: str, run: Run, provenance: Mapping[str, Any], reason: str
) -> dict[str, Any]:
    """Register the model and write the bundle; the content of champion.json."""
    spec, model = DataSpec.read(paths.SPEC), records.model(champion.candidate, champion.file)
    example = evenly_spaced(Split(*split_files.read(paths.split("validation"))), EXAMPLES).inputs
    outputs = onnx_runtime.run(open_session(model, "cpu"), example)  # the same on machines with and without a GPU
    version = model_registry.register_onnx(model, spec, example, run, model_name, _tags(champion, run.id), reason)
    record = {
        "name": champion.name,
        "version": version,
        "spec": spec.to_dict(),
        "metrics": metrics_file.flatten(champion.metrics),
        "provenance": provenance,
        "example": {"inputs": _without_nan(example), "outputs": outputs.tolist()},
    }
    manifest = bundle.write(record, model, champion.sha256, paths.CHAMPION)
    # From it `pipelines.registry` restores the bundle on another machine.
    run.log_artifact(paths.CHAMPION / MANIFEST, model_registry.bundle_folder(version))
    return manifest


def _without_nan(example: np.ndarray) -> list[Any]:
    """Nested lists with null for a missing value: JSON has no NaN."""
    values = example.astype(object)
    values[np.isnan(example)] = None
    return list(values.tolist())


def _tags(champion: CandidateRecord, run_id: str) -> dict[str, str]:
    """Tags of the registered version."""
    return {
        "run_id": run_id,
        "git_commit": str(champion.training["git_commit"]),
        "data_sha256": str(champion.training["data_sha256"]),
        "candidate": champion.name,
        "sha256": champion.sha256,
    }


def _provenance(champion: CandidateRecord, run_id: str, experiment: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        **{key: champion.training[key] for key in ("git_commit", "git_dirty", "data_sha256")},
        "tracking_uri": store.public_uri(),
        "experiment": experiment,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write_report(
    candidates: Sequence[CandidateRecord], choice: Choice, rules: Rules, manifest: Mapping[str, Any]
) -> None:
    """Write the comparison of all candidates: plot, learning curves, summary and report."""
    names = dict.fromkeys(candidate.candidate for candidate in candidates)
    histories = {name: history.read(paths.checkpoint(name) / history.FILE) for name in names}
    with staged(paths.PLOTS, [paths.COMPARISON.name, paths.LEARNING_CURVES.name]) as beside:
        comparison_plot.draw(candidates, histories, choice.champion, beside / paths.COMPARISON.name)
        history.write_combined(histories, beside / paths.LEARNING_CURVES.name)
    with staged(paths.ARTIFACTS, [paths.SUMMARY.name, paths.REPORT.name]) as beside:
        json_object.write(report.summary(candidates, choice, rules), beside / paths.SUMMARY.name)
        (beside / paths.REPORT.name).write_text(report.page(candidates, choice, rules, manifest), "utf-8")


if __name__ == "__main__":
    stage.run(main)
