"""ONNX Runtime sessions: the pipeline and the service request the same options, and report the provider in use."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from models.errors import InputError
from models.onnx import session
from models.onnx.session import CPU, CUDA, TENSORRT, Device, open_session
from pipelines.artifacts import paths
from pipelines.drift import __main__ as drift
from pipelines.evaluate import __main__ as evaluate
from pipelines.export import reader
from pipelines.promote import __main__ as promote
from pipelines.tracking import runs
from serving.inference.predictor import Predictor
from serving.settings import read
from tests.pipelines import synthetic
from tests.serving import bundles
from tests.serving.conftest import ROOT

FLOAT32_CUDA = (CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})
OLD_DRIVER = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
HIDDEN_GPUS = """
import os, sys
os.environ["CUDA_VISIBLE_DEVICES"] = ""
from pathlib import Path
from models.onnx import session
session.has_nvidia_driver = lambda: True
session.open_session(Path(sys.argv[1]), "auto")
"""
GRAPH = bundles.graph(bundles.weights(bundles.DIGITS))


class Recorded(onnxruntime.InferenceSession):
    """A session that runs on the CPU, records what was requested, and reports that it was granted."""

    opened: list["Recorded"]
    granted = True

    def __init__(
        self, model: str | bytes, options: onnxruntime.SessionOptions, providers: list[Any], enable_fallback: int
    ) -> None:
        assert not enable_fallback  # from a GPU to the CPU at any run, without an exception
        super().__init__(model, options, providers=[CPU])
        self.requested = providers
        self.tf32 = os.environ.get("NVIDIA_TF32_OVERRIDE")
        Recorded.opened.append(self)

    def get_providers(self) -> list[str]:
        return [name for name, _ in self.requested] if self.granted else [CPU]

    def settings(self) -> dict[str, str]:
        """All session options as text."""
        options = self.get_session_options()
        public = {name: getattr(options, name) for name in dir(options) if not name.startswith("_")}
        spinning = options.get_session_config_entry("session.intra_op.allow_spinning")
        return {name: str(value) for name, value in public.items() if not callable(value)} | {"spinning": spinning}


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose driver and providers can be found; no CUDA library is loaded."""
    monkeypatch.setattr(session, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcublas.so"))
    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorded)
    monkeypatch.setattr(Recorded, "opened", [], raising=False)
    monkeypatch.setattr(Recorded, "granted", True)
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)


@pytest.mark.parametrize(("device", "providers"), [("cpu", [(CPU, {})]), ("cuda", [FLOAT32_CUDA, (CPU, {})])])
def test_all_stages_and_the_service_have_the_same_options(tmp_path, monkeypatch, device, providers) -> None:
    settings = synthetic.enter(tmp_path, monkeypatch, {"frameworks": ["torch"], "architectures": ["cnn"]})
    synthetic.write_candidate("torch-cnn")
    model = paths.exports("torch-cnn") / "model.onnx"

    reader.onnx_runtime()(model, synthetic.SPEC)
    evaluate.evaluate("torch-cnn", settings.evaluate.model_copy(update={"device": device}), "tandem")
    promote.promote(settings.candidates, settings.promote, "cpu", settings.tracking.experiment)
    drift._outputs(json.loads((paths.CHAMPION / "champion.json").read_text("utf-8")), device)
    Predictor(model.read_bytes(), synthetic.SPEC, device)

    parity, evaluated, promoted, drifted, served = Recorded.opened
    assert evaluated.requested == drifted.requested == providers
    limit = {"gpu_mem_limit": str(2**31)}  # of the service alone, whose workers share the GPU
    assert served.requested == [(name, options | limit if name == CUDA else options) for name, options in providers]
    assert parity.requested == promoted.requested == [(CPU, {})]  # the reference outputs are computed on the CPU
    everywhere = [each.settings() for each in Recorded.opened]
    assert everywhere == [everywhere[0]] * 5
    expected = {"intra_op_num_threads": "1", "inter_op_num_threads": "1", "spinning": "0", "log_severity_level": "3"}
    assert everywhere[0].items() >= expected.items()
    assert [each.get_provider_options() for each in Recorded.opened] == [{CPU: {}}] * 5


def test_tensorrt_computes_in_float32(tmp_path: Path) -> None:
    Predictor(GRAPH, bundles.DIGITS, "tensorrt", tmp_path)
    (opened,) = Recorded.opened
    assert [name for name, _ in opened.requested] == [TENSORRT, CUDA, CPU]
    options = opened.requested[0][1]
    assert opened.tf32 == "0"  # when the session was created
    assert not options.keys() & {"trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable"}
    assert options["trt_engine_cache_path"].endswith("_float32")  # not one that was built with TF32
    assert opened.requested[1] == (CUDA, FLOAT32_CUDA[1] | {"gpu_mem_limit": str(2**31)})


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_the_setting_limits_the_memory_of_a_worker_on_a_gpu(tmp_path: Path, device: Device) -> None:
    settings = read({"TANDEM_GPU_MEMORY_BYTES": "100000000"})
    Predictor(GRAPH, bundles.DIGITS, device, tmp_path, settings.gpu_memory_bytes)
    requested = dict(Recorded.opened[0].requested)
    assert requested[CUDA]["gpu_mem_limit"] == "100000000"
    if device == "tensorrt":
        assert requested[TENSORRT]["trt_max_workspace_size"] == "100000000"
    with pytest.raises(InputError, match=r"TANDEM_GPU_MEMORY_BYTES.*67108864"):
        read({"TANDEM_GPU_MEMORY_BYTES": "1000"})


