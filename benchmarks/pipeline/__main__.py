"""Wall and CPU time of each stage of the default pipeline: `uv run --group benchmarks python -m benchmarks.pipeline`.

The committed state is cloned to a temporary folder, again in each round. `cold` is its first `dvc repro`, `warm` the
same with `--force`, `no-op` one that has nothing to do. The figures are medians over the rounds, of which each takes
about four minutes on a quiet machine.
"""

import argparse
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tabulate import tabulate

from benchmarks import machine
from benchmarks.paths import REPOSITORY, RESULTS
from benchmarks.pipeline import stage_timer

RUNS: Mapping[str, Sequence[str]] = {"cold": (), "warm": ("--force",), "no-op": ()}
PACKAGES = ("dvc", "mlflow", "torch", "tensorflow", "keras", "onnxruntime-gpu", "onnxruntime", "numpy")
COLUMNS = ("stage", "seconds", "cpu_seconds", *stage_timer.KINDS, "work")


def main() -> None:
    """Run all of RUNS; print a table of each and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "pipeline.json")
    chosen = parser.parse_args()
    cores = machine.pin(chosen.cores)
    described = machine.describe(PACKAGES) | {"pinned": cores}
    rounds = [_round() for _ in range(chosen.rounds)]
    runs = {name: medians([each[name] for each in rounds]) for name in RUNS}
    for name, values in runs.items():
        print(f"{name}: {values['seconds']:.1f} s, {values['cpu_seconds']:.1f} s of CPU time")
        if values["stages"]:
            print(tabulate([[stage[key] for key in COLUMNS] for stage in values["stages"]], COLUMNS, "github"))
    content = {"machine": described, "rounds": chosen.rounds, "runs": runs}
    chosen.output.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _round() -> dict[str, dict[str, Any]]:
    """All of RUNS in a new clone."""
    with tempfile.TemporaryDirectory() as folder:
        clone = _clone(Path(folder))
        return {name: run(clone, options) for name, options in RUNS.items()}


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The median of each figure over the rounds of one run, and of each of its stages."""
    stages = zip(*(each["stages"] for each in runs), strict=True)
    return {**_medians(runs), "stages": [{"stage": each[0]["stage"], **_medians(each)} for each in stages]}


def _medians(rounds: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    figures = (name for name, value in rounds[0].items() if isinstance(value, int | float))
    return {name: round(median(each[name] for each in rounds), 2) for name in figures}


def run(workspace: Path, options: Sequence[str]) -> dict[str, Any]:
    """Seconds of `dvc repro` in a workspace, of its stages, and of DVC itself."""
    times = workspace.parent / "times.jsonl"
    times.write_text("", "utf-8")
    before, begun = _child_cpu(), time.perf_counter()
    command = [sys.executable, "-m", "dvc", "repro", *options]
    subprocess.run(command, cwd=workspace, env=_environment(workspace.parent, times), check=True)
    seconds, cpu = time.perf_counter() - begun, _child_cpu() - before
    stages = [json.loads(line) for line in times.read_text("utf-8").splitlines()]
    dvc = seconds - sum(stage["seconds"] for stage in stages)
    return {"seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), "dvc_seconds": round(dvc, 2), "stages": stages}


def _clone(folder: Path) -> Path:
    workspace = folder / "workspace"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, workspace], check=True)
    _write_python(folder / "bin")
    return workspace


def _write_python(folder: Path) -> None:
    """A command `python` for the stages that measures the module it runs."""
    folder.mkdir()
    script = folder / "python"
    script.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m benchmarks.pipeline.stage_timer "$@"\n', "utf-8"
    )
    script.chmod(0o755)


def _environment(folder: Path, times: Path) -> dict[str, str]:
    """The environment without a tracking server, so that runs are recorded in the store of the workspace."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    path = os.pathsep.join([str(folder / "bin"), inherited.get("PATH", os.defpath)])
    return {**inherited, "PATH": path, stage_timer.OUTPUT: str(times)}


def _child_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
