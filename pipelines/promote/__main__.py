"""Stage `promote`: select the best candidate, compare it with the champion, register it, write bundle and reports."""

from collections.abc import Sequence
from dataclasses import replace

from models.config import Device
from models.spec import DataSpec
from pipelines.artifacts import bundle, paths, records
from pipelines.artifacts.records import CandidateRecord
from pipelines.config import params
from pipelines.config.params import Promote
from pipelines.execution import stage
from pipelines.promote import comparison, current_champion, publication, reports
from pipelines.promote.current_champion import CurrentChampion
from pipelines.promote.decision import Decision, decide
from pipelines.promote.pages import markdown_report
from pipelines.promote.selection import Rules
from pipelines.tracking import model_registry, promotion_history, store
from pipelines.tracking.runs import Tracker


def main() -> None:
    """Promote the best of the candidates named in `params.yaml`."""
    settings = params.read()
    promote(settings.candidates, settings.promote, settings.evaluate.device, settings.tracking.experiment)


def promote(names: Sequence[str], config: Promote, device: Device, experiment: str) -> None:
    """Select, compare with the current champion, and write bundle and reports. `device` runs and measures graphs.

    A candidate that is not better than the current champion is not registered. Raises InputError where no candidate
    passes the gates; the current champion is then kept.
    """
    spec = DataSpec.read(paths.SPEC)
    config.require_task(spec.name, spec.task)
    candidates = [record for name in names for record in records.read(name)]
    rules = Rules(config, config.metric_for(spec.task), candidates[0].metric)
    store.open_experiment(experiment)
    with bundle.locked(paths.CHAMPION), current_champion.opened(config.model_name) as current:
        is_copy = model_registry.promotion_alias() == model_registry.CHALLENGER
        if current and (current.registered or is_copy):
            publication.keep(current)  # at first, so that it is the bundle of the workspace if no candidate passes
        choice = comparison.choose(candidates, rules, device, _rejected(config))
        challenger = next(candidate for candidate in candidates if candidate.name == choice.selected)
        decision = _decide(challenger, current, spec, rules, device)
        # An experiment in a copy that is not better leaves the champion of the workspace.
        alias = model_registry.promotion_alias() if decision.replaces else model_registry.CHAMPION
        is_selected = decision.replaces or (current is not None and challenger.sha256 == current.sha256)
        verdict = alias if is_selected else "selected, but not better than the champion"
        choice = replace(choice, verdicts={**choice.verdicts, choice.selected: verdict})
        table = markdown_report.table(candidates, choice, decision, rules)
        print(f"{table}\n\n{choice.reason}\n{decision.reason}", flush=True)
        promotion = reports.draw(candidates, choice, decision, rules)  # an error here leaves the champion unchanged
        with Tracker(experiment).resume(challenger.candidate, challenger.training["run_id"]) as run:
            if current is None or decision.replaces:
                content = publication.of_candidate(challenger)
                replaced = current.registered if current else None
                reason = f"{choice.reason}; {decision.reason}"
                publication.publish(content, run, config.model_name, experiment, replaced, reason)
            elif not (current.registered or is_copy):
                _register(current, config.model_name, experiment)
            manifest = bundle.read(paths.CHAMPION)
            reports.write(promotion(manifest))
            for page in reports.PAGES:
                run.log_artifact(page, "promotion")
            run.log_artifact(paths.COMPARISON, "promotion/plots")
    print(f"{alias}: {manifest['name']}, version {manifest['version']} of {config.model_name}", flush=True)


def _rejected(config: Promote) -> dict[str, str]:
    """SHA-256 of graphs that were rolled back, with the reasons, but for those that may be promoted again."""
    rolled_back = promotion_history.rolled_back(model_registry.list_versions(config.model_name))
    return {sha256: reason for sha256, reason in rolled_back.items() if sha256 not in config.allow_rolled_back}


def _decide(
    challenger: CandidateRecord, current: CurrentChampion | None, spec: DataSpec, rules: Rules, device: Device
) -> Decision:
    """Whether the challenger replaces the current champion."""
    if current is None:
        return Decision(True, "there was no champion to compare it with")
    version = f"the champion, version {current.version}"
    if challenger.sha256 == current.sha256:
        return Decision(False, f"{challenger.name} is {version}")
    if rules.config.replace == "always":
        return Decision(True, f"{challenger.name} is not compared with {version}: promote.replace = always")
    if differing := bundle.data_differences(current.spec, spec):
        return Decision(True, f"{version}, was trained for other data, which differ in: {', '.join(differing)}")
    return decide(comparison.compare(challenger, current, rules, device), rules)


def _register(current: CurrentChampion, name: str, experiment: str) -> None:
    """Register the current champion, which the bundle of the workspace is, in a registry that has no champion."""
    content = publication.of_champion(current)
    with Tracker(experiment).resume(current.manifest["name"], content.record["provenance"]["run_id"]) as run:
        reason = f"version {current.version} of another registry"
        publication.publish(content, run, name, experiment, None, reason)


if __name__ == "__main__":
    stage.run(main, __doc__)
