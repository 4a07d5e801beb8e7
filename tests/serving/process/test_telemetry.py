"""Telemetry of BentoML and ONNX Runtime is disabled once the service is imported."""

import subprocess
import sys
from pathlib import Path

from tests.serving.conftest import ROOT, environment

PROGRAM = """
import serving.service
from bentoml._internal.utils.analytics import usage_stats
raise SystemExit(not usage_stats.do_not_track())
"""


def test_importing_the_service_disables_telemetry(tmp_path: Path) -> None:
    """ONNX Runtime would write a device identifier and unsent events to the user's cache."""
    inherited = environment(tmp_path / "bentoml", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    kept = {name: value for name, value in inherited.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, cwd=ROOT, env=kept)
    assert [path.name for path in tmp_path.rglob("*") if "onnxruntime" in path.name or path.name == "deviceid"] == []
