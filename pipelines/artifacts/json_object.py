"""JSON objects in files: the records that stages exchange."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.errors import InputError


def read(path: Path) -> Mapping[str, Any]:
    """A JSON object. Raises InputError where there is none."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; run `dvc repro`") from error
    except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits, and of deep nesting
        raise InputError(f"{path}: not JSON ({error}); run `dvc repro`") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: holds {type(values).__name__}; allowed: an object; run `dvc repro`")
    return values


def write(values: Mapping[str, Any], path: Path) -> None:
    """Indented, with characters beyond ASCII escaped, and a line break at the end."""
    path.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def flatten(values: Mapping[str, Any], separator: str = ".") -> Iterator[tuple[str, Any]]:
    """The values of nested objects that are not objects themselves, with their keys joined by `separator`."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from ((f"{key}{separator}{name}", inner) for name, inner in flatten(value, separator))
        else:
            yield key, value
