"""The names of the files in a champion bundle, and the number of the schema of `champion.json`."""

import hashlib
from typing import Literal

MANIFEST = "champion.json"
CHECKED = ".checked"  # its modification time is that of the last successful check of a model registry
LOCK = ".lock"  # held by a process that replaces the bundle
ROLLED_BACK = "rolled_back.json"  # the challenger with this hash is not to answer requests any more
Schema = Literal[1]
SCHEMA: Schema = 1


def signature_file(manifest: bytes) -> str:
    """The signature of the bundle with this content of champion.json; another bundle's has another name."""
    return f"{hashlib.sha256(manifest).hexdigest()}.sig"
