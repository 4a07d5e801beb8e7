"""Table rows as objects by feature name <-> raw columns. A category is given by its name; null is a missing value."""

from typing import Any

import numpy as np

from models.spec import UNKNOWN, DataSpec
from serving.api.json_values import first_names, is_float32, summarize
from serving.errors import invalid

Json = dict[str, Any]
BOOLEANS = {True: "true", False: "false"}  # the categories of a column of booleans


def parse(rows: list[Any], spec: DataSpec) -> np.ndarray:
    """Objects -> float32 [N, F]: numbers, codes of categories, UNKNOWN for other names, NaN for null.

    Raises RequestError, naming row and column, for missing or unknown features, text among numbers, numbers
    among categories, and null where no value may be missing.
    """
    _check_names(rows, spec.features)
    raw = np.empty((len(rows), len(spec.features)), np.float32)
    for position, name in enumerate(spec.features):
        raw[:, position] = _column([row[name] for row in rows], spec, position)
    return raw


def write(raw: np.ndarray, spec: DataSpec) -> list[Json]:
    """Raw columns [n, F] -> objects: unknown categories and missing values are null."""
    return [
        {name: _cell(value, names) for name, names, value in zip(spec.features, spec.categories, row, strict=True)}
        for row in raw.tolist()
    ]


def _check_names(rows: list[Any], features: tuple[str, ...]) -> None:
    known = set(features)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise invalid(f"inputs[{index}]: found {summarize(row)}; allowed: an object like the first one")
        if row.keys() != known:
            names = {"missing features": known - row.keys(), "unknown features": row.keys() - known}
            found = "; ".join(f"{kind}: {first_names(wrong)}" for kind, wrong in names.items() if wrong)
            raise invalid(f"inputs[{index}]: {found}")


def is_boolean(categories: tuple[str, ...]) -> bool:
    """Return whether a column with these categories accepts booleans beside text."""
    return bool(categories) and set(categories) <= set(BOOLEANS.values())


def _column(cells: list[Any], spec: DataSpec, position: int) -> list[float]:
    categories = spec.categories[position]
    codes = {name: float(code) for code, name in enumerate(categories)}
    boolean = is_boolean(categories)
    types = (str, bool) if boolean else (str,)
    missing = spec.fill[position] is not None
    for row, cell in enumerate(cells):
        if not (type(cell) in types if codes else is_float32(cell)) and not (missing and cell is None):
            allowed = _allowed(categories, missing)
            raise invalid(f"inputs[{row}][{spec.features[position]!r}]: found {_quote(cell)}; allowed: {allowed}")
    if not codes:
        return [np.nan if cell is None else cell for cell in cells]
    return [np.nan if cell is None else _code(cell, codes, boolean) for cell in cells]


def _code(cell: str | bool, codes: dict[str, float], boolean: bool) -> float:
    """The code of a category, read as in a CSV file: without surrounding space, and TRUE is true if it is `boolean`."""
    text = BOOLEANS[cell] if isinstance(cell, bool) else cell.strip()
    return codes.get(text.lower() if boolean else text, UNKNOWN)


def _quote(cell: Any) -> str:
    return f"text {cell[:40]!r}" if type(cell) is str else summarize(cell)


def _allowed(categories: tuple[str, ...], missing: bool) -> str:
    allowed = f"text such as {categories[0]!r}" if categories else "a finite number within float32"
    return f"{allowed}, or null" if missing else allowed


def _cell(value: float, categories: tuple[str, ...]) -> Any:
    if np.isnan(value) or (categories and value == UNKNOWN):
        return None
    return categories[int(value)] if categories else value
