"""Stage `promote`: choose the champion, register it and hand it to serving."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from models.manifest import MANIFEST
from models.spec import DataSpec
from pipelines.artifacts import bundle, history, json_object, metrics_file, paths, records, split_files
from pipelines.artifacts.atomic import staged
from pipelines.artifacts.records import Evidence
from pipelines.cli import stage
from pipelines.config import params
from pipelines.config.params import Params
from pipelines.inference import onnx_runtime
from pipelines.promote import comparison_plot, report, selection
from pipelines.promote.selection import Choice, Standing
from pipelines.tracking import runs

EXAMPLES = 4  # raw inputs in the bundle, with the outputs that the graph gave for them


def main() -> None:
    """Promote the best of the candidates that `params.yaml` names."""
    promote(params.read())


def promote(settings: Params) -> None:
    """Choose, register, write the bundle and the report.

    Raises InputError where no candidate passes the gates; the old champion then stays.
    """
    candidates = [found for name in settings.candidates for found in records.read(name)]
    standings = [_standing(found) for found in candidates]
    choice = selection.choose(standings, settings.promote)
    print(f"{report.table(candidates, choice.verdicts)}\n\n{choice.reason}", flush=True)
    champion = next(found for found in candidates if found.name == choice.champion)
    with runs.resume(settings.tracking.experiment, champion.candidate, champion.training["run_id"]) as run:
        record = _hand_over(champion, settings, run, choice.reason)
        _tell(candidates, choice, settings, record)
        run.log_artifact(paths.REPORT, "promotion")
        run.log_artifact(paths.COMPARISON, "promotion/plots")
    print(f"champion: {champion.name}, version {record['version']} of {settings.promote.model_name}", flush=True)


def _standing(found: Evidence) -> Standing:
    times = found.smallest_batch
    return Standing(
        found.name, found.proved, found.score, times["p50_ms"], times["p99_ms"], found.measure, found.faster
    )


def _hand_over(champion: Evidence, settings: Params, run: runs.Run, why: str) -> dict[str, Any]:
    """Register the model and write the bundle; what champion.json says."""
    spec, model = DataSpec.read(paths.SPEC), records.model(champion.candidate, champion.file)
    example = split_files.read(paths.split("validation"))[0][:EXAMPLES]
    outputs = onnx_runtime.run(onnx_runtime.open_session(model, settings.evaluate.device), example)
    tags = _tags(champion, run.id)
    version = run.register_onnx(model, spec, settings.promote.model_name, np.array(example), tags, why)
    record = {
        "name": champion.name,
        "version": version,
        "spec": spec.to_dict(),
        "metrics": metrics_file.flatten(champion.metrics),
        "provenance": _provenance(champion, run.id, settings.tracking.experiment),
        "example": {"inputs": _without_nan(example), "outputs": outputs.tolist()},
    }
    written = bundle.write(record, model, champion.sha256, paths.CHAMPION)
    # With it a service elsewhere can make the same bundle out of the registry.
    run.log_artifact(paths.CHAMPION / MANIFEST, runs.bundle_folder(version))
    return written


def _without_nan(example: np.ndarray) -> list[Any]:
    """Nested lists with null for a missing value: JSON has no NaN."""
    values = example.astype(object)
    values[np.isnan(example)] = None
    return list(values.tolist())


def _tags(champion: Evidence, run_id: str) -> dict[str, str]:
    """What the version in the registry is known by."""
    return {
        "run_id": run_id,
        "git_commit": str(champion.training["git_commit"]),
        "data_sha256": str(champion.training["data_sha256"]),
        "candidate": champion.name,
        "sha256": champion.sha256,
    }


def _provenance(champion: Evidence, run_id: str, experiment: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        **{key: champion.training[key] for key in ("git_commit", "git_dirty", "data_sha256")},
        "tracking_uri": runs.public_uri(),
        "experiment": experiment,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _tell(candidates: Sequence[Evidence], choice: Choice, settings: Params, record: Mapping[str, Any]) -> None:
    """Write the report, and what compares all candidates."""
    names = dict.fromkeys(found.candidate for found in candidates)
    histories = {name: history.read(paths.checkpoint(name) / history.FILE) for name in names}
    with staged(paths.PLOTS, [paths.COMPARISON.name, paths.LEARNING_CURVES.name]) as beside:
        comparison_plot.draw(beside / paths.COMPARISON.name, candidates, histories, choice.champion)
        history.write_together(histories, beside / paths.LEARNING_CURVES.name)
    with staged(paths.ARTIFACTS, [paths.SUMMARY.name, paths.REPORT.name]) as beside:
        summary = report.summary(candidates, choice.champion)
        json_object.write(summary, beside / paths.SUMMARY.name)
        text = report.page(candidates, choice, settings.promote, record)
        (beside / paths.REPORT.name).write_text(text, "utf-8")


if __name__ == "__main__":
    stage.run(main)
