"""The benchmark of data-parallel training: a tiny run of both frameworks, and its report."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from tqdm import tqdm

from benchmarks import json_lines
from benchmarks.workers import report
from benchmarks.workers.__main__ import SINGLE, WHOLE, WORKERS, Plan, measure, measure_epochs
from models.config import Framework
from tests.pipelines.workspace import REPOSITORY

SERVER = """
import sys
from benchmarks import json_lines
with json_lines.answers() as write:
    for _ in json_lines.requests():
        write({"images_per_second": 1.0, "loss": float(sys.argv[1])})
"""


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_workers_are_measured_beside_one_process(framework: Framework, tmp_path: Path) -> None:
    plan = Plan((framework,), ("digits",), (WHOLE, WORKERS), 1, 64)
    results = measure(plan, 1)
    rates = results["rates"][framework]["digits"]
    assert list(rates) == ["1 process, 2 threads", "2 workers, 1 thread each"]
    assert all(rate > 0 for rate in rates.values())
    speed_up = rates["2 workers, 1 thread each"] / rates["1 process, 2 threads"]
    text = report.write(results)
    assert f"| digits | {framework} | " in text
    assert f" | {speed_up:.2f} |" in text
    report.draw(results, tmp_path / "workers.png")
    assert (tmp_path / "workers.png").stat().st_size > 5_000


@pytest.mark.parametrize(("loss", "is_same"), [("0.5001", True), ("0.6", False)])
def test_systems_that_do_not_train_the_same_model_are_not_compared(loss: str, is_same: bool, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with ExitStack() as stack:
        alone, worker = (
            stack.enter_context(json_lines.started([sys.executable, "-c", SERVER, each], tmp_path, environment))
            for each in ("0.5", loss)
        )
        systems = {SINGLE.name: [alone], WORKERS.name: [worker]}
        plan = Plan(systems=(SINGLE, WORKERS), epochs=1)
        if is_same:
            assert measure_epochs(plan, systems, "digits", tqdm(disable=True)) == dict.fromkeys(systems, 1.0)
            return
        with pytest.raises(RuntimeError, match=r"digits: the loss of the first epoch differs: .*0\.5.*0\.6"):
            measure_epochs(plan, systems, "digits", tqdm(disable=True))
