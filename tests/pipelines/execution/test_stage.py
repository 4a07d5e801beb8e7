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

from pipelines.execution import dvc_process
from tests.pipelines.workspace import REPOSITORY

PIPELINES = Path(__file__).parents[3] / "pipelines"
PACKAGES = {file.parent.name for file in PIPELINES.glob("*/__main__.py")}
MODULES = {file.stem for file in PIPELINES.glob("*.py")} - {"__init__"}


@pytest.mark.filterwarnings("error:.* found in sys.modules")
@pytest.mark.parametrize("command", sorted({*PACKAGES, *MODULES, "tracking.relocation"}))
def test_a_command_rejects_an_unknown_argument(tmp_path, monkeypatch, capsys, command: str) -> None:
    """Without doing anything in its folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["argv of the process", "--nonsense"])
    # Imported by another test, it would be executed a second time beside itself, which `python -m` never does.
    module = f"pipelines.{command}.__main__" if command in PACKAGES else f"pipelines.{command}"
    monkeypatch.delitem(sys.modules, module, raising=False)
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
from pipelines.execution import stage
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
process = subprocess.Popen(sys.argv[1:], env=ENVIRONMENT)
print(process.pid, flush=True)
process.wait()
"""
SHELL = ("/bin/sh", "-c", '"$@"; exit', "sh")  # one that is not replaced by its command
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end processes with their parent")


def start_as_dvc(*shell: str) -> tuple[subprocess.Popen[str], psutil.Process]:
    """A process in place of DVC, and the one that it has started: a stage, or a `shell` that starts the stage.

    The stage waits for the file `begin` before all else, and for `end` before its end.
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), dvc_process.VARIABLE: "train@torch-mlp"}
    stage = [*shell, sys.executable, "-c", STAGE]
    command = [sys.executable, "-c", DVC.replace("ENVIRONMENT", repr(environment)), *stage]
    dvc = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    assert dvc.stdout
    return dvc, psutil.Process(int(dvc.stdout.readline()))


def stage_of(shell: psutil.Process) -> psutil.Process:
    """The stage that a shell has started."""
    wait_until(shell.children)
    return shell.children()[0]


@LINUX
@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("shell", [(), SHELL])
def test_a_stage_ends_with_a_dvc_that_is_killed(tmp_path, monkeypatch, shell: tuple[str, ...], is_early: bool) -> None:
    """Also if that is killed before the stage could prepare for it."""
    monkeypatch.chdir(tmp_path)
    dvc, child = start_as_dvc(*shell)
    stage = stage_of(child) if shell else child
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
def test_a_stage_ends_in_order_after_its_shell(tmp_path, monkeypatch) -> None:
    """Ctrl-C ends a shell at once, and DVC with it."""
    monkeypatch.chdir(tmp_path)
    Path("begin").touch()
    dvc, shell = start_as_dvc(*SHELL)
    stage = stage_of(shell)
    try:
        wait_until(Path("started").exists)
        shell.kill()
        dvc.wait()
        time.sleep(3 * dvc_process.POLL_SECONDS)
    finally:
        Path("end").touch()
        wait_until(lambda: not is_alive(stage))
    assert Path("ended").exists()


INTERRUPTED = """
from pipelines.execution import stage
def main():
    try:
        raise KeyboardInterrupt
    finally:
        raise RuntimeError("release unlocked lock")
stage.run(main)
"""


def test_an_interruption_within_a_library_that_then_fails_is_an_interruption(tmp_path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", INTERRUPTED]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (
        130,
        "",
        "interrupted (RuntimeError: release unlocked lock)\n",
    )


def wait_until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 100
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
