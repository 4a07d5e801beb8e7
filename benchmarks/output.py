"""The files of a benchmark's results."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def write(
    folder: Path, name: str, results: Mapping[str, Any], text: str, draw: Callable[[Path], None] | None = None
) -> None:
    """Write `NAME.json` and the Markdown `text` to `NAME.md`, and print it; `draw` the chart `NAME.png`, if any."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (folder / f"{name}.md").write_text(text, "utf-8")
    if draw is not None:
        draw(folder / f"{name}.png")
    sys.stdout.write(text)
