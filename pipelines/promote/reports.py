"""The files that report a promotion, written together."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from models.spec import DataSpec
from pipelines.artifacts import history, json_object, paths, validation_report
from pipelines.artifacts.atomic import staged
from pipelines.artifacts.records import CandidateRecord
from pipelines.promote import comparison_plot
from pipelines.promote.decision import Decision
from pipelines.promote.pages import html_report, markdown_report, model_card
from pipelines.promote.promotion import Promotion
from pipelines.promote.selection import Choice, Rules

PAGES = (paths.REPORT, paths.HTML_REPORT, paths.MODEL_CARD)


def draw(
    candidates: Sequence[CandidateRecord], choice: Choice, decision: Decision, rules: Rules
) -> Callable[[Mapping[str, Any]], Promotion]:
    """Write plot and learning curves of all candidates; return the function from champion.json to the promotion."""
    names = dict.fromkeys(candidate.candidate for candidate in candidates)
    histories = {name: history.read(paths.checkpoint(name) / history.FILE) for name in names}
    errors = {name: json_object.read(paths.errors(name)) for name in names}
    data, spec = validation_report.read(), DataSpec.read(paths.SPEC)
    with staged(paths.PLOTS, [paths.COMPARISON.name, paths.LEARNING_CURVES.name]) as beside:
        comparison_plot.draw(candidates, histories, choice.selected, beside / paths.COMPARISON.name)
        history.write_combined(histories, beside / paths.LEARNING_CURVES.name)
    return lambda manifest: Promotion(candidates, choice, decision, rules, manifest, histories, errors, data, spec)


def write(promotion: Promotion) -> None:
    """Write the summary and PAGES: the reports and the champion's card."""
    pages = markdown_report.page(promotion), html_report.page(promotion, _samples()), model_card.markdown(promotion)
    with staged(paths.ARTIFACTS, [paths.SUMMARY.name, *(path.name for path in PAGES)]) as beside:
        json_object.write(_summary(promotion), beside / paths.SUMMARY.name)
        for path, text in zip(PAGES, pages, strict=True):
            (beside / path.name).write_text(text, "utf-8")


def _summary(promotion: Promotion) -> dict[str, Any]:
    """JSON-ready numbers for the comparison of experiments: `dvc exp show` has a column for each."""
    metric = promotion.rules.metric
    numbers = {
        graph.name: {
            "validation": graph.validation_score(metric),
            "test": graph.metrics["test"][metric],
            "p50_ms": graph.smallest_batch["p50_ms"],
        }
        for graph in promotion.candidates
    }
    return {"champion": promotion.manifest["name"], **numbers}


def _samples() -> bytes | None:
    """A PNG with examples of the data; None for tables."""
    path = paths.DATA_REPORT / validation_report.SAMPLES
    return path.read_bytes() if path.exists() else None
