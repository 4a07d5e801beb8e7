"""`validation.json`: counts and anomalies of the prepared splits, and the SHA-256 of their data."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.artifacts import json_object, paths

FILE = "validation.json"
SAMPLES = "samples.png"  # beside it, of images: examples of each class


def read(path: Path = paths.DATA_REPORT / FILE) -> Mapping[str, Any]:
    """The report on the data of the workspace, or another one. Raises InputError where there is none."""
    return json_object.read(path)


def write(report: Mapping[str, Any], path: Path) -> None:
    """JSON, with characters beyond ASCII in the names of labels and columns unescaped."""
    path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
