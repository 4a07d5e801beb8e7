"""The record of a rollback in the challenger's folder: all workers read it, and it is valid until it is deleted."""

import json
import time
import uuid
from pathlib import Path

from models.manifest import ROLLED_BACK
from serving.inference.champion import Champion


def is_rolled_back(folder: Path, challenger: Champion) -> bool:
    """Return whether the record in `folder` is about this model. One that cannot be parsed counts as about any."""
    try:
        content = json.loads((folder / ROLLED_BACK).read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return not isinstance(content, dict) or content.get("sha256") == challenger.sha256


def write(folder: Path, challenger: Champion, reason: str) -> None:
    """Write the record at once. Raises OSError."""
    content = {"sha256": challenger.sha256, "version": challenger.version, "reason": reason, "time": time.time()}
    beside = folder / f"{ROLLED_BACK}.{uuid.uuid4().hex}"  # several workers may write at the same moment
    try:
        beside.write_text(json.dumps(content), "utf-8")
        beside.replace(folder / ROLLED_BACK)
    finally:
        beside.unlink(missing_ok=True)
