"""Names allowed for `data.source`, and the properties of each source that are known before it is loaded."""

from typing import NamedTuple

from models.spec import Kind, Task


class SourceInfo(NamedTuple):
    """Properties of a source; `task` is None and `shape`, of one example, is () if they depend on the data."""

    name: str
    kind: Kind
    task: Task | None
    shape: tuple[int, ...]


# Each source is a module of this name in pipelines/sources.
SOURCES: dict[str, tuple[Kind, Task | None, tuple[int, ...]]] = {
    "digits": ("image", "classification", (8, 8, 1)),
    "fashion_mnist": ("image", "classification", (28, 28, 1)),
    "mnist": ("image", "classification", (28, 28, 1)),
    "cifar10": ("image", "classification", (32, 32, 3)),
    "image_folder": ("image", "classification", ()),
    "iris": ("tabular", "classification", ()),
    "wine": ("tabular", "classification", ()),
    "breast_cancer": ("tabular", "classification", ()),
    "diabetes": ("tabular", "regression", ()),
    "line": ("tabular", "regression", ()),
    "spirals": ("tabular", "classification", ()),
    "circles": ("tabular", "classification", ()),
    "moons": ("tabular", "classification", ()),
    "xor": ("tabular", "classification", ()),
    "csv": ("tabular", None, ()),
}


def known_source(name: str) -> str:
    """Return `name`; raise ValueError with the allowed names if it is not a source."""
    if name not in SOURCES:
        raise ValueError(", ".join(SOURCES))
    return name
