"""The files of a benchmark."""

import json
from pathlib import Path

import pytest

from benchmarks import output


def test_results_are_written_in_three_forms_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "results"
    output.write(folder, "speed", {"rate": 1.5}, "# Speed\n", lambda path: path.write_bytes(b"chart"))
    output.write(folder, "plain", {}, "# Plain\n")
    assert {path.name for path in folder.iterdir()} == {
        *("speed.json", "speed.md", "speed.png"), *("plain.json", "plain.md"),
    }  # fmt: skip
    assert json.loads((folder / "speed.json").read_text("utf-8")) == {"rate": 1.5}
    assert (folder / "speed.md").read_text("utf-8") == "# Speed\n"
    assert (folder / "speed.png").read_bytes() == b"chart"
    assert capsys.readouterr().out == "# Speed\n# Plain\n"
