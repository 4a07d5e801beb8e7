"""The champion bundle: `champion.json` and the ONNX file it names, in a folder that is consistent at all times."""

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
    """Write `model` and then champion.json into `folder`, replacing an earlier bundle; the content of champion.json.

    `record` has its keys other than `schema` and `model`. Raises InputError where the file's SHA-256
    is not `sha256`; after this or any other failure the earlier bundle is unchanged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = f"{sha256}.onnx"
    with _replacing(folder / file) as beside:
        shutil.copyfile(model, beside)
        require_sha256(beside, sha256)
    content = {"file": file, "sha256": sha256, "bytes": model.stat().st_size}
    manifest = {"schema": SCHEMA, "name": record["name"], "version": record["version"], "model": content, **record}
    with _replacing(folder / MANIFEST) as beside:
        json_object.write(manifest, beside)
    _remove_others(folder, file)
    return manifest


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path that replaces `path` at the end, flushed to the disk; removed after an exception."""
    beside = path.with_name(f".{path.name}.partial")
    try:
        yield beside
        _flush(beside)
        beside.replace(path)
        _flush(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Flush the content of a file, or the entries of a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_others(folder: Path, file: str) -> None:
    """Remove earlier models, last, as a reader of the earlier champion.json may still open its file."""
    for path in (*folder.glob("*.onnx"), *folder.glob(".*.partial")):
        if path.name != file:
            path.unlink()
