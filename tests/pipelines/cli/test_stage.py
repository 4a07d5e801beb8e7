"""The command lines of all stages and commands."""

import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.pipelines.workspace import REPOSITORY

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


STAGE = """
import sys, time
from pathlib import Path
from pipelines.cli import stage
def wait_for(name):
    while not Path(name).exists():
        time.sleep(0.01)
def main():
    Path("started").touch()
    wait_for("end")
    Path("ended").touch()
wait_for("begin")
stage.run(main)
"""
DVC = """
import subprocess, sys
print(subprocess.Popen(sys.argv[1:], env=ENVIRONMENT).pid, flush=True)
sys.stdin.read()
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end processes with their parent")


def start_as_dvc(*shell: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A process in place of DVC, and one that it has started: a stage, or a `shell` that starts the stage.

    The stage waits for the file `begin` before all else, and for `end` before its end.
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DVC_STAGE": "train@torch-mlp"}
    stage = [*shell, sys.executable, "-c", STAGE]
    command = [sys.executable, "-c", DVC.replace("ENVIRONMENT", repr(environment)), *stage]
    dvc = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert dvc.stdout
    return dvc, psutil.Process(int(dvc.stdout.readline()))


@LINUX
@pytest.mark.parametrize("is_early", [False, True])
def test_a_stage_ends_with_a_dvc_that_is_killed(tmp_path, monkeypatch, is_early: bool) -> None:
    """Also if that is killed before the stage could prepare for it."""
    monkeypatch.chdir(tmp_path)
    dvc, stage = start_as_dvc()
    try:
        if not is_early:
            Path("begin").touch()
            wait_until(Path("started").exists)
        dvc.kill()
        dvc.wait()
        Path("begin").touch()
        wait_until(lambda: not is_alive(stage))
        assert Path("started").exists() is not is_early
    finally:
        if is_alive(stage):
            stage.kill()


@LINUX
def test_a_stage_does_not_end_with_a_shell_between(tmp_path, monkeypatch) -> None:
    """Ctrl-C ends such a shell at once, and the stage in order."""
    monkeypatch.chdir(tmp_path)
    Path("begin").touch()
    dvc, shell = start_as_dvc("/bin/sh", "-c", '"$@"; exit', "sh")
    try:
        wait_until(Path("started").exists)
        (stage,) = shell.children()
        shell.kill()
        wait_until(lambda: not is_alive(shell))
        Path("end").touch()
        wait_until(lambda: not is_alive(stage))
        assert Path("ended").exists()
    finally:
        Path("end").touch()
        dvc.communicate("")


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
