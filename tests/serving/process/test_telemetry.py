"""Nothing phones home: neither BentoML nor ONNX Runtime reports its use once the service is imported."""

import subprocess
import sys
from pathlib import Path

from tests.serving.conftest import ROOT, environment

SILENT = """
import serving.service
from bentoml._internal.utils.analytics import usage_stats
raise SystemExit(not usage_stats.do_not_track())
"""


def test_importing_the_service_leaves_no_trace_of_a_report(tmp_path: Path) -> None:
    """ONNX Runtime would leave the identifier of this device, and what it could not send yet, in the user's cache."""
    inherited = environment(tmp_path / "bentoml", HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    kept = {name: value for name, value in inherited.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", SILENT], check=True, cwd=ROOT, env=kept)
    assert [path.name for path in tmp_path.rglob("*") if "onnxruntime" in path.name or path.name == "deviceid"] == []
