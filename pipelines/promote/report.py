"""What a person reads about a promotion: a table for the terminal, a page of Markdown for later."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from models.spec import DataSpec
from pipelines.artifacts.records import MODEL, Evidence
from pipelines.config.params import Promote
from pipelines.plotting import decision_boundary
from pipelines.promote.selection import Choice, minimum_of

PLOTS = {
    "accuracy": ("confusion", "roc", "reliability", "learning_curves", "layers", "most_wrong"),
    "r2": ("predictions", "residuals", "learning_curves", "layers"),
}


def table(candidates: Sequence[Evidence], verdicts: Mapping[str, str], style: str = "simple") -> str:
    """All candidates, a line each; `style` is one of tabulate's, such as `simple` or `github`."""
    rows = [{**_measured(found), "verdict": verdicts[found.name]} for found in candidates]
    # Text, so that each column keeps the digits that mean something.
    return tabulate(rows, headers="keys", tablefmt=style, disable_numparse=True)


def summary(candidates: Sequence[Evidence], champion: str) -> dict[str, Any]:
    """The few numbers that experiments are compared by, JSON-ready: `dvc exp show` has a column for each."""
    return {
        "champion": champion,
        "validation": {found.name: found.score for found in candidates},
        "test": {found.name: found.metrics["test"][found.measure] for found in candidates},
        "p50_ms": {found.name: found.smallest_batch["p50_ms"] for found in candidates},
    }


def page(candidates: Sequence[Evidence], choice: Choice, settings: Promote, champion: Mapping[str, Any]) -> str:
    """The whole report in Markdown; links are relative to the folder `artifacts`."""
    heading = f"# Champion: {choice.champion}, version {champion['version']} of `{settings.model_name}`"
    trained = [found for found in candidates if found.file == MODEL]
    parts = [
        heading,
        f"{choice.reason}.",
        table(candidates, choice.verdicts, "github"),
        "![All candidates](plots/comparison.png)",
        _gates(settings, candidates[0].measure),
        _tests(candidates),
        _latencies(candidates),
        _parities(trained),
        _plots(trained, DataSpec.from_dict(champion["spec"])),
        _provenance(champion),
    ]
    return "\n\n".join(parts) + "\n"


def _measured(found: Evidence) -> dict[str, str]:
    test, times, measure = found.metrics["test"], found.smallest_batch, found.measure
    return {
        "candidate": found.name,
        f"validation {measure}": f"{found.score:.4f}",
        f"test {measure}": f"{test[measure]:.4f} [{test[f'{measure}_low']:.4f}, {test[f'{measure}_high']:.4f}]",
        "p50 ms": f"{times['p50_ms']:.3f}",
        "p99 ms": f"{times['p99_ms']:.3f}",
        "parity": "held" if found.proved else "broken",
        "KiB": f"{found.metrics['model']['bytes'] / 1024:.0f}",
    }


def _gates(settings: Promote, measure: str) -> str:
    limit = settings.maximum_latency_ms
    return "\n".join(
        [
            "## Gates and choice",
            "- Parity: every file gives what the trained model gives, an int8 graph within tolerances of its own.",
            "- An int8 graph takes less time than the graph in float32 at every batch size.",
            f"- Validation {measure}: at least {minimum_of(measure, settings):g} (`promote.minimum_{measure}`).",
            f"- p99 latency of the smallest batch: {'not limited' if limit is None else f'at most {limit:g} ms'}"
            " (`promote.maximum_latency_ms`).",
            f"- Of those within {settings.tie:g} (`promote.tie`) of the highest validation {measure}, the one with the"
            " lowest median latency. The test split reports; it does not choose.",
        ]
    )


def _tests(candidates: Sequence[Evidence]) -> str:
    """A row for each metric: there are more of them than candidates."""
    names = list(candidates[0].metrics["test"])
    rows = [[name.replace("_", " "), *(f"{found.metrics['test'][name]:.4f}" for found in candidates)] for name in names]
    return "## Test split\n" + _github(["metric", *(found.name for found in candidates)], rows)


def _latencies(candidates: Sequence[Evidence]) -> str:
    rows = [
        [found.name, found.metrics["provider"], size.removeprefix("batch_"), *_times(times)]
        for found in candidates
        for size, times in found.metrics["latency"].items()
    ]
    heading = ["candidate", "provider", "batch", "p50 ms", "p90 ms", "p99 ms", "examples/s"]
    return "## Latency in ONNX Runtime, one thread\n" + _github(heading, rows)


def _times(times: Mapping[str, float]) -> list[str]:
    return [*(f"{times[key]:.3f}" for key in ("p50_ms", "p90_ms", "p99_ms")), f"{times['examples_per_second']:,.0f}"]


def _parities(candidates: Sequence[Evidence]) -> str:
    rows = [
        [
            found.name,
            file,
            "held" if proof["passed"] else "broken",
            f"{proof['max_absolute_difference']:.1e}",
            *_decisions(found, proof),
            proof["bytes"],
        ]
        for found in candidates
        for file, proof in found.parity["files"].items()
    ]
    heading = ["candidate", "file", "parity", "largest difference", "top-1 agreement", "accuracy loss", "bytes"]
    return "## Parity with the trained model\n" + _github(heading, rows)


def _decisions(found: Evidence, proof: Mapping[str, Any]) -> list[str]:
    """How often a file decides as the trained model, and what that costs; a regression has no classes."""
    if found.measure != "accuracy":
        return ["-", "-"]
    return [f"{proof['top1_agreement']:.2%}", f"{proof['accuracy_loss']:.4f}"]


def _plots(candidates: Sequence[Evidence], spec: DataSpec) -> str:
    blocks = [f"### {found.name}\n\n{_pictures(found, spec)}" for found in candidates]
    return "\n\n".join(["## Plots", *blocks])


def _pictures(found: Evidence, spec: DataSpec) -> str:
    name, plots = found.name, [*PLOTS[found.measure], *(["decision_boundary"] if decision_boundary.fits(spec) else [])]
    links = ((plot.replace("_", " "), f"plots/{name}/pictures/{plot}.png") for plot in plots)
    pictures = [f"![{name}: {title}]({link})" for title, link in links]
    return "\n".join([*pictures, f"![{name}: the exported graph](exports/{name}/graph.svg)"])


def _provenance(champion: Mapping[str, Any]) -> str:
    rows = [[key.replace("_", " "), f"`{value}`"] for key, value in champion["provenance"].items()]
    rows.append(["SHA-256 of the graph", f"`{champion['model']['sha256']}`"])
    return "## Provenance\n" + _github(["", champion["name"]], rows)


def _github(heading: list[str], rows: list[list[Any]]) -> str:
    return "\n" + tabulate(rows, heading, tablefmt="github", disable_numparse=True)
