"""The champion bundle: `champion.json` and the ONNX file it names, in a folder that is consistent at all times."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.manifest import MANIFEST, SCHEMA
from pipelines.artifacts import json_object
from pipelines.artifacts.hashing import require_sha256

SHA256 = re.compile(r"[0-9a-f]{64}")


def read(folder: Path) -> Mapping[str, Any]:
    """The content of champion.json. Raises InputError where it is missing or names no model by its SHA-256."""
    content = json_object.read(folder / MANIFEST)
    model = content.get("model")
    model = model if isinstance(model, dict) else {}
    if not SHA256.fullmatch(str(model.get("sha256"))) or model.get("file") != f"{model['sha256']}.onnx":
        raise InputError(f"{folder / MANIFEST}: `model` names no file by its SHA-256; run `dvc repro`")
    return content


def verified(folder: Path) -> tuple[Mapping[str, Any], Path]:
    """The content of champion.json and the model. Raises InputError where its SHA-256 is not the recorded one."""
    manifest = read(folder)
    model = folder / str(manifest["model"]["file"])
    require_sha256(model, str(manifest["model"]["sha256"]))
    return manifest, model


def build(record: Mapping[str, Any], model: Path, sha256: str, folder: Path) -> None:
    """Write a new bundle into an empty folder; `record` has the keys of champion.json other than `schema` and `model`.

    Raises InputError where the SHA-256 of the file `model` is not `sha256`.
    """
    file = folder / f"{sha256}.onnx"
    shutil.copyfile(model, file)
    require_sha256(file, sha256)
    content = {"file": file.name, "sha256": sha256, "bytes": file.stat().st_size}
    manifest = {"schema": SCHEMA, "name": record["name"], "version": record["version"], "model": content, **record}
    json_object.write(manifest, folder / MANIFEST)


def install(source: Path, folder: Path) -> None:
    """Replace the bundle in `folder`, if there is one, by the one in `source`, as `installing` does."""
    with installing(source, folder):
        pass


@contextmanager
def installing(source: Path, folder: Path) -> Iterator[None]:
    """Replace the bundle in `folder` by the one in `source` at the end of the block.

    Raises InputError before the block where the SHA-256 of its model is not the recorded one. After this or any other
    failure, also one in the block, the earlier bundle is unchanged.
    """
    model = read(source)["model"]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _replacing(folder / model["file"]) as beside:
            shutil.copyfile(source / model["file"], beside)
            require_sha256(beside, model["sha256"])
        with _replacing(folder / MANIFEST) as beside:
            shutil.copyfile(source / MANIFEST, beside)
            yield
    finally:
        _remove_others(folder)


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


def _remove_others(folder: Path) -> None:
    """Remove what is not of the bundle, last, as a reader of the earlier champion.json may still open its model."""
    current = str(read(folder)["model"]["file"]) if (folder / MANIFEST).exists() else None
    for path in (*folder.glob("*.onnx"), *folder.glob(".*.partial")):
        if path.name != current:
            path.unlink()
