"""Report of a promotion: a table for the terminal and a page of Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from models.export_formats import ONNX
from models.spec import DataSpec
from pipelines.artifacts import paths
from pipelines.artifacts.records import CandidateRecord
from pipelines.config.params import Promote
from pipelines.plotting import decision_boundary
from pipelines.promote.selection import Choice, minimum_of

PLOTS = {
    "accuracy": ("confusion", "roc", "reliability", "learning_curves", "layers", "most_wrong"),
    "r2": ("predictions", "residuals", "learning_curves", "layers"),
}
ALT_TEXTS = {"most_wrong": "misclassified examples"}


def table(candidates: Sequence[CandidateRecord], verdicts: Mapping[str, str], style: str = "simple") -> str:
    """A line for each candidate; `style` is one of tabulate's, such as `simple` or `github`."""
    rows = [{**_row(candidate), "verdict": verdicts[candidate.name]} for candidate in candidates]
    # Text, so that each column keeps its significant digits.
    return tabulate(rows, headers="keys", tablefmt=style, disable_numparse=True)


def summary(candidates: Sequence[CandidateRecord], champion: str) -> dict[str, Any]:
    """JSON-ready numbers for the comparison of experiments: `dvc exp show` has a column for each."""
    numbers = {
        record.name: {
            "validation": record.score,
            "test": record.metrics["test"][record.metric],
            "p50_ms": record.smallest_batch["p50_ms"],
        }
        for record in candidates
    }
    return {"champion": champion, **numbers}


def page(candidates: Sequence[CandidateRecord], choice: Choice, config: Promote, manifest: Mapping[str, Any]) -> str:
    """The report in Markdown, on a champion with this `manifest`; links are relative to the folder `artifacts`."""
    heading = f"# Champion: {choice.champion}, version {manifest['version']} of `{config.model_name}`"
    trained = [candidate for candidate in candidates if candidate.file == ONNX]
    parts = [
        heading,
        f"{choice.reason}.",
        table(candidates, choice.verdicts, "github"),
        f"![All candidates]({_link(paths.COMPARISON)})",
        _gates(candidates[0].metric, config),
        _test_metrics(candidates),
        _latencies(candidates),
        _parity(trained),
        _plots(trained, DataSpec.from_dict(manifest["spec"])),
        _provenance(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _row(candidate: CandidateRecord) -> dict[str, str]:
    test, times, metric = candidate.metrics["test"], candidate.smallest_batch, candidate.metric
    return {
        "candidate": candidate.name,
        f"validation {metric}": f"{candidate.score:.4f}",
        f"test {metric}": f"{test[metric]:.4f} [{test[f'{metric}_low']:.4f}, {test[f'{metric}_high']:.4f}]",
        "p50 ms": f"{times['p50_ms']:.3f}",
        "p99 ms": f"{times['p99_ms']:.3f}",
        "parity": "passed" if candidate.parity_passed else "failed",
        "KiB": f"{candidate.metrics['model']['bytes'] / 1024:.0f}",
    }


def _gates(metric: str, config: Promote) -> str:
    limit = config.maximum_latency_ms
    return "\n".join(
        [
            "## Gates and selection",
            "- Parity: outputs equal to those of the trained model within tolerances; int8 graphs have their own.",
            "- int8 graphs: median latency below that of the float32 graph at every batch size.",
            f"- Validation {metric}: at least {minimum_of(metric, config):g} (`promote.minimum_{metric}`).",
            f"- p99 latency at the smallest batch size: {'not limited' if limit is None else f'at most {limit:g} ms'}"
            " (`promote.maximum_latency_ms`).",
            f"- Selection: of the candidates within {config.tie:g} (`promote.tie`) of the highest validation {metric},"
            " the one with the lowest median latency. The test split is not used for selection.",
        ]
    )


def _test_metrics(candidates: Sequence[CandidateRecord]) -> str:
    """A row for each metric, a column for each candidate."""
    names = list(candidates[0].metrics["test"])
    rows = [
        [name.replace("_", " "), *(f"{record.metrics['test'][name]:.4f}" for record in candidates)] for name in names
    ]
    return "## Test split\n" + _github(["metric", *(record.name for record in candidates)], rows)


def _latencies(candidates: Sequence[CandidateRecord]) -> str:
    rows = [
        [record.name, record.metrics["provider"], size.removeprefix("batch_"), *_times(times)]
        for record in candidates
        for size, times in record.metrics["latency"].items()
    ]
    heading = ["candidate", "provider", "batch size", "p50 ms", "p90 ms", "p99 ms", "examples/s"]
    return "## Latency in ONNX Runtime, one thread\n" + _github(heading, rows)


def _times(times: Mapping[str, float]) -> list[str]:
    return [*(f"{times[key]:.3f}" for key in ("p50_ms", "p90_ms", "p99_ms")), f"{times['examples_per_second']:,.0f}"]


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
    return "## Parity with the trained model\n" + _github(heading, rows)


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
    rows = [[key.replace("_", " "), f"`{value}`"] for key, value in manifest["provenance"].items()]
    rows.append(["SHA-256 of the graph", f"`{manifest['model']['sha256']}`"])
    return "## Provenance\n" + _github(["", manifest["name"]], rows)


def _github(heading: list[str], rows: list[list[Any]]) -> str:
    return "\n" + tabulate(rows, heading, tablefmt="github", disable_numparse=True)
