"""The table of docs/equivalence.md: the largest difference observed and the limit of each comparison of the twins."""

import re
from functools import cache
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "equivalence.md"
SEEN: dict[str, float] = {}  # what each row's tests have seen so far in this run: the largest difference


@cache
def table() -> dict[str, tuple[float, float]]:
    """The largest difference observed and the limit, by row."""
    row = re.compile(r"^\| ([^|]+?) \| [^|]+ \| ([\d.e-]+) \| ([\d.e-]+) \|$", re.MULTILINE)
    rows = row.findall(PAGE.read_text("utf-8"))
    return {name: (float(seen), float(allowed)) for name, seen, allowed in rows}


def require_equal(row: str, found: np.ndarray | float, expected: np.ndarray | float, scale: float = 1.0) -> None:
    """Fail where two arrays differ by more than the documented limit, or ten times the documented observation."""
    difference = float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max()) / scale
    SEEN[row] = max(SEEN.get(row, 0.0), difference)
    seen, allowed = table()[row]
    assert difference <= allowed, f"{row}: {difference:.1e}, more than {allowed:.0e}"
    assert difference <= 10 * seen, f"{row}: {difference:.1e}; {PAGE.name} documents {seen:.0e}"
