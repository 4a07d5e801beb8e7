"""Whether a file is the very one whose parity was proved."""

import hashlib
from pathlib import Path

from models.errors import InputError


def require(path: Path, sha256: str) -> None:
    """Raise InputError where the file is missing or has another hash than that in parity.json."""
    if not path.is_file():
        raise InputError(f"{path}: not found; run `dvc repro`")
    if (found := hash_file(path)) != sha256:
        raise InputError(f"{path}: SHA-256 is {found}; parity was proved for {sha256}; run `dvc repro`")


def hash_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
