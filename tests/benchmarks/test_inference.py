"""The inference benchmark: its runtimes give the same outputs, and its report names them."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.inference import report
from benchmarks.inference.__main__ import TOLERANCE, Plan, compare_and_time

# Both trained models, and what starts fast; the other files have their own tests.
MEASURED = [
    "torch, eager",
    "ONNX Runtime",
    *(["OpenVINO"] if find_spec("openvino") else []),
    "TensorFlow, tf.function",
    "LiteRT",
]

if TYPE_CHECKING:
    from tests.tiny_pipeline import Workspace


def test_runtimes_are_compared_and_measured(pipeline: "Workspace", tmp_path: Path) -> None:
    plan = Plan(("digits",), tuple(MEASURED), (1, 3), 1, 0.01)
    found = compare_and_time(plan, pipeline.root, 1, "digits")
    assert found["milliseconds"].keys() == set(MEASURED)
    assert all(time > 0 for times in found["milliseconds"].values() for time in times.values())
    assert found["difference"]["torch, eager"] == found["difference"]["TensorFlow, tf.function"] == 0
    assert 0 < found["difference"]["ONNX Runtime"] < TOLERANCE
    assert 0 < found["difference"]["LiteRT"] < TOLERANCE
    machine = {"processor": "P", "pinned": 2, "load_average": [0.1], "packages": {"torch": "2"}}
    results = {"machine": machine, "plan": {"rounds": 1}, "data": {"digits": found}}
    assert "| LiteRT |" in report.write(results)
    report.draw(results, tmp_path / "inference.png")
    assert (tmp_path / "inference.png").stat().st_size > 10_000
