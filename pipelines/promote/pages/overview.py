"""All graphs: verdicts, and charts of quality, latency, size and training time."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from models.export_formats import INT8
from models.metrics.quality import formatted
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
    frameworks = dict.fromkeys(graph.framework for graph in promotion.candidates)
    keys = (f'<span class="key {name}">{name}</span>' for name in frameworks)
    legend = f"{''.join(keys)}Star: champion. Lines: confidence intervals (evaluate.confidence). Hollow: int8."
    table = document.table(_table(promotion), "Verdicts")
    return f'<div class="charts">{drawings}</div>\n<p class="hint">{legend}</p>\n{table}\n{_rules(promotion)}'


def _charts(promotion: Promotion) -> Iterator[tuple[str, str]]:
    graphs, trained, metric = promotion.candidates, promotion.trained, promotion.metric
    champion, candidate = (promotion.champion.name, promotion.champion.candidate) if promotion.champion else ("", "")
    title = f"Test {numbers.metric_name(metric)}"
    yield title, charts.intervals(title, [_interval(graph, metric, promotion) for graph in graphs])
    latencies = [graph.smallest_batch["p50_ms"] for graph in graphs]
    title = f"Median latency, batch of {graphs[0].smallest_batch_size}"
    yield title, charts.bars(title, _bars(graphs, latencies, numbers.milliseconds, champion))
    sizes = [graph.metrics["model"]["bytes"] for graph in graphs]
    yield "File size", charts.bars("File size", _bars(graphs, sizes, numbers.kibibytes, champion))
    seconds = [graph.training["seconds"] for graph in trained]
    yield "Training time", charts.bars("Training time", _bars(trained, seconds, numbers.seconds, candidate))


def _interval(graph: CandidateRecord, metric: str, promotion: Promotion) -> Bar:
    test, is_champion = graph.metrics["test"], graph is promotion.champion
    interval = (test[f"{metric}_low"], test[f"{metric}_high"]) if f"{metric}_low" in test else None
    return Bar(graph.name, _style(graph), test[metric], formatted(test[metric]), interval, is_champion)


def _bars(
    graphs: Sequence[CandidateRecord], values: Sequence[float], text: Callable[[Any], str], champion: str
) -> list[Bar]:
    """A bar for the value of each graph, which `text` formats; `champion` is the name of the one that is marked."""
    return [
        Bar(graph.name, _style(graph), value, text(value), is_champion=graph.name == champion)
        for graph, value in zip(graphs, values, strict=True)
    ]


def _style(graph: CandidateRecord) -> str:
    """The classes of the marks of a graph; that of its framework sets the colour."""
    return f"{graph.framework} int8" if graph.file == INT8 else graph.framework


def _table(promotion: Promotion) -> Table:
    metric = promotion.rules.metric
    rows = [
        (
            graph.name,
            promotion.choice.verdicts[graph.name],
            formatted(graph.validation_score(metric)),
            numbers.with_interval(graph.metrics["test"], promotion.metric),
        )
        for graph in promotion.candidates
    ]
    if (kept := promotion.decision.comparison) and not promotion.decision.replaces:
        rows.append((kept.name, "champion, kept", formatted(kept.champion.score), "-"))
    heading = (
        "graph",
        "verdict",
        f"validation {numbers.metric_name(metric)}",
        f"test {numbers.metric_name(promotion.metric)}",
    )
    return Table(rows, heading, promotion.champion.name if promotion.champion else "")


def _rules(promotion: Promotion) -> str:
    """The rules of the selection."""
    rules = promotion.rules
    limit = rules.config.maximum_latency_ms
    latency = "" if limit is None else f", a p99 latency of {limit:g} ms at most"
    return (
        f'<p class="hint">Required: parity, validation {numbers.metric_name(rules.gate)} of {rules.minimum:g} or more'
        f"{latency}; of int8 graphs also a shorter median latency than in float32 at every batch size. Graphs that "
        f"differ from the best one with a p-value above {rules.config.significance:g} on the same validation examples "
        "are tied; several tied graphs are measured again in turns, which gives the latencies of the slower ones in "
        "the verdicts, and the fastest is selected. It replaces the current champion if it is better on the same "
        "examples. The test split is not used for selection.</p>"
    )
