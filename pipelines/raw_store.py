"""The folder `artifacts/data/raw`: written by `load`, read by `prepare`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models.errors import InputError
from pipelines import npy
from pipelines.fingerprint import sha256
from pipelines.sources.raw import RawData, Table

META = "meta.json"
UNREADABLE = "unreadable.txt"
KEYS = {"name", "labels", "target", "table", "sha256"}


def write(raw: RawData, folder: Path) -> None:
    """One `.npy` file for each array, and `meta.json` with what else there is and the SHA-256 of all arrays.

    Where files of the source were left out, `unreadable.txt` has a line for each.
    """
    for name, array in raw.arrays().items():
        npy.write(folder / f"{name}.npy", array.dtype, array.shape, (array[span] for span in npy.spans(array)))
    table = asdict(raw.table) if raw.table else None
    meta = {"name": raw.name, "labels": raw.labels, "target": raw.target, "table": table}
    meta["sha256"] = sha256(raw.arrays(), json.dumps(meta))
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", "utf-8")
    if raw.unreadable:
        (folder / UNREADABLE).write_text("".join(f"{line}\n" for line in raw.unreadable), "utf-8")


def read(folder: Path) -> RawData:
    """The arrays as memory maps. Raises InputError, naming the file, where one is missing or broken.

    Shapes, dtypes and labels are as they stand in the files; `pipelines.validation` judges them.
    """
    meta = _read_meta(folder / META)
    official = (folder / "test_inputs.npy").exists() or (folder / "test_targets.npy").exists()
    return RawData(
        meta["name"],
        tuple(meta["labels"]),
        npy.read(folder / "train_inputs.npy"),
        npy.read(folder / "train_targets.npy"),
        npy.read(folder / "test_inputs.npy") if official else None,
        npy.read(folder / "test_targets.npy") if official else None,
        origin=str(folder),
        target=meta["target"],
        table=_table(meta["table"]) if meta["table"] else None,
    )


def _table(found: dict[str, Any]) -> Table:
    return Table(tuple(found["features"]), tuple(map(tuple, found["categories"])), found["missing"])


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; run `dvc repro load`") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); run `dvc repro --force load`") from error
    if not isinstance(meta, dict) or set(meta) != KEYS:
        raise InputError(f"{path}: allowed keys: {', '.join(sorted(KEYS))}; run `dvc repro --force load`")
    return meta
