"""Metrics of several workers, one of which was killed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer

from serving.inference import champion
from serving.monitoring import metrics
from serving.monitoring.metrics import Metrics
from serving.process import supervision
from tests.serving.bundles import DIGITS, weights, write
from tests.serving.conftest import ROOT

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


def test_the_champion_reported_by_a_killed_worker_is_removed(digits: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    reported = []
    for folder in (digits, write(tmp_path / "second", weights(DIGITS, 2), "2")):
        command = [sys.executable, "-c", PROGRAM, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == -9, done.stderr
        reported.append({line for line in done.stdout.splitlines() if line.startswith("tandem_champion_info{")})
    assert [len(lines) for lines in reported] == [1, 1]
    assert 'version="1"' in reported[0].pop()
    assert 'version="2"' in reported[1].pop()


@pytest.mark.parametrize("most", [0, 45, metrics.MAX_KEPT])
def test_examples_are_counted_by_label_and_confidence(digits: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """However many outputs are counted together; one that is not a number is left out."""
    monkeypatch.setattr(metrics, "MAX_KEPT", most)
    counted, served = Metrics(), champion.load(digits, "cpu")
    labels = served.spec.labels
    for row, count in ((3, 2), (1, 1), (3, 4)):
        outputs = np.full((count, len(labels)), 0.05, np.float32)
        outputs[:, row] = 0.55
        counted.record_run(outputs, served, 0.0, 0.001)
        assert counted._kept <= most
    counted.record_run(np.full((1, len(labels)), np.nan, np.float32), served, 0.0, 0.001)
    counted.flush()
    counted.flush()  # adds nothing
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for each in counted.registry.collect()
        for sample in each.samples
    }
    assert values["tandem_predictions_total", labels[3]] == 6
    assert values["tandem_predictions_total", labels[1]] == 1
    assert values["tandem_confidence_count",] == 7
    assert values["tandem_confidence_sum",] == pytest.approx(7 * 0.55)


@pytest.mark.parametrize("memory", [True, False])
def test_the_files_are_in_memory_where_that_is_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: bool
) -> None:
    """The workers map them: a full disk would end them by SIGBUS."""
    (tmp_path / "memory").mkdir()
    monkeypatch.setattr(supervision, "MEMORY", str(tmp_path / "memory" if memory else tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv(supervision.METRICS_FOLDER, str(tmp_path))  # for another program
    try:
        supervision.use_own_metrics_folder()
        folder = Path(BentoMLContainer.prometheus_multiproc_dir.get())
    finally:
        BentoMLContainer.prometheus_multiproc_dir.reset()
    assert folder.parent == (tmp_path / "memory" if memory else tmp_path)
