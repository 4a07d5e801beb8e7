"""The champion bundle: `champion.json`, the ONNX file that it names, and its signature, consistent at all times."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from models.errors import InputError, first_problem
from models.manifest import LOCK, MANIFEST, SCHEMA, Manifest, signature_file
from models.spec import DataSpec
from pipelines.artifacts import json_object
from pipelines.artifacts.atomic import replacing
from pipelines.artifacts.hashing import require_sha256

# Fields of the specification that define examples and predictions, without the statistics of the data.
INTERFACE = ("name", "task", "kind", "shape", "dtype", "labels", "target", "features", "categories")


def read(folder: Path) -> Mapping[str, Any]:
    """The content of champion.json. Raises InputError where it is missing or damaged."""
    content = json_object.read(folder / MANIFEST)
    try:
        Manifest.model_validate(content)
    except ValidationError as error:
        raise InputError(f"{folder / MANIFEST}: {first_problem(error)}; run `dvc repro`") from error
    return content


def data_differences(champion: DataSpec, current: DataSpec) -> list[str]:
    """The fields of the data specification by which a champion cannot be used for the current data."""
    names = [name for name in INTERFACE if getattr(champion, name) != getattr(current, name)]
    refused = [[value is None for value in spec.fill] for spec in (champion, current)]
    return names if refused[0] == refused[1] else [*names, "missing values"]


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

    Raises InputError before the block where the SHA-256 of its model is not the recorded one, or an unsigned bundle
    would replace a signed one. After this or any other failure, also one in the block, the earlier bundle is unchanged.
    Another process that is replacing the bundle in `folder` is waited for.
    """
    model, signature = read(source)["model"], source / signature_file((source / MANIFEST).read_bytes())
    with locked(folder):
        folder.mkdir(exist_ok=True)
        if any(folder.glob("*.sig")) and not signature.exists():
            raise InputError(f"{folder} has a signed bundle, the new one is not signed; set TANDEM_SIGNING_KEY")
        try:
            with replacing(folder / model["file"], flushed=True) as beside:
                shutil.copyfile(source / model["file"], beside)
                require_sha256(beside, model["sha256"])
            if signature.exists():
                with replacing(folder / signature.name, flushed=True) as beside:
                    shutil.copyfile(signature, beside)
            with replacing(folder / MANIFEST, flushed=True) as beside:
                shutil.copyfile(source / MANIFEST, beside)
                yield
        finally:
            _remove_others(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Wait for another process that decides about the bundle in the folder or replaces it, also one of another user.

    A command that decides by the current champion reads it within the block, and replaces the bundle in it.
    """
    folder.resolve().parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_lock_file(folder), mode=0o666, is_singleton=True)  # a thread may acquire it again
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"{folder}: waiting for another process that holds {lock.lock_file}", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock_file(folder: Path) -> Path:
    """Beside the folder, as DVC records all files in it; in the folder, such as a volume, if that is not writable."""
    folder = folder.resolve()
    is_beside = os.access(folder.parent, os.W_OK)
    return folder.with_name(f".{folder.name}{LOCK}") if is_beside else folder / LOCK


def _remove_others(folder: Path) -> None:
    """Remove other files; last, as a reader of the earlier champion.json may still open its model.

    Those of a damaged bundle, whose files are not known, are left until the next one replaces it.
    """
    try:
        current = _files(folder) if (folder / MANIFEST).exists() else ()
    except InputError:
        return
    for path in (*folder.glob("*.onnx"), *folder.glob("*.sig"), *folder.glob(".*.partial")):
        if path.name not in current:
            path.unlink()


def _files(folder: Path) -> tuple[str, str]:
    """The names of model and signature."""
    return str(read(folder)["model"]["file"]), signature_file((folder / MANIFEST).read_bytes())