def test_only_tensorrt_needs_the_environment_variable() -> None:
    open_session(GRAPH, "cuda")
    assert Recorded.opened[0].tf32 is None


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_fallback_to_the_cpu_is_an_error_that_names_the_setting(tmp_path, monkeypatch, device) -> None:
    monkeypatch.setattr(Recorded, "granted", False)
    with pytest.raises(InputError, match=f"^evaluate.device = '{device}': ONNX Runtime uses {CPU}; .* auto, cpu$"):
        open_session(GRAPH, device, "evaluate.device")
    with pytest.raises(InputError, match=f"^TANDEM_DEVICE = '{device}': ONNX Runtime uses {CPU}; .* auto, cpu$"):
        Predictor(GRAPH, bundles.DIGITS, device, tmp_path)


def test_automatic_selection_takes_the_gpu_or_warns(monkeypatch, caplog, capsys) -> None:
    assert open_session(GRAPH, "auto").requested == [FLOAT32_CUDA, (CPU, {})]
    assert caplog.messages == []
    monkeypatch.setattr(Recorded, "granted", False)
    open_session(GRAPH, "auto")
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"an NVIDIA driver is installed, but ONNX Runtime uses {CPU}; ")
    assert capsys.readouterr().out == ""  # `evaluate` and the readers write results there


class Failing(Recorded):
    """A session that cannot be opened on a GPU, as with an old driver."""

    def __init__(self, *given: Any, providers: list[Any], **options: Any) -> None:
        if len(providers) > 1:
            raise RuntimeError(
                f"cuda_call.cc:122 [with\nTHRW] {OLD_DRIVER} ; GPU=-1 ; hostname=vm ; expr=cudaSetDevice();"
            )
        super().__init__(*given, providers=providers, **options)


def test_the_reason_of_a_gpu_that_cannot_be_used_is_named(monkeypatch, caplog) -> None:
    monkeypatch.setattr(onnxruntime, "InferenceSession", Failing)
    assert open_session(GRAPH, "auto").requested == [(CPU, {})]
    assert caplog.messages == [f"{session.FALLBACK}; {OLD_DRIVER}"]
    with pytest.raises(InputError, match=f"^device = 'cuda': ONNX Runtime uses {CPU}; {OLD_DRIVER}; .* auto, cpu$"):
        open_session(GRAPH, "cuda")
    with pytest.raises(InputError, match=r"^device = 'auto': ONNX Runtime cannot open the model: "):
        open_session(b"no graph", "auto")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_model_that_does_not_fit_the_memory_limit_is_not_opened_on_the_cpu(device, monkeypatch) -> None:
    class Full(Recorded):
        def __init__(self, *given: Any, providers: list[Any], **options: Any) -> None:
            if len(providers) > 1:
                raise RuntimeException("BFC arena: Available memory of 0 is smaller than requested bytes of 32")
            super().__init__(*given, providers=providers, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Full)
    with pytest.raises(InputError, match=f"^device = '{device}': ONNX Runtime cannot open the model: BFC arena: "):
        open_session(GRAPH, device)


def test_a_gpu_that_cannot_be_used_prints_nothing_to_standard_output(tmp_path) -> None:
    """The real session; hidden GPUs let it fail as an old driver does."""
    (tmp_path / "model.onnx").write_bytes(GRAPH)
    command = [sys.executable, "-c", HIDDEN_GPUS, str(tmp_path / "model.onnx")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == ""
    assert ended.stderr.startswith(session.FALLBACK)
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(("granted", "reason"), [(False, session.FALLBACK), (True, None)])
def test_evaluate_records_why_it_does_not_use_the_gpu(tmp_path, monkeypatch, granted, reason) -> None:
    monkeypatch.setattr(Recorded, "granted", granted)
    settings = synthetic.enter(tmp_path, monkeypatch, {"evaluate.device": "auto"})
    with runs.Tracker("tandem").start("torch-cnn", {}) as run:
        pass
    synthetic.write_candidate("torch-cnn", run.id)
    evaluate.evaluate("torch-cnn", settings.evaluate, "tandem")
    tags = mlflow.get_run(run.id).data.tags
    assert (tags["provider"], tags.get("provider_reason")) == (CUDA if granted else CPU, reason)


def test_without_a_driver_no_cuda_library_is_loaded(monkeypatch, caplog) -> None:
    monkeypatch.setattr(session, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: pytest.fail("loaded"))
    assert open_session(GRAPH, "auto").requested == [(CPU, {})]
    assert caplog.messages == []
    with pytest.raises(InputError, match="'cuda'"):
        open_session(GRAPH, "cuda")
