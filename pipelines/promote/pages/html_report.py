"""`report.html`: the promotion as one self-contained page, readable without a network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from models.metrics.quality import formatted
from models.plotting.palette import PALETTE
from pipelines.promote.pages import data_sheet, document, examples, model_card, numbers, overview, twins
from pipelines.promote.pages.document import Section, Table
from pipelines.promote.promotion import Promotion

STYLE = Path(__file__).with_name("report.css")
LOGO = (
    '<svg class="logo" viewBox="0 0 32 20" aria-hidden="true"><circle cx="8" cy="12" r="6"/>'
    '<circle cx="24" cy="12" r="6"/><path d="M8 12 14 3h9l1 9M14 3l4 9"/></svg>'
)


def page(promotion: Promotion, samples: bytes | None) -> str:
    """The page in HTML; `samples` is a PNG with examples of the data."""
    frameworks = {graph.framework for graph in promotion.trained}
    parts = {
        "champion": ("Champion", overview.html(promotion)),
        "twins": ("Twins" if len(frameworks) > 1 else "Training", twins.html(promotion)),
        "errors": ("Largest errors", examples.html(promotion)),
        "data": ("Data", data_sheet.html(promotion, samples)),
        "card": ("Model card", document.html(model_card.sections(promotion), 3)),
        "lineage": ("Lineage", document.html(_lineage(promotion), 3)),
    }
    title = f"{promotion.manifest['name']}, version {promotion.manifest['version']}"
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, (heading, _) in parts.items())
    cards = "\n".join(_card(name, *content) for name, content in parts.items())
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{_head(title)}</head>\n<body>\n'
        f'<header><span class="brand">{LOGO}Tandem</span><nav aria-label="Sections">{links}</nav></header>\n'
        f'<main>\n<div class="intro"><h1>Champion: {escape(title)}</h1>'
        f'<p class="lead">{escape(promotion.choice.reason)}.</p>'
        f'<p class="lead">Comparison with the champion before: {escape(promotion.decision.reason)}.</p></div>\n'
        f"{_facts(promotion)}\n{cards}\n</main>\n"
        f"<footer>{escape(str(promotion.manifest['provenance']['created']))}</footer>\n</body>\n</html>\n"
    )


def _head(title: str) -> str:
    series = " ".join(f"--series-{index}: {colour};" for index, colour in enumerate(PALETTE, 1))
    return (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(title)} – Tandem</title>\n<style>\n:root {{ {series} }}\n{STYLE.read_text('utf-8')}</style>"
    )


def _card(name: str, heading: str, content: str) -> str:
    title = f'<h2 id="{name}-title">{heading}</h2>'
    return f'<section id="{name}" class="card" aria-labelledby="{name}-title">{title}\n{content}\n</section>'


def _facts(promotion: Promotion) -> str:
    size, milliseconds = promotion.smallest_batch
    facts = {
        f"Test {numbers.metric_name(promotion.metric)}": formatted(promotion.test[promotion.metric]),
        f"Median latency, batch of {size}": numbers.milliseconds(milliseconds),
        "File size": numbers.kibibytes(promotion.manifest["model"]["bytes"]),
        "Git commit": str(promotion.manifest["provenance"]["git_commit"])[:10],  # in one line at 390 px
    }
    items = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return f'<dl class="facts">{items}</dl>'


def _lineage(promotion: Promotion) -> Sequence[Section]:
    manifest, candidates = promotion.manifest, promotion.candidates
    rows = [(key.replace("_", " "), numbers.general(value)) for key, value in manifest["provenance"].items()]
    files = [
        (graph.name, graph.sha256, str(graph.training["run_id"]), str(graph.training["git_commit"])[:12])
        for graph in candidates
    ]
    versions = {name: version for graph in candidates for name, version in graph.training["versions"].items()}
    return [
        Section("Champion", [Table([*rows, ("SHA-256 of the file", str(manifest["model"]["sha256"]))])]),
        Section("Files", [Table(files, ("graph", "SHA-256", "MLflow run", "git commit"))]),
        Section("Packages", [Table(list(versions.items()))]),
        Section("Parameters", ["The parameters of the training are in the model card, under Training Details."]),
    ]
