"""The training benchmark: its clock, its medians, its recipe, and a tiny run of every system."""

import json
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from benchmarks.paths import REPOSITORY
from benchmarks.training import report, twins
from benchmarks.training.__main__ import TIMES, accuracy_after, summary
from benchmarks.training.clock import Clock, Point
from benchmarks.training.report import TITLES
from benchmarks.training.run import SYSTEMS, THROUGHPUT

# All measurements of a framework in one process: importing it takes longer than they do.
PROGRAM = """
import sys
from benchmarks.training import run

for arguments in sys.argv[1:]:
    sys.argv = ["run", *arguments.split(), "--seconds", "0.1", "--examples", "256"]
    run.main()
"""
RUN = [Point(20.0, 39.0, 0.90), Point(50.0, 98.0, 0.921), Point(110.0, 215.0, 0.93)]


def test_the_clock_stands_still_during_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, cpu = 100.0, 10.0

    def work(seconds: float, accuracy: float = 0.0) -> float:
        nonlocal wall, cpu
        wall, cpu = wall + seconds, cpu + seconds / 2
        return accuracy

    monkeypatch.setattr(
        "benchmarks.training.clock.time", SimpleNamespace(perf_counter=lambda: wall, process_time=lambda: cpu)
    )
    clock = Clock(interval=2.0, limit=4.0)
    work(1.5)
    assert not clock.is_due()
    work(0.5)
    assert clock.is_due()
    clock.evaluate(lambda: work(5.0, 0.5))
    assert not clock.is_due()
    work(1.0)
    clock.evaluate(lambda: 0.6)
    assert clock.points == [Point(2.0, 1.0, 0.5), Point(3.0, 1.5, 0.6)]
    assert not clock.is_over()
    work(1.0)
    assert clock.is_over()


def test_medians_are_over_the_seeds_and_a_missed_target_is_none() -> None:
    slower = [point._replace(seconds=2 * point.seconds) for point in RUN]
    missed = [point._replace(accuracy=0.5) for point in RUN]
    assert summary([RUN, slower, RUN])["seconds"] == 50.0
    assert summary([RUN, slower, RUN])["cpu_seconds"] == 98.0
    assert summary([RUN, missed, missed])["seconds"] is None
    assert [accuracy_after(RUN, seconds) for seconds in (10, *TIMES)] == [0.0, 0.90, 0.921, 0.93, 0.93]


def test_the_recipe_is_the_documented_command() -> None:
    text = (REPOSITORY / "docs" / "experiments.md").read_text("utf-8")
    command = text.partition("### Fashion-MNIST, fast recipe")[2].partition("```console")[2].partition("```")[0]
    words = command.replace("'", "").replace("\\\n", " ").split()
    documented = dict(word.split("=", 1) for flag, word in pairwise(words) if flag == "-S")
    values = {key: yaml.safe_load(value) for key, value in documented.items()}
    assert values.pop("data.source") == "fashion_mnist"
    assert values.pop("architectures") == ["cnn"]
    assert values == {key: list(value) if isinstance(value, tuple) else value for key, value in twins.RECIPE.items()}


def test_the_report_names_every_system(tmp_path: Path) -> None:
    rates = {"training": 9e3, "evaluation": 3e4, "training_cpu": 5e3, "evaluation_cpu": 2e4}
    results = {
        "machine": {"processor": "P", "pinned": 2, "load_average": [0.1], "packages": {"torch": "2"}},
        "plan": {"seeds": 1},
        "target": 0.92,
        "precision": {**{system: ["float32"] for system in TITLES}, "tandem-torch": ["bfloat16"] * 2},
        "systems": {system: summary([RUN]) for system in SYSTEMS},
        "throughput": dict.fromkeys(THROUGHPUT, rates),
        "curves": {system: [[point._asdict() for point in RUN]] for system in SYSTEMS},
    }
    text = report.write(results)
    assert "| Tandem, PyTorch twin | bfloat16 | 50 | 98 | 0.900 | 0.921 | 0.930 | 0.930 | 0.930 at 110 s |" in text
    assert "| plain PyTorch loop | float32 | 9,000 | 30,000 | 5,000 | 20,000 |" in text
    report.draw(results, tmp_path / "training.png")
    assert (tmp_path / "training.png").stat().st_size > 10_000


MEASUREMENTS = [
    *(("accuracy", system) for system in SYSTEMS),
    *(("throughput", system) for system in THROUGHPUT),
]


@cache
def runs(framework: str) -> dict[tuple[str, str], Any]:
    """What each measurement of the framework's systems has written, by measurement and system."""
    chosen = [each for each in MEASUREMENTS if framework in each[1]]
    command = [sys.executable, "-c", PROGRAM, *map(" ".join, chosen)]
    process = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    lines = [line for line in process.stdout.splitlines() if line.startswith(("[", "{"))]
    return dict(zip(chosen, map(json.loads, lines), strict=True))


@pytest.mark.skipif(not Path("/usr/share/datasets/fashion-mnist").exists(), reason="Fashion-MNIST is not installed")
@pytest.mark.parametrize(("measurement", "system"), MEASUREMENTS)
def test_every_system_runs(measurement: str, system: str) -> None:
    run = runs("torch" if "torch" in system else "keras")[measurement, system]
    assert run["precision"] in (("float32", "bfloat16") if "tandem" in system else ("float32",))
    found = run["found"]
    if measurement == "accuracy":
        assert found[-1]["seconds"] > 0
        assert 0 <= found[-1]["accuracy"] <= 1
    else:
        assert set(found) == {"training", "evaluation", "training_cpu", "evaluation_cpu"}
        assert all(value > 0 for value in found.values())
