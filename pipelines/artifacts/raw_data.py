"""Raw examples of a source, images or a table with targets, and their folder `artifacts/data/raw`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import InputError
from pipelines.artifacts import json_object, npy
from pipelines.artifacts.hashing import hash_arrays

META = "meta.json"
UNREADABLE = "unreadable.txt"
KEYS = {"name", "labels", "target", "table", "sha256"}


@dataclass(frozen=True)
class Table:
    """The columns of a table, in order.

    `categories` are the names of the values 0, 1, ... of a categorical column, empty for a numerical
    column. `missing`: values may be missing, encoded as NaN.
    """

    features: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]
    missing: bool


@dataclass(frozen=True)
class RawData:
    """Images uint8 [N, H, W, C], or with a `table` float32 [N, F]; and their targets [N], called `target`.

    Targets are class indices int64 in the order of `labels`, or float32 for a regression, which has no
    labels. The arrays may be memory maps. `test_inputs` and `test_targets` are the official test split
    of the source, None without one. `origin` is the location of the examples, for messages; `unreadable`
    lists the files left out with the reasons, `notes` warnings about columns. `groups` int64 [N] are numbers of what
    belongs together, `order` float64 [N] is ascending in time, None without such columns.
    """

    name: str
    labels: tuple[str, ...]
    train_inputs: NDArray[Any]  # [N, H, W, C] or [N, F]
    train_targets: NDArray[Any]  # [N]
    test_inputs: NDArray[Any] | None  # [M, H, W, C] or [M, F]
    test_targets: NDArray[Any] | None  # [M]
    origin: str
    target: str = "label"
    table: Table | None = None
    unreadable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    groups: NDArray[np.int64] | None = None
    order: NDArray[np.float64] | None = None

    @property
    def is_classification(self) -> bool:
        """True where the targets have labels, False of a regression."""
        return bool(self.labels)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The arrays that are not None, by field name."""
        names = ("train_inputs", "train_targets", "test_inputs", "test_targets", "groups", "order")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def array_path(folder: Path, name: str) -> Path:
    """The file of an array: `train_inputs`, `train_targets`, `test_inputs`, `test_targets`, `groups` or `order`."""
    return folder / f"{name}.npy"


def write(raw: RawData, folder: Path) -> None:
    """One `.npy` file for each array, and `meta.json` with labels, columns and the SHA-256 of all arrays.

    `unreadable.txt` has a line for each file of the source that was left out, if any.
    """
    for name, array in raw.arrays().items():
        npy.write((array[span] for span in npy.spans(array)), array.dtype, array.shape, array_path(folder, name))
    table = asdict(raw.table) if raw.table else None
    meta = {"name": raw.name, "labels": raw.labels, "target": raw.target, "table": table}
    meta["sha256"] = hash_arrays(raw.arrays(), json.dumps(meta))
    json_object.write(meta, folder / META)
    if raw.unreadable:
        (folder / UNREADABLE).write_text("".join(f"{line}\n" for line in raw.unreadable), "utf-8")


def read(folder: Path) -> RawData:
    """The arrays as memory maps. Raises InputError, naming the file, where one is missing or broken.

    Shapes, dtypes and labels are not checked; `pipelines.prepare.validation` does that.
    """
    meta = _read_meta(folder / META)
    official = array_path(folder, "test_inputs").exists() or array_path(folder, "test_targets").exists()
    return RawData(
        meta["name"],
        tuple(meta["labels"]),
        npy.read(array_path(folder, "train_inputs")),
        npy.read(array_path(folder, "train_targets")),
        npy.read(array_path(folder, "test_inputs")) if official else None,
        npy.read(array_path(folder, "test_targets")) if official else None,
        origin=str(folder),
        target=meta["target"],
        table=_table(meta["table"]) if meta["table"] else None,
        groups=_read_optional(array_path(folder, "groups")),
        order=_read_optional(array_path(folder, "order")),
    )


def _read_optional(path: Path) -> NDArray[Any] | None:
    return npy.read(path) if path.exists() else None


def _table(values: Mapping[str, Any]) -> Table:
    return Table(tuple(values["features"]), tuple(map(tuple, values["categories"])), values["missing"])


def _read_meta(path: Path) -> Mapping[str, Any]:
    meta = json_object.read(path)
    if set(meta) != KEYS:
        raise InputError(f"{path}: allowed keys: {', '.join(sorted(KEYS))}; run `dvc repro --force load`")
    return meta
