"""Data sheet: origin, splits, classes or target, and what the validation of the data reported."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from html import escape

from models.spec import DataSpec
from pipelines.execution.counts import counted
from pipelines.promote.pages import document, numbers
from pipelines.promote.pages.document import Section, Table
from pipelines.promote.promotion import Promotion

MAX_ROWS = 30  # of classes and columns


def html(promotion: Promotion, samples: bytes | None) -> str:
    """The sections, and for images some examples from a PNG."""
    content = document.html(list(_sections(promotion)), 3)
    if samples is None:
        return content
    source = f"data:image/png;base64,{b64encode(samples).decode()}"
    alt = f"Training examples of {promotion.data_spec.name}, a row for each class"
    return f'{content}\n<h3>Examples</h3>\n<img class="paper" alt="{escape(alt, quote=True)}" src="{source}">'


def _sections(promotion: Promotion) -> Iterator[Section]:
    data, spec = promotion.data, promotion.data_spec
    yield Section("Data set", [Table(list(_facts(promotion)))])
    if "classes" in data:
        yield Section("Classes", [_by_split(data["classes"])])
    if "target" in data:
        yield Section(f"Target {spec.target}", [_by_split(data["target"])])
    if spec.kind == "tabular":
        yield Section("Columns", [_columns(promotion)])
    yield Section("Duplicates", [_duplicates(data["duplicates"])])


def _facts(promotion: Promotion) -> Iterator[tuple[str, str]]:
    data, spec = promotion.data, promotion.data_spec
    source = promotion.candidates[0].training["params"]["data"]
    yield "name", spec.name
    yield "source", source["source"] if source["path"] in (None, "data") else f"{source['source']}: {source['path']}"
    yield "task", f"{spec.task} of {spec.target}"
    yield "one example", _example(spec)
    yield "examples", ", ".join(f"{count:,} {split}" for split, count in data["examples"].items())
    yield "SHA-256", str(data["data_sha256"])
    for split, constant in data.get("constant_images", {}).items():
        yield f"empty images, {split}", f"{constant['count']:,}"


def _example(spec: DataSpec) -> str:
    if spec.kind == "image":
        return f"image, {spec.dtype} {' × '.join(map(str, spec.shape))} (height, width, channels)"
    return counted(len(spec.features), "column")


def _by_split(values: dict[str, dict[str, float]]) -> Table:
    """A row for each class or statistic, a column for each split."""
    names = dict.fromkeys(name for split in values.values() for name in split)
    rows = [(name, *(numbers.general(split.get(name)) for split in values.values())) for name in names]
    return Table(_first(rows), ("", *values))


def _first(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The first MAX_ROWS, and a row for the number of others."""
    others = [(f"and {len(rows) - MAX_ROWS:,} more", *([""] * (len(rows[0]) - 1)))] if len(rows) > MAX_ROWS else []
    return [*rows[:MAX_ROWS], *others]


def _columns(promotion: Promotion) -> Table:
    spec, data = promotion.data_spec, promotion.data
    rows = [
        (
            name,
            ("1 category" if len(categories) == 1 else f"{len(categories)} categories") if categories else "number",
            "–" if categories else numbers.general(mean),
            "–" if categories else numbers.general(std),
            str(sum(split.get(name, 0) for split in data["missing"].values())),
        )
        for name, categories, mean, std in zip(spec.features, spec.categories, spec.mean, spec.std, strict=True)
    ]
    return Table(_first(rows), ("column", "kind", "mean", "standard deviation", "missing values"))


def _duplicates(pairs: dict[str, int]) -> Table:
    rows = [(f"of {pair.split('/')[1]} in {pair.split('/')[0]}", f"{count:,}") for pair, count in pairs.items()]
    return Table(rows)
