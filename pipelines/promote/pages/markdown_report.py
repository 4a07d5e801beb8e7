"""`report.md`: the promotion as one page of Markdown, whose table of candidates is also printed to the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from models.metrics.latency import MIN_TAIL_CALLS
from models.metrics.quality import formatted
from models.plotting import decision_boundary
from models.spec import DataSpec
from pipelines.artifacts import paths
from pipelines.artifacts.records import CandidateRecord
from pipelines.promote.decision import Decision
from pipelines.promote.pages import document, numbers
from pipelines.promote.promotion import Promotion
from pipelines.promote.selection import Choice, Rules

PLOTS = {
    "accuracy": ("confusion", "roc", "reliability", "learning_curves", "layers", "most_wrong"),
    "r2": ("predictions", "residuals", "learning_curves", "layers"),
}
INTERVALS = (
    "Intervals in brackets have the level `evaluate.confidence`: Wilson's for an accuracy, percentiles of a bootstrap "
    "for metrics of a regression. Latencies in this table are those of `evaluate`, each candidate by itself."
)
ALT_TEXTS = {"most_wrong": "misclassified examples"}


def table(
    candidates: Sequence[CandidateRecord], choice: Choice, decision: Decision, rules: Rules, style: str = "simple"
) -> str:
    """A line for each candidate, and one for a champion that was compared and is kept.

    `style` is one of tabulate's: `simple`, or `github` with text escaped for Markdown.
    """
    verdicts = {name: document.plain(text) if style == "github" else text for name, text in choice.verdicts.items()}
    rows = [{**_row(candidate, rules), "verdict": verdicts[candidate.name]} for candidate in candidates]
    if decision.comparison and not decision.replaces:
        kept = decision.comparison
        name = document.plain(kept.name) if style == "github" else kept.name
        # The champion need not be a candidate; its other columns are not measured again.
        score = {f"validation {rules.metric_name}": formatted(kept.champion.score)}
        rows.append({"candidate": name, **score, "verdict": "champion, kept"})
    # Text, so that each column keeps its significant digits.
    return tabulate(rows, headers="keys", tablefmt=style, disable_numparse=True, missingval="-")


def page(promotion: Promotion) -> str:
    """The page in Markdown; links are relative to the folder `artifacts`."""
    candidates, choice, rules = promotion.candidates, promotion.choice, promotion.rules
    manifest, trained = promotion.manifest, promotion.trained
    name, model_name = document.plain(manifest["name"]), document.code(rules.config.model_name)
    parts = [
        f"# Champion: {name}, version {manifest['version']} of {model_name}",
        f"{document.plain(choice.reason)}.",
        f"Comparison with the champion before: {document.plain(promotion.decision.reason)}.",
        table(candidates, choice, promotion.decision, rules, "github"),
        INTERVALS,
        f"![All candidates]({_link(paths.COMPARISON)})",
        _gates(rules),
        _selection(choice, rules, candidates[0].smallest_batch_size),
        _test_metrics(candidates),
        _latencies(candidates),
        _parity(trained),
        _plots(trained, promotion.spec),
        _provenance(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _row(candidate: CandidateRecord, rules: Rules) -> dict[str, str]:
    times = candidate.smallest_batch
    return {
        "candidate": candidate.name,
        f"validation {rules.metric_name}": formatted(candidate.validation_score(rules.metric)),
        f"test {rules.metric_name}": numbers.with_interval(candidate.metrics["test"], rules.metric),
        "p50 ms": _milliseconds(times["p50_ms"]),
        "p99 ms (calls)": f"{_milliseconds(times['p99_ms'])} ({times['calls']:,})",
        "parity": "passed" if candidate.parity_passed else "failed",
        "KiB": f"{candidate.metrics['model']['bytes'] / 1024:.0f}",
    }


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _gates(rules: Rules) -> str:
    limit = rules.config.maximum_latency_ms
    return "\n".join(
        [
            "## Gates",
            "- Parity: outputs equal to those of the trained model within tolerances; int8 graphs have their own.",
            "- int8 graphs: median latency below that of the float32 graph at every batch size.",
            f"- Validation {rules.gate}: at least {rules.minimum:g} (`promote.minimum_{rules.gate}`).",
            f"- p99 latency at the smallest batch size: {'not limited' if limit is None else f'at most {limit:g} ms'}"
            " (`promote.maximum_latency_ms`).",
            "- Not rolled back (`promote.allow_rolled_back` lists exceptions).",
        ]
    )


def _selection(choice: Choice, rules: Rules, batch_size: int) -> str:
    """The rule of the selection, and a row for each candidate that passes the gates."""
    test = "McNemar's exact test" if rules.metric == "accuracy" else f"{rules.config.resamples} paired resamples"
    rows = [
        [
            ranked.name,
            formatted(ranked.deficit),
            "-" if ranked.name == choice.best else f"{ranked.p_value:.3g}",
            "yes" if ranked.is_tied else "no",
            *([f"{ranked.latency.p50_ms:.4f}", f"{ranked.latency.calls:,}"] if ranked.latency else ["-", "-"]),
        ]
        for ranked in choice.ranking
    ]
    heading = ["candidate", f"below the best {rules.metric_name}", "p-value", "tied", "p50 ms", "calls"]
    return (
        f"## Selection\nOf the candidates that pass, {choice.best} has the best validation {rules.metric_name}. Others "
        f"are tied with it if the p-value of the difference on the same examples, by {test}, is above "
        f"{rules.config.significance:g} (`promote.significance`). The tied candidates are measured again in turns with "
        f"batches of {batch_size}; the one with the lowest median latency is selected. It replaces the current "
        "champion if it is better on the same examples. The test split is not used for selection.\n"
        + _github(heading, rows)
    )


def _test_metrics(candidates: Sequence[CandidateRecord]) -> str:
    """A row for each metric, a column for each candidate."""
    rows = [
        [name.replace("_", " "), *(formatted(record.metrics["test"][name]) for record in candidates)]
        for name in candidates[0].metrics["test"]
    ]
    return "## Test split\n" + _github(["metric", *(record.name for record in candidates)], rows)


def _latencies(candidates: Sequence[CandidateRecord]) -> str:
    rows = [
        [record.name, record.metrics["provider"], size.removeprefix("batch_"), *_times(times)]
        for record in candidates
        for size, times in record.metrics["latency"].items()
    ]
    heading = ["candidate", "provider", "batch size", "calls", "p50 ms", "p90 ms", "p99 ms", "examples/s"]
    note = f"p99 is given where it was measured over {MIN_TAIL_CALLS} calls or more."
    return f"## Latency in ONNX Runtime, one thread\n{note}\n" + _github(heading, rows)


def _times(times: Mapping[str, Any]) -> list[str]:
    percentiles = [_milliseconds(times[key]) for key in ("p50_ms", "p90_ms", "p99_ms")]
    return [f"{times['calls']:,}", *percentiles, f"{times['examples_per_second']:,.0f}"]


def _parity(candidates: Sequence[CandidateRecord]) -> str:
    rows = [
        [
            record.name,
            file,
            "passed" if result["passed"] else "failed",
            f"{result['max_absolute_difference']:.1e}",
            *_agreement(record, result),
            result["bytes"],
        ]
        for record in candidates
        for file, result in record.parity["files"].items()
    ]
    heading = ["candidate", "file", "parity", "maximum difference", "top-1 agreement", "accuracy loss", "bytes"]
    fitted = {record.name: record.parity["temperature"] for record in candidates}
    temperatures = ", ".join(f"{name} {value:.4f}" for name, value in fitted.items() if value is not None)
    note = f"Logits are divided by a temperature, fitted on the validation split: {temperatures}.\n"
    return f"## Parity with the trained model\n{note if temperatures else ''}" + _github(heading, rows)


def _agreement(record: CandidateRecord, result: Mapping[str, Any]) -> list[str]:
    """Top-1 agreement with the trained model and loss of accuracy; dashes for a regression."""
    if record.metric != "accuracy":
        return ["-", "-"]
    return [f"{result['top1_agreement']:.2%}", f"{result['accuracy_loss']:.4f}"]


def _plots(candidates: Sequence[CandidateRecord], spec: DataSpec) -> str:
    blocks = [f"### {record.name}\n\n{_images(record, spec)}" for record in candidates]
    return "\n\n".join(["## Plots", *blocks])


def _images(record: CandidateRecord, spec: DataSpec) -> str:
    plots = [*PLOTS[record.metric], *(["decision_boundary"] if decision_boundary.is_applicable(spec) else [])]
    folder = paths.plots(record.name) / paths.PICTURES
    images = {ALT_TEXTS.get(plot, plot.replace("_", " ")): folder / f"{plot}.png" for plot in plots}
    images["the exported graph"] = paths.exports(record.name) / paths.GRAPH_SVG
    return "\n".join(f"![{record.name}: {text}]({_link(path)})" for text, path in images.items())


def _link(path: Path) -> str:
    return path.relative_to(paths.ARTIFACTS).as_posix()


def _provenance(manifest: Mapping[str, Any]) -> str:
    rows = [[key.replace("_", " "), document.plain(str(value))] for key, value in manifest["provenance"].items()]
    rows.append(["SHA-256 of the graph", f"`{manifest['model']['sha256']}`"])
    return "## Provenance\n" + _github(["", manifest["name"]], rows)


def _github(heading: list[str], rows: list[list[Any]]) -> str:
    return "\n" + tabulate(rows, heading, tablefmt="github", disable_numparse=True)
