"""Names allowed for `data.source`, and the properties of each source that are known before it is loaded."""

from typing import NamedTuple

from models.spec import Kind, Task


class SourceInfo(NamedTuple):
    """Properties of a source.

    `task` is None, `shape`, of one example, is () and `classes` is None if they depend on the data; `classes` is also
    None for a regression.
    """

    name: str
    kind: Kind
    task: Task | None
    shape: tuple[int, ...]
    classes: int | None = None


# Each source is a module of this name in pipelines/sources or its package built_in.
SOURCES: dict[str, tuple[Kind, Task | None, tuple[int, ...], int | None]] = {
    "digits": ("image", "classification", (8, 8, 1), 10),
    "fashion_mnist": ("image", "classification", (28, 28, 1), 10),
    "mnist": ("image", "classification", (28, 28, 1), 10),
    "cifar10": ("image", "classification", (32, 32, 3), 10),
    "image_folder": ("image", "classification", (), None),
    "iris": ("tabular", "classification", (), 3),
    "wine": ("tabular", "classification", (), 3),
    "breast_cancer": ("tabular", "classification", (), 2),
    "diabetes": ("tabular", "regression", (), None),
    "line": ("tabular", "regression", (), None),
    "spirals": ("tabular", "classification", (), 2),
    "circles": ("tabular", "classification", (), 2),
    "moons": ("tabular", "classification", (), 2),
    "xor": ("tabular", "classification", (), 2),
    "csv": ("tabular", None, (), None),
}
PUBLISHED_OPTIONS = ("path", "mirrors")
# Options of the section `data` that a source uses; the others use none.
OPTIONS: dict[str, tuple[str, ...]] = {
    "fashion_mnist": PUBLISHED_OPTIONS,
    "mnist": PUBLISHED_OPTIONS,
    "cifar10": PUBLISHED_OPTIONS,
    "image_folder": ("path", "size", "channels", "max_pixels", "unreadable"),
    "csv": (
        *("path", "target", "features", "task", "categories", "dates", "day_first", "missing"),
        *("separator", "decimal", "encoding"),
    ),
}
# Options without a default value that a source needs, and what is allowed.
REQUIRED: dict[str, dict[str, str]] = {
    "image_folder": {"size": "[height, width], such as [64, 64]"},
    "csv": {"target": "the name of a column"},
}
SUFFIXES: dict[str, tuple[str, ...]] = {"csv": (".csv", ".tsv", ".parquet")}  # of the file of a source


def known_source(name: str) -> str:
    """Return `name`; raise ValueError with the allowed names if it is not a source."""
    if name not in SOURCES:
        raise ValueError(", ".join(SOURCES))
    return name
