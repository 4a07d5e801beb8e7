"""Rows of a table as people write them, objects by feature name, to raw columns and back.

A number stays a number, a category is known by its name, and null is a missing value.
"""

from typing import Any

import numpy as np

from models.spec import UNKNOWN, DataSpec
from serving.api.json_values import describe, is_float32
from serving.errors import invalid

Json = dict[str, Any]
WORDS = {True: "true", False: "false"}  # a column of these is one of categories


def parse(rows: list[Any], spec: DataSpec) -> np.ndarray:
    """Objects -> float32 [N, F] as the graph wants it: the numbers of categories, UNKNOWN for others, NaN for null.

    Raises RequestError, naming row and column, for missing or unknown features, text among numbers, numbers
    among categories, and null where no value may be missing.
    """
    _check_names(rows, spec.features)
    raw = np.empty((len(rows), len(spec.features)), np.float32)
    for place, name in enumerate(spec.features):
        raw[:, place] = _column([row[name] for row in rows], spec, place)
    return raw


def write(raw: np.ndarray, spec: DataSpec) -> list[Json]:
    """The reverse for [n, F]: what is no category, or missing, is null."""
    return [
        {name: _cell(value, names) for name, names, value in zip(spec.features, spec.categories, row, strict=True)}
        for row in raw.tolist()
    ]


def _check_names(rows: list[Any], features: tuple[str, ...]) -> None:
    wanted = set(features)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"inputs[{index}]: found {describe(row)}; allowed: an object like the first one")
        if wrong := sorted(row.keys() ^ wanted):
            raise invalid(f"inputs[{index}]: missing or unknown features: {', '.join(wrong)[:200]}")


def _column(cells: list[Any], spec: DataSpec, place: int) -> list[float]:
    codes = {name: float(code) for code, name in enumerate(spec.categories[place])}
    missing = spec.fill[place] is not None
    for row, cell in enumerate(cells):
        if not (_is_text(cell) if codes else is_float32(cell)) and not (missing and cell is None):
            allowed = _words(spec.categories[place], missing)
            raise invalid(f"inputs[{row}][{spec.features[place]!r}]: found {_shown(cell)}; allowed: {allowed}")
    if not codes:
        return [np.nan if cell is None else cell for cell in cells]
    return [np.nan if cell is None else _code(cell, codes) for cell in cells]


def _code(cell: str | bool, codes: dict[str, float]) -> float:
    """The number of a category, read as in a CSV file: without the space around it, and TRUE is true."""
    text = WORDS[cell] if isinstance(cell, bool) else cell.strip()
    return codes.get(text.lower() if codes.keys() <= set(WORDS.values()) else text, UNKNOWN)


def _is_text(cell: Any) -> bool:
    """Whether a cell can name a category: text, or true and false for such a column."""
    return type(cell) in (str, bool)


def _shown(cell: Any) -> str:
    return f"text {cell[:40]!r}" if type(cell) is str else describe(cell)


def _words(categories: tuple[str, ...], missing: bool) -> str:
    found = f"text such as {categories[0]!r}" if categories else "a finite number within float32"
    return f"{found}, or null" if missing else found


def _cell(value: float, categories: tuple[str, ...]) -> Any:
    if np.isnan(value) or (categories and value == UNKNOWN):
        return None
    return categories[int(value)] if categories else value
