"""The command lines of all stages and commands."""

import runpy
import signal
import sys
from pathlib import Path

import pytest

PIPELINES = Path(__file__).parents[3] / "pipelines"
PACKAGES = {file.parent.name for file in PIPELINES.glob("*/__main__.py")}
MODULES = {file.stem for file in PIPELINES.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("command", sorted({*PACKAGES, *MODULES, "tracking.relocation"}))
def test_a_command_rejects_an_unknown_argument(tmp_path, monkeypatch, capsys, command: str) -> None:
    """Without doing anything in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["argv of the process", "--nonsense"])
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"pipelines.{command}", run_name="__main__", alter_sys=True)
    finally:
        signal.signal(signal.SIGTERM, handler)
    if command == "drift":  # whose status 2 means that there is drift
        assert str(ended.value.code).startswith("error: unrecognized arguments: --nonsense")
    else:
        assert ended.value.code == 2
        assert f"usage: python -m pipelines.{command} " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
