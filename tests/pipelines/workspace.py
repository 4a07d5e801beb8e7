"""Workspaces for stages under test: the `params.yaml` of the repository with some values changed."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipelines.artifacts import paths, raw_data
from pipelines.artifacts.raw_data import RawData
from pipelines.config.params import UNUSED_PATH, DataSource
from pipelines.execution import stage
from pipelines.prepare import __main__ as prepare

REPOSITORY = Path(__file__).parents[2]


def data(source: str, **given: Any) -> DataSource:
    """The section `data` for one source with only the `given` options set."""
    unset = dict.fromkeys(DataSource.model_fields) | {"mirrors": (), "task": "auto", "path": UNUSED_PATH}
    return DataSource(**unset | {"source": source} | given)


def write_params(folder: Path, changes: Mapping[str, Any]) -> Path:
    """Write `params.yaml` with `changes`, such as {"data.source": "mnist"}, into `folder`."""
    yaml = YAML()
    values = yaml.load(REPOSITORY / "params.yaml")
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = values
        for section in sections:
            place = place[section]
        place[name] = value
    yaml.dump(values, folder / "params.yaml")
    return folder / "params.yaml"


def run_prepare(raw: RawData) -> dict[str, Any]:
    """Prepare `raw` in the working directory; the content of validation.json."""
    for path in paths.RAW.glob("*"):
        path.unlink()
    paths.RAW.mkdir(parents=True, exist_ok=True)
    raw_data.write(raw, paths.RAW)
    prepare.main()
    return json.loads((paths.DATA_REPORT / "validation.json").read_text())  # type: ignore[no-any-return]


def read_split(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a split in the working directory."""
    return np.load(paths.split(name) / "inputs.npy"), np.load(paths.split(name) / "targets.npy")


def run_stage(stage: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m pipelines.<stage>` in `folder`, with a cache folder inside it."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", f"pipelines.{stage}", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run_main(main: Callable[[], None], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`main` as a stage runs it, but in this process and its working directory: no imports that take seconds."""
    stdout, stderr, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(stdout), redirect_stderr(stderr):
        patch.setattr(sys, "argv", ["stage", *arguments])
        try:
            stage.run(main)
            status: object = 0
        except SystemExit as ended:
            status = ended.code
        finally:
            signal.signal(signal.SIGTERM, handler)
    if isinstance(status, str):
        print(status, file=stderr)
    code = status if isinstance(status, int) else 1
    return subprocess.CompletedProcess(["stage", *arguments], code, stdout.getvalue(), stderr.getvalue())


def mount_small_disk(folder: Path, kilobytes: int) -> None:
    """Mount a file system of this size at `folder`, or skip the test; `unmount` it afterwards."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode:
        pytest.skip("only root can mount a small disk")


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def assert_one_error_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr
