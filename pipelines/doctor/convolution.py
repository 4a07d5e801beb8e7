"""Compute a small convolution, which requires cuDNN on a GPU: `python -m pipelines.doctor.convolution torch`.

Prints one line of JSON: the `device` (`cpu` or `cuda`) that gave the correct result, and a readable `detail`. Of
frameworks that train also the reasons against a GPU in `training`, by the candidates of `params.yaml`, of ONNX Runtime
the `reason`; they are empty where a GPU is used.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from models.config import Framework, Train
from models.errors import InputError
from models.onnx import inference
from models.onnx.session import CUDA, open_session, provider, reason_against_gpu
from pipelines.config import params
from pipelines.execution import stage
from pipelines.execution.candidate import Candidate
from pipelines.execution.counts import counted

IMAGE = np.ones((1, 1, 8, 8), np.float32)  # [N, C, H, W]
KERNEL = np.ones((1, 1, 3, 3), np.float32)
TRAINS: dict[str, Framework] = {"torch": "torch", "tensorflow": "keras"}
EXPECTED = 9.0  # every value of the result


def main() -> None:
    """Compute with the framework named on the command line, on a GPU if one is available."""
    compute = {"torch": _torch, "tensorflow": _tensorflow, "onnxruntime": _onnxruntime}[sys.argv[1]]
    # Before anything else uses TensorFlow.
    training = {"training": _training(TRAINS[sys.argv[1]])} if sys.argv[1] in TRAINS else {}
    device, detail = _try(compute)
    reason = {} if training else {"reason": "" if device == "cuda" else reason_against_gpu("auto") or detail}
    print(json.dumps({"device": device, "detail": detail, **training, **reason}))


def _training(framework: Framework) -> dict[str, str]:
    """The reason why each candidate of a framework is not trained on a GPU, by name."""
    settings = params.read()
    chosen = [Candidate(*pair) for pair in settings.pairs if pair[0] == framework]
    return {
        each.name: _reason(each, settings.train.for_candidate(each.framework, each.architecture)) for each in chosen
    }


def _reason(chosen: Candidate, config: Train) -> str:
    try:
        return chosen.framework_module("device").reason_against_gpu(config)
    except InputError as error:
        return str(error)


def _try(compute: Callable[[str], tuple[str, str, np.ndarray]]) -> tuple[str, str]:
    """Device and detail; if the GPU fails, the CPU and the reason of the failure."""
    try:
        return _check(*compute("auto"))
    except Exception as error:  # each framework has its own types
        device, detail = _check(*compute("cpu"))
        reason = str(error).strip() or type(error).__name__  # the message may be empty
        return device, f"{detail}; on the GPU it failed: {reason.splitlines()[0][:200]}"


def _check(device: str, detail: str, result: np.ndarray) -> tuple[str, str]:
    if not np.all(result == EXPECTED):
        raise ArithmeticError(f"{detail}: a convolution gave {result.flat[0]}, not {EXPECTED}")
    return device, detail


def _torch(requested: str) -> tuple[str, str, np.ndarray]:
    import torch

    device = "cuda" if requested == "auto" and torch.cuda.is_available() else "cpu"
    image, kernel = (torch.from_numpy(array).to(device) for array in (IMAGE, KERNEL))
    result = torch.nn.functional.conv2d(image, kernel)
    if result.device.type == "cpu":
        return "cpu", f"on the CPU, {counted(torch.get_num_threads(), 'thread')}", result.numpy()
    version = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    built = f"CUDA {torch.version.cuda}, cuDNN {version}"
    return "cuda", f"on {torch.cuda.get_device_name()}, {built}", result.cpu().numpy()


def _tensorflow(requested: str) -> tuple[str, str, np.ndarray]:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU") if requested == "auto" else []
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    with tf.device("GPU:0" if gpus else "CPU:0"):
        result = tf.nn.conv2d(IMAGE.transpose(0, 2, 3, 1), KERNEL.transpose(2, 3, 1, 0), 1, "VALID")
    if "GPU" not in result.device:
        return "cpu", "on the CPU", result.numpy()
    built = tf.sysconfig.get_build_info()
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "a GPU")
    detail = f"on {name}, CUDA {built.get('cuda_version')}, cuDNN {built.get('cudnn_version')}"
    return "cuda", detail, result.numpy()


def _onnxruntime(requested: str) -> tuple[str, str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "convolution.onnx"
        _write_graph(graph)
        session = open_session(graph, "cpu" if requested == "cpu" else "auto")
    result = inference.run(session, IMAGE)
    used = provider(session)
    return "cuda" if used == CUDA else "cpu", f"with {used}", result


def _write_graph(path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper, save

    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, IMAGE.shape)]
    outputs = [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)]
    node = helper.make_node("Conv", ["image", "kernel"], ["result"])
    graph = helper.make_graph([node], "convolution", inputs, outputs, [numpy_helper.from_array(KERNEL, "kernel")])
    # Versions that every allowed ONNX Runtime reads.
    save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 18)]), path)


if __name__ == "__main__":
    stage.run(main)
