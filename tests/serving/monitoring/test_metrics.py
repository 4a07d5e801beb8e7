"""Counters of several workers, of which one was killed."""

import os
import subprocess
import sys
from pathlib import Path

from tests.serving.bundles import DIGITS, weights, write

PROGRAM = """
import os, sys
from pathlib import Path
from serving.inference import champion
from serving.monitoring.metrics import Metrics
metrics, now = Metrics(), champion.load(Path(sys.argv[1]), "cpu")
metrics.champion_changed("loaded", now, now)
sys.stdout.write(metrics.text().decode())
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""


def test_a_worker_that_was_killed_says_no_longer_which_champion_answers(digits: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
    said = []
    for folder in (digits, write(tmp_path / "second", weights(DIGITS, 2), "2")):
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == -9, done.stderr
        said.append({line for line in done.stdout.splitlines() if line.startswith("tandem_champion_info{")})
    assert [len(lines) for lines in said] == [1, 1]
    assert 'version="1"' in said[0].pop()
    assert 'version="2"' in said[1].pop()
