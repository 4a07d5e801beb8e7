"""The champion bundle: all that serving needs, in one folder that is never seen half-written."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.manifest import MANIFEST, SCHEMA
from pipelines.artifacts import json_object
from pipelines.artifacts.hashing import require_sha256


def read(folder: Path) -> Mapping[str, Any]:
    """The content of champion.json. Raises InputError where it is missing or not a JSON object."""
    return json_object.read(folder / MANIFEST)


def write(record: Mapping[str, Any], model: Path, sha256: str, folder: Path) -> dict[str, Any]:
    """Make `model` the champion in `folder`: its file first, then champion.json in one rename, which is returned.

    `record` is what champion.json says beside `schema` and `model`. Raises InputError where the
    file's hash is not `sha256`; after that, as after any other failure, the old champion is still whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{sha256}.onnx"
    with _replacing(folder / file) as beside:
        shutil.copyfile(model, beside)
        require_sha256(beside, sha256)
    described = {"file": file, "sha256": sha256, "bytes": model.stat().st_size}
    full = {"schema": SCHEMA, "name": record["name"], "version": record["version"], "model": described, **record}
    with _replacing(folder / MANIFEST) as beside:
        json_object.write(full, beside)
    _remove_others(folder, file)
    return full


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` that takes its place at the end, on the disk for good; removed if anything raises."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        _flush(beside)
        beside.replace(path)
        _flush(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the disk keep a file's bytes, or a folder's names, before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_others(folder: Path, file: str) -> None:
    """Old models go last: until now a reader of the old champion.json could still open its file."""
    for path in (*folder.glob("*.onnx"), *folder.glob(".*.partial")):
        if path.name != file:
            path.unlink()
