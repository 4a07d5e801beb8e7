"""Each architecture in both frameworks, side by side: learning curves, and a table."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from models.export_formats import INT8
from models.metrics.quality import formatted
from pipelines.artifacts import history
from pipelines.artifacts.records import CandidateRecord
from pipelines.execution.counts import counted
from pipelines.promote.pages import charts, document, numbers
from pipelines.promote.pages.charts import Curve
from pipelines.promote.pages.document import Table
from pipelines.promote.promotion import Promotion

SPLITS = {"validation": "", "train": " dashed"}


def html(promotion: Promotion) -> str:
    """A block for each architecture."""
    names = dict.fromkeys(str(graph.training["architecture"]) for graph in promotion.trained)
    groups = {name: [graph for graph in promotion.trained if graph.training["architecture"] == name] for name in names}
    return "\n".join(_architecture(name, candidates, promotion) for name, candidates in groups.items())


def _architecture(name: str, candidates: Sequence[CandidateRecord], promotion: Promotion) -> str:
    histories = {graph.framework: promotion.histories[graph.candidate] for graph in candidates}
    quantities = ("loss", history.metric(next(iter(histories.values()))))
    drawings = "".join(_curves(f"{name}: {quantity}", quantity, histories) for quantity in quantities)
    legend = "".join(
        f'<span class="key line {framework}{style}">{framework}, {split.replace("train", "training")}</span>'
        for framework in histories
        for split, style in SPLITS.items()
    )
    table = document.table(_table(candidates, promotion), f"{name} in each framework")
    return f'<h3>{escape(name)}</h3>\n<div class="charts">{drawings}</div>\n<p class="hint">{legend}</p>\n{table}'


def _curves(title: str, quantity: str, histories: Mapping[str, np.ndarray]) -> str:
    lines = [
        Curve(f"{framework}{style}", epochs["epoch"], epochs[f"{split}_{quantity}"])
        for framework, epochs in histories.items()
        for split, style in SPLITS.items()
    ]
    caption = escape(numbers.metric_name(quantity).capitalize())
    return f"<figure><figcaption>{caption}</figcaption>{charts.curves(title, lines, 'epoch')}</figure>"


def _table(candidates: Sequence[CandidateRecord], promotion: Promotion) -> Table:
    """A column for each framework."""
    columns = [dict(_values(graph, promotion)) for graph in candidates]
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [(name, *(column.get(name, "–") for column in columns)) for name in names]
    return Table(rows, ("", *(graph.framework for graph in candidates)))


def _values(graph: CandidateRecord, promotion: Promotion) -> Iterator[tuple[str, str]]:
    """The rows of the float32 graph, and of its int8 copy if there is one."""
    record = graph.training
    yield "parameters", f"{record['parameters']:,}"
    yield "training", f"{numbers.seconds(record['seconds'])}, {counted(record['epochs'], 'epoch')}"
    yield "device", f"{record['device']}, {record['precision']}"
    if graph.parity["temperature"] is not None:
        yield "temperature", f"{graph.parity['temperature']:.4f}"
    yield from _graph(graph, promotion)
    for int8 in promotion.candidates:
        if (int8.candidate, int8.file) == (graph.candidate, INT8):
            yield from ((f"int8: {name}", value) for name, value in _graph(int8, promotion))


def _graph(graph: CandidateRecord, promotion: Promotion) -> Iterator[tuple[str, str]]:
    test, times, parity = graph.metrics["test"], graph.smallest_batch, graph.parity["files"][graph.file]
    yield (
        f"validation {numbers.metric_name(promotion.rules.metric)}",
        formatted(graph.validation_score(promotion.rules.metric)),
    )
    for name in (promotion.metric, "mae", "log_loss", "calibration_error", "calibration_error_uncalibrated"):
        if name in test:
            yield f"test {numbers.metric_name(name)}", numbers.with_interval(test, name)
    size = graph.smallest_batch_size
    yield f"latency p50, batch of {size}", numbers.milliseconds(times["p50_ms"])
    yield f"latency p99, batch of {size}", f"{numbers.milliseconds(times['p99_ms'])}, {times['calls']:,} calls"
    yield "throughput, best batch size", f"{_throughput(graph):,.0f} examples/s"
    yield "file size", numbers.kibibytes(graph.metrics["model"]["bytes"])
    yield "parity", "passed" if parity["passed"] else "failed"
    yield "largest difference", f"{parity['max_absolute_difference']:.1e}"
    if promotion.spec.is_classification:
        yield "top-1 agreement", f"{parity['top1_agreement']:.2%}"


def _throughput(graph: CandidateRecord) -> float:
    """Examples per second at the batch size where it is highest."""
    return max(float(times["examples_per_second"]) for times in graph.metrics["latency"].values())
