"""Reader of a champion bundle: `champion.json` and the model file that it names by hash."""

import hashlib
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from models.errors import InputError, first_problem
from models.manifest import CHECKED, LOCK, MANIFEST, ROLLED_BACK, Manifest, signature_file
from models.spec import DataSpec
from serving.inference import signature

NOT_OF_THE_BUNDLE = (CHECKED, LOCK, ROLLED_BACK)  # the beginnings of their names
ADVICE = "run `uv run dvc repro` to create a champion"


@dataclass(frozen=True)
class Bundle:
    """A verified bundle; `model` is the content of the ONNX file and matches the SHA-256 of the manifest."""

    manifest: Manifest
    spec: DataSpec
    model: bytes

    def example(self) -> tuple[np.ndarray, np.ndarray]:
        """The stored examples [n, *shape] in the spec's dtype and their outputs [n, K] float32."""
        stored = self.manifest.example
        try:
            return np.asarray(stored.inputs, self.spec.dtype), np.asarray(stored.outputs, np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{MANIFEST}: the stored example does not match the spec ({error})") from error


def read(folder: Path, verify_key: Path | None = None) -> Bundle:
    """Read the bundle in `folder`.

    Raises InputError if a file is missing, invalid or does not match its hash or, with a key, the signature.
    """
    content, manifest = _manifest(folder / MANIFEST)
    model = _model(folder / manifest.model.file, manifest.model.sha256)
    if verify_key:
        files = {MANIFEST: content, manifest.model.file: model}
        signature.verify(files, folder / signature_file(content), verify_key)
    spec = DataSpec.from_dict(manifest.spec, f"{folder / MANIFEST}: spec")
    _check_unique(spec, f"{folder / MANIFEST}: spec")
    return Bundle(manifest, spec, model)


def fingerprint(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """Name, inode, modification time and size of each file, to detect changes; empty if the folder does not exist."""
    try:
        stats = [(path.name, path.stat()) for path in folder.iterdir() if not path.name.startswith(NOT_OF_THE_BUNDLE)]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in stats))


def registry_age(folder: Path) -> float | None:
    """Seconds since the last successful check of the registry; None if the folder does not follow one."""
    try:
        return max(0.0, time.time() - (folder / CHECKED).stat().st_mtime)
    except OSError:
        return None


def _manifest(path: Path) -> tuple[bytes, Manifest]:
    """The content of the manifest, also parsed. Raises InputError."""
    try:
        content = path.read_bytes()
        return content, Manifest.model_validate_json(content)
    except FileNotFoundError:
        raise InputError(f"{path}: no champion yet; {ADVICE}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); {ADVICE}") from error
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}; {ADVICE}") from error


def _check_unique(spec: DataSpec, where: str) -> None:
    """Raise InputError if two labels, features or categories of a feature have the same name."""
    categories = [
        (f"categories of {name!r}", values) for name, values in zip(spec.features, spec.categories, strict=False)
    ]
    for kind, names in [("labels", spec.labels), ("features", spec.features), *categories]:
        if duplicates := sorted(name for name, count in Counter(names).items() if count > 1):
            raise InputError(f"{where}: {kind}: {duplicates[0]!r} occurs twice; allowed: distinct names; {ADVICE}")


def _model(path: Path, sha256: str) -> bytes:
    """Read the model file. Raises InputError if its hash is not `sha256`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error}); {ADVICE}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise InputError(f"{path}: SHA-256 is {actual}, expected {sha256} from {MANIFEST}; {ADVICE}")
    return content
