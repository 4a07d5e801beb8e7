"""The scale benchmark: its images, what it measures of processes, and a run of two stages."""

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import processes
from benchmarks.scale import images, report
from benchmarks.scale.__main__ import Plan, measure

MEGABYTES = 200
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time; held = b'x' * {MEGABYTES * 10**6}; time.sleep(5)"], check=True)
"""


def test_a_png_file_holds_the_pixels() -> None:
    pixels = images.make(10, 20)
    assert len(np.unique(pixels, axis=0)) == 20
    with Image.open(io.BytesIO(images.png(pixels[3]))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels[3])


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from Linux's /proc")
def test_memory_is_that_of_a_process_and_of_those_it_starts(tmp_path: Path) -> None:
    usage = processes.run([sys.executable, "-c", PARENT], tmp_path, os.environ, tmp_path / "log.txt")
    assert MEGABYTES < usage.peak_mb < MEGABYTES + 100
    assert usage.seconds > usage.cpu_seconds > 0


def test_a_failure_is_reported_with_the_output(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="status 3: why"):
        processes.run(
            [sys.executable, "-c", "print('why'); raise SystemExit(3)"], tmp_path, os.environ, tmp_path / "log.txt"
        )


def test_stages_are_measured_at_each_size(tmp_path: Path) -> None:
    results = measure(Plan((200, 300), ("load", "prepare")), 1)
    text = report.write(results)
    assert "| stage | 200 | 300 |" in text
    assert all(usage["peak_mb"] > 30 for usages in results["stages"].values() for usage in usages.values())
    report.draw(results, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").stat().st_size > 10_000
