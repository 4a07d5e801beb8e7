"""The recipes of docs/promotion.md that retrain after drift, with other programs in place of uv and Python."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.pipelines.workspace import REPOSITORY

RETRAINING = (REPOSITORY / "docs" / "promotion.md").read_text("utf-8").partition("## Retraining after drift")[2]
SCRIPT, WORKFLOW = (re.search(rf"```{name}\n(.*?)```", RETRAINING, re.DOTALL)[1] for name in ("bash", "yaml"))
RETRAINED = ["uv run dvc repro", "uv run dvc push"]


def execute(folder: Path, drift: int, *command: str) -> tuple[int, list[str]]:
    """Status of a command, and the programs that it has called; `pipelines.drift` ends with the status `drift`."""
    for program, status in ((folder / ".venv" / "bin" / "python", drift), (folder / "bin" / "uv", 0)):
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "{program.name} $*" >> {folder}/calls\nexit {status}\n')
        program.chmod(0o755)
    environment = {"PATH": f"{folder}/bin:{os.environ['PATH']}", "GITHUB_OUTPUT": str(folder / "output")}
    done = subprocess.run(command, cwd=folder, env=environment, check=False)
    return done.returncode, (folder / "calls").read_text("utf-8").splitlines()


@pytest.mark.parametrize(("drift", "status", "after"), [(0, 0, []), (2, 0, RETRAINED), (1, 1, []), (127, 1, [])])
def test_the_script_retrains_only_after_drift(tmp_path: Path, drift: int, status: int, after: list[str]) -> None:
    (tmp_path / "retrain.sh").write_text(SCRIPT, "utf-8")
    called = ["python -m pipelines.drift --log /var/log/tandem", *after]
    assert execute(tmp_path, drift, "bash", "retrain.sh") == (status, called)


@pytest.mark.parametrize("drift", [0, 1, 2, 127])
def test_the_workflow_retrains_only_after_drift(tmp_path: Path, drift: int) -> None:
    *_, check, retrain = YAML(typ="safe").load(WORKFLOW)["jobs"]["retrain"]["steps"]
    status, _ = execute(tmp_path, drift, "bash", "-e", "-c", check["run"])  # as GitHub starts it
    assert (status == 0) is (drift in (0, 2))
    output = tmp_path / "output"
    is_drift = output.exists() and output.read_text() == "status=2\n"
    assert is_drift is (drift == 2)
    assert retrain["if"] == f"steps.{check['id']}.outputs.status == '2'"
    _, called = execute(tmp_path, 0, "bash", "-e", "-c", retrain["run"])
    assert called[-2:] == RETRAINED
