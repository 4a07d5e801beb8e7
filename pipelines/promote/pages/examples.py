"""The test examples with the largest errors of each candidate."""

from collections.abc import Mapping
from html import escape
from typing import Any

from pipelines.promote.pages import document, numbers
from pipelines.promote.pages.document import Table
from pipelines.promote.promotion import Promotion


def html(promotion: Promotion) -> str:
    """A block for each candidate, that of the champion opened."""
    return "\n".join(_block(name, errors, promotion) for name, errors in promotion.errors.items())


def _block(name: str, errors: Mapping[str, Any], promotion: Promotion) -> str:
    opened = " open" if promotion.champion and promotion.champion.candidate == name else ""
    content = (
        _examples(errors["worst"], name) if errors["worst"] else "<p>Every test example is classified correctly.</p>"
    )
    return f"<details{opened}><summary>{escape(name)}: {_summary(errors, promotion)}</summary>\n{content}\n</details>"


def _summary(errors: Mapping[str, Any], promotion: Promotion) -> str:
    if promotion.spec.is_classification:
        return f"{errors['misclassified']:,} of {errors['examples']:,} test examples are misclassified"
    return f"the largest differences among {errors['examples']:,} test examples"


def _examples(worst: list[Mapping[str, Any]], name: str) -> str:
    if "image" in worst[0]:
        return f'<ul class="examples">{"".join(map(_image, worst))}</ul>'
    return document.table(_table(worst), f"{name}: largest errors")


def _image(example: Mapping[str, Any]) -> str:
    predicted, actual = escape(example["predicted"]), escape(example["actual"])
    alt = f"Test example {example['row']}"
    image = f'<img alt="{alt}" src="data:image/png;base64,{example["image"]}">'
    return f"<li>{image}<strong>{predicted}</strong> {example['confidence']:.1%}<br>actually {actual}</li>"


def _table(worst: list[Mapping[str, Any]]) -> Table:
    features = list(worst[0]["features"])
    has_confidence = "confidence" in worst[0]
    heading = (
        "row in the test split, from 0",
        "predicted",
        "actual",
        "confidence" if has_confidence else "difference",
        *features,
    )
    rows = [
        (
            str(example["row"]),
            numbers.general(example["predicted"]),
            numbers.general(example["actual"]),
            f"{example['confidence']:.1%}"
            if has_confidence
            else numbers.difference(example["predicted"] - example["actual"]),
            *map(numbers.general, example["features"].values()),
        )
        for example in worst
    ]
    return Table(rows, heading)
