"""A champion bundle: the names of its files, and the schema of `champion.json`."""

import hashlib
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

MANIFEST = "champion.json"
CHECKED = ".checked"  # its modification time is that of the last successful check of a model registry
LOCK = ".lock"  # held by a process that replaces the bundle
ROLLED_BACK = "rolled_back.json"  # the challenger with this hash is not to answer requests any more
Schema = Literal[1]
SCHEMA: Schema = 1


def valid_sha256(text: str) -> str:
    """Return `text`; raise ValueError if it is no SHA-256."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("a SHA-256, 64 lower-case hexadecimal digits")
    return text


def valid_version(text: str) -> str:
    """Return `text`; raise ValueError if it cannot be part of headers and paths."""
    if not re.fullmatch(r"[A-Za-z0-9_.+:-]{1,100}", text):
        raise ValueError("1 to 100 letters, digits and characters of _.+:-")
    return text


class _Section(BaseModel):
    """An object of champion.json: no conversion of types, no change afterwards; other keys are passed over."""

    model_config = ConfigDict(frozen=True, strict=True)


class ModelFile(_Section):
    """The model file, named by its SHA-256."""

    file: str
    sha256: Annotated[str, AfterValidator(valid_sha256)]
    bytes: int = Field(ge=1)

    @model_validator(mode="after")
    def require_name(self) -> "ModelFile":
        """Raise ValueError if the name of the file is not its SHA-256."""
        if self.file != (name := f"{self.sha256}.onnx"):
            raise ValueError(f"file = {self.file[:100]!r}; allowed: {name!r}, its SHA-256")
        return self


class Provenance(_Section):
    """Where the model comes from; all other keys are kept."""

    model_config = ConfigDict(extra="allow")

    run_id: str
    git_commit: str
    git_dirty: bool
    data_sha256: str
    created: str


class Example(_Section):
    """Raw examples [n, *shape] as nested lists, and the expected outputs [n, K]."""

    inputs: list[Any] = Field(min_length=1)
    outputs: list[list[float]] = Field(min_length=1)


class Manifest(_Section):
    """The content of `champion.json`; `spec` is that of a `DataSpec`."""

    format: Schema = Field(alias="schema")
    name: str
    version: Annotated[str, AfterValidator(valid_version)]
    model: ModelFile
    spec: dict[str, Any]
    metrics: dict[str, float]
    provenance: Provenance
    example: Example


def signature_file(manifest: bytes) -> str:
    """The signature of the bundle with this content of champion.json; another bundle's has another name."""
    return f"{hashlib.sha256(manifest).hexdigest()}.sig"
