"""The README's table of what is equal in both frameworks: its limits are the tests', its figures are what they saw."""

import re
from functools import cache
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "README.md"
SEEN: dict[str, float] = {}  # what each row's tests have seen so far in this run: the largest difference


@cache
def table() -> dict[str, tuple[float, float]]:
    """The largest difference that was seen and the one that is allowed, by row."""
    section = README.read_text("utf-8").split("\n## What is equal\n", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| ([^|]+?) \| [^|]+ \| ([\d.e-]+) \| ([\d.e-]+) \|$", section, re.MULTILINE)
    return {name: (float(seen), float(allowed)) for name, seen, allowed in rows}


def require_equal(row: str, found: np.ndarray | float, expected: np.ndarray | float, scale: float = 1.0) -> None:
    """Fail where two arrays differ by more than the README allows, or by ten times what it says was seen."""
    difference = float(np.abs(np.asarray(found, np.float64) - np.asarray(expected, np.float64)).max()) / scale
    SEEN[row] = max(SEEN.get(row, 0.0), difference)
    seen, allowed = table()[row]
    assert difference <= allowed, f"{row}: {difference:.1e}, more than {allowed:.0e}"
    assert difference <= 10 * seen, f"{row}: {difference:.1e}; the README says that at most {seen:.0e} was seen"
