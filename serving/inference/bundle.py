"""The champion's folder: `champion.json` and the model file it names by hash. Read and verified, nothing is run."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import InputError
from models.manifest import MANIFEST, Schema
from models.spec import DataSpec

ADVICE = "run `uv run dvc repro` to make a champion"


class ModelFile(BaseModel):
    """The model file, named by its content."""

    model_config = ConfigDict(frozen=True)

    file: str = Field(pattern=r"^[0-9a-f]{64}\.onnx$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=1)


class Example(BaseModel):
    """A few raw examples [n, *shape] as nested lists, and the outputs [n, K] that belong to them."""

    model_config = ConfigDict(frozen=True)

    inputs: list[Any] = Field(min_length=1)
    outputs: list[list[float]] = Field(min_length=1)


class Manifest(BaseModel):
    """`champion.json`."""

    model_config = ConfigDict(frozen=True)

    format: Schema = Field(alias="schema")
    name: str
    version: str
    model: ModelFile
    spec: dict[str, Any]
    metrics: dict[str, float]
    provenance: dict[str, Any]
    example: Example


@dataclass(frozen=True)
class Bundle:
    """What the folder holds, verified: `model` is the ONNX file's content and fits the manifest's SHA-256."""

    manifest: Manifest
    spec: DataSpec
    model: bytes

    def example(self) -> tuple[np.ndarray, np.ndarray]:
        """The stored examples [n, *shape] in the spec's dtype and their outputs [n, K] float32."""
        stored = self.manifest.example
        try:
            return np.asarray(stored.inputs, self.spec.dtype), np.asarray(stored.outputs, np.float32)
        except (ValueError, OverflowError) as error:
            raise InputError(f"{MANIFEST}: the stored example does not fit the spec ({error})") from error


def read(folder: Path) -> Bundle:
    """The bundle in `folder`. Raises InputError where it is missing, broken or not what its hash says."""
    manifest = _manifest(folder / MANIFEST)
    spec = DataSpec.from_dict(manifest.spec, f"{folder / MANIFEST}: spec")
    return Bundle(manifest, spec, _model(folder / manifest.model.file, manifest.model.sha256))


def fingerprint(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Changes whenever a file of the folder does: name, inode, time and size of each; empty where there is none."""
    try:
        found = [(path.name, path.stat()) for path in folder.iterdir()]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in found))


def _manifest(path: Path) -> Manifest:
    """The parsed manifest. Raises InputError."""
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: there is no champion yet; {ADVICE}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); {ADVICE}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise InputError(f"{path}: {where}: {first['msg']}; {ADVICE}") from error


def _model(path: Path, sha256: str) -> bytes:
    """The model file's content. Raises InputError where its hash is not `sha256`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); {ADVICE}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise InputError(f"{path}: SHA-256 is {found}, {MANIFEST} says {sha256}; {ADVICE}")
    return content
