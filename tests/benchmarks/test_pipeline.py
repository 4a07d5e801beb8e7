"""The times that the pipeline benchmark assigns to a stage."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from benchmarks.pipeline import stage_timer
from benchmarks.pipeline.__main__ import medians
from tests.pipelines.workspace import REPOSITORY


def test_the_parts_of_a_stage_add_up_to_its_wall_time():
    found = stage_timer.record("stage", 8.0, Counter(imports=300, work=100))
    assert (found["imports"], found["tracking"], found["input_output"], found["work"]) == (6.0, 0.0, 0.0, 2.0)


def test_medians_are_of_each_stage_over_the_rounds():
    stages = [
        [stage_timer.record(name, seconds, Counter(work=1)) for name in ("load", "prepare")]
        for seconds in (5.0, 1.0, 2.0)
    ]
    found = medians([{"seconds": 10.0 * number, "stages": each} for number, each in enumerate(stages)])
    assert found["seconds"] == 10.0
    assert [(stage["stage"], stage["seconds"], stage["work"]) for stage in found["stages"]] == [
        ("load", 2.0, 2.0),
        ("prepare", 2.0, 2.0),
    ]


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/a/pipelines/tracking/runs.py", "tracking"),
        ("/a/pipelines/artifacts/npy.py", "input_output"),
        ("<frozen importlib._bootstrap>", "imports"),
        ("/a/models/torch/fit.py", "work"),
    ],
)
def test_a_moment_belongs_to_the_code_that_is_executed(file, kind):
    values = {"kind": stage_timer.kind}
    exec(compile("import sys\nfound = kind(sys._getframe())", file, "exec"), values)
    assert values["found"] == kind


def test_a_stage_runs_as_without_the_timer_and_a_failure_is_recorded(tmp_path, monkeypatch):
    (tmp_path / "stage.py").write_text("import sys\nsys.exit(f'{__name__} {sys.argv[1]}')\n", "utf-8")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{REPOSITORY}")
    monkeypatch.setenv(stage_timer.OUTPUT, str(tmp_path / "times"))
    command = [sys.executable, "-m", "benchmarks.pipeline.stage_timer", "-m", "stage", "one"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "__main__ one\n")
    times = json.loads((tmp_path / "times").read_text("utf-8"))
    assert times["stage"].endswith(" one")
    assert times["cpu_seconds"] > 0  # with the start of Python
