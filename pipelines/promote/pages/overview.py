"""All graphs: verdicts, and charts of quality, latency, size and training time."""

from collections.abc import Iterator
from html import escape

from models.export_formats import INT8
from pipelines.artifacts.records import CandidateRecord
from pipelines.promote.pages import charts, document, numbers
from pipelines.promote.pages.charts import Bar
from pipelines.promote.pages.document import Table
from pipelines.promote.promotion import Promotion


def html(promotion: Promotion) -> str:
    """Charts, and a table with the verdict on each graph."""
    drawings = "".join(
        f"<figure><figcaption>{escape(title)}</figcaption>{chart}</figure>" for title, chart in _charts(promotion)
    )
    keys = (f'<span class="key {name}">{name}</span>' for name in dict.fromkeys(map(framework, promotion.candidates)))
    legend = f"{''.join(keys)}Star: champion. Lines: confidence intervals. Hollow: int8."
    table = document.table(_table(promotion), "Verdicts")
    return f'<div class="charts">{drawings}</div>\n<p class="hint">{legend}</p>\n{table}\n{_rules(promotion)}'


def framework(candidate: CandidateRecord) -> str:
    """The framework of a graph, which is also the class of its colour."""
    return str(candidate.training["framework"])


def style(candidate: CandidateRecord) -> str:
    """Classes of a graph's marks."""
    return f"{framework(candidate)} int8" if candidate.file == INT8 else framework(candidate)


def _charts(promotion: Promotion) -> Iterator[tuple[str, str]]:
    metric, candidates = promotion.metric, promotion.candidates
    title = f"Test {numbers.metric_name(metric)}"
    yield title, charts.intervals(title, [_interval(one, metric, promotion) for one in candidates])
    title = f"Median latency, batch of {promotion.candidates[0].smallest_batch_size}"
    yield title, charts.bars(title, [_latency(one, promotion) for one in candidates])
    yield "File size", charts.bars("File size", [_size(one, promotion) for one in candidates])
    yield "Training time", charts.bars("Training time", [_time(one, promotion) for one in promotion.trained])


def _interval(one: CandidateRecord, metric: str, promotion: Promotion) -> Bar:
    test = one.metrics["test"]
    interval = (test[f"{metric}_low"], test[f"{metric}_high"]) if f"{metric}_low" in test else None
    return Bar(one.name, style(one), test[metric], numbers.score(test[metric]), interval, one is promotion.champion)


def _latency(one: CandidateRecord, promotion: Promotion) -> Bar:
    value = one.smallest_batch["p50_ms"]
    return Bar(one.name, style(one), value, numbers.milliseconds(value), is_champion=one is promotion.champion)


def _size(one: CandidateRecord, promotion: Promotion) -> Bar:
    value = one.metrics["model"]["bytes"]
    return Bar(one.name, style(one), value, numbers.kibibytes(value), is_champion=one is promotion.champion)


def _time(one: CandidateRecord, promotion: Promotion) -> Bar:
    value = float(one.training["seconds"])
    return Bar(one.candidate, style(one), value, numbers.seconds(value), is_champion=_is_of_champion(one, promotion))


def _is_of_champion(one: CandidateRecord, promotion: Promotion) -> bool:
    return promotion.champion is not None and promotion.champion.candidate == one.candidate


def _table(promotion: Promotion) -> Table:
    metric = promotion.rules.metric
    rows = [
        (
            one.name,
            promotion.choice.verdicts[one.name],
            numbers.score(one.validation_score(metric)),
            numbers.with_interval(one.metrics["test"], promotion.metric),
        )
        for one in promotion.candidates
    ]
    heading = (
        "graph",
        "verdict",
        f"validation {numbers.metric_name(metric)}",
        f"test {numbers.metric_name(promotion.metric)}",
    )
    return Table(rows, heading, promotion.champion.name if promotion.champion else "")


def _rules(promotion: Promotion) -> str:
    """What decided, for those who compare the numbers."""
    rules = promotion.rules
    limit = rules.config.maximum_latency_ms
    latency = "" if limit is None else f", a p99 latency of {limit:g} ms at most"
    return (
        f'<p class="hint">Required: parity, validation {numbers.metric_name(rules.gate)} of {rules.minimum:g} or more'
        f"{latency}; of int8 graphs also a shorter median latency than in float32 at every batch size. Graphs that "
        f"differ from the best one with a p-value above {rules.config.significance:g} on the same validation examples "
        "are tied; of these the fastest becomes champion. The test split is not used for selection.</p>"
    )
