"""Time of a stage by kind of work.

`python -m benchmarks.pipeline.stage_timer -m pipelines.train ...` runs the stage and adds a JSON line to a file.

A thread samples the stack of the main thread a hundred times per second and assigns each sample to the first of KINDS
whose code is being executed, otherwise to `work`.
"""

import json
import os
import resource
import runpy
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL = 0.01  # seconds
OUTPUT = "TANDEM_STAGE_TIMES"  # environment variable: path of the file that a line is added to
KINDS = {
    "imports": ("<frozen importlib",),
    "tracking": ("pipelines/tracking/", "site-packages/mlflow/"),
    "input_output": ("pipelines/artifacts/", "pipelines/sources/"),
}


class Sampler(threading.Thread):
    """Counts samples of the main thread by kind."""

    def __init__(self) -> None:
        super().__init__(name="stage timer", daemon=True)
        self.counts: Counter[str] = Counter()
        self.ended = threading.Event()

    def run(self) -> None:
        """Sample until `ended`."""
        main = threading.main_thread().ident or 0
        while not self.ended.wait(INTERVAL):
            self.counts[kind(sys._current_frames().get(main))] += 1


def kind(frame: FrameType | None) -> str:
    """The first of KINDS that a frame or one of its callers belongs to; `work` if there is none."""
    files = []
    while frame:
        files.append(frame.f_code.co_filename.replace(os.sep, "/"))
        frame = frame.f_back
    kinds = (name for name, places in KINDS.items() if any(place in file for file in files for place in places))
    return next(kinds, "work")


def main() -> None:
    """Run the module named after `-m` as Python would, and record its times, also if it fails."""
    _, _, module, *arguments = sys.argv
    sys.argv = [module, *arguments]
    begun, sampler = time.perf_counter(), Sampler()
    sampler.start()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sampler.ended.set()
        _write(record(" ".join(sys.argv), time.perf_counter() - begun, sampler.counts))


def record(command: str, seconds: float, counts: Counter[str]) -> dict[str, object]:
    """Wall and CPU seconds of a stage with its child processes, and the wall seconds of each kind."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    total = max(1, counts.total())
    parts = {name: round(seconds * counts[name] / total, 2) for name in (*KINDS, "work")}
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    return {"stage": command, "seconds": round(seconds, 2), "cpu_seconds": round(cpu, 2), **parts}


def _write(values: dict[str, object]) -> None:
    with Path(os.environ[OUTPUT]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()
