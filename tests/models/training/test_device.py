"""The choice of a device, without a GPU: what its capability and the build of the framework say."""

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from models import gpu_driver
from models.config import Train
from models.errors import InputError
from models.training import device
from models.training.device import Device, cpu, gpu, gpu_number, missing_code, no_gpu
from tests.models.conftest import FRAMEWORKS, framework_module

# Of torch 2.10 and TensorFlow 2.20.
TORCH = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
TENSORFLOW = ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"]


@pytest.mark.parametrize(
    ("capability", "architectures", "has_code"),
    [
        ((7, 0), TORCH, True),  # Volta
        ((6, 1), TORCH, False),  # Pascal
        ((7, 5), TORCH, True),
        ((8, 9), TORCH, True),  # runs code for 8.6
        ((9, 0), TORCH, True),
        ((10, 3), TORCH, True),
        ((11, 0), TORCH, False),
        ((7, 0), TENSORFLOW, True),
        ((5, 2), TENSORFLOW, False),
        ((12, 0), TENSORFLOW, True),  # compiled from that for 9.0 when it is loaded
    ],
)
def test_code_for_a_gpu(capability: tuple[int, int], architectures: list[str], has_code: bool) -> None:
    reason = missing_code("GPU 1", capability, architectures)
    assert (reason == "") == has_code
    if reason:
        assert f"GPU 1 has compute capability {capability[0]}.{capability[1]}" in reason
        assert architectures[0] in reason
        assert reason.endswith(": use a GPU of these, or the CPU")


@pytest.mark.parametrize("driver", [True, False])
def test_the_cpu_is_named_with_the_reason_where_there_is_a_driver(
    driver: bool, train_config: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "has_nvidia_driver", lambda: driver)
    assert ("pipelines.doctor" in no_gpu("torch")) == driver
    automatic = with_device(train_config, device="auto")
    chosen = cpu("CPU", no_gpu("torch"), automatic)
    assert chosen.name.startswith("CPU (torch sees no CUDA device") if driver else chosen.name == "CPU"
    assert chosen.reason == no_gpu("torch")
    assert cpu("CPU", "train.device = 'cpu'", train_config).name == "CPU"


def test_a_single_thread_is_singular(train_config: Train) -> None:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        chosen = framework_module("torch", "device").choose(train_config.model_copy(update={"device": "cpu"}))
    finally:
        torch.set_num_threads(threads)
    assert chosen.name == "CPU, up to 1 thread"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_gpu_without_code_for_it_is_not_used(
    framework: str, train_config: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as the framework describes it: a Pascal for torch, a Maxwell for TensorFlow."""
    if framework == "torch":
        import torch

        described = {"is_available": True, "device_count": 1, "set_device": None, "get_device_name": "GPU 1"}
        for name, value in (described | {"get_device_capability": (6, 1), "get_arch_list": TORCH}).items():
            monkeypatch.setattr(torch.cuda, name, lambda *_, value=value: value)
    else:
        import tensorflow as tf

        gpu = tf.config.PhysicalDevice("/physical_device:GPU:0", "GPU")
        details = {"device_name": "GPU 1", "compute_capability": (5, 2)}
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda *_: [gpu])
        monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: details)
        monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: {"cuda_compute_capabilities": TENSORFLOW})
    module = framework_module(framework, "device")
    chosen = module.choose(with_device(train_config, device="auto"))
    assert chosen.kind == "cpu"
    assert "GPU 1 has compute capability" in chosen.reason
    with pytest.raises(InputError, match=r"train\.device = 'cuda': GPU 1 has .*; allowed here: auto, cpu"):
        module.choose(with_device(train_config, device="cuda"))


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_reason_against_a_gpu_is_part_of_the_device(framework: str, train_config: Train) -> None:
    own = with_device(train_config, devices={framework: "cpu"}).for_candidate(framework, "cnn")  # type: ignore[arg-type]
    assert framework_module(framework, "device").choose(train_config).reason == "train.device = 'cpu'"
    assert framework_module(framework, "device").choose(own).reason == f"train.devices.{framework} = 'cpu'"


@pytest.mark.parametrize(
    ("capability", "automatic"), [(6, "float32"), (7, "float16"), (8, "bfloat16"), (12, "bfloat16")]
)
def test_the_precision_is_the_one_that_the_gpu_is_fast_in(capability: int, automatic: str, train_config: Train) -> None:
    assert gpu("GPU 1", capability, with_device(train_config, precision="auto")).precision == automatic
    assert gpu("GPU 1", capability, train_config) == Device("cuda", "GPU 1", "float32")
    for precision in ("float16", "bfloat16"):
        requested = with_device(train_config, precision=precision)
        if precision == automatic:
            assert gpu("GPU 1", capability, requested).precision == precision
            continue
        allowed = ", ".join(dict.fromkeys(["auto", automatic, "float32"]))
        reason = rf"train\.precision = '{precision}' is for .*GPU 1 has compute capability {capability}\.x; "
        with pytest.raises(InputError, match=f"{reason}allowed here: {allowed}$"):
            gpu("GPU 1", capability, requested)


def test_lbfgs_cannot_skip_a_step_and_has_no_float16(train_config: Train) -> None:
    assert gpu("GPU 1", 7, with_device(train_config, precision="auto", optimizer="lbfgs")).precision == "float32"
    with pytest.raises(ValidationError, match="precision = 'float16' with optimizer = 'lbfgs'; allowed: auto, float32"):
        with_device(train_config, precision="float16", optimizer="lbfgs")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_float16_is_not_for_a_cpu(framework: str, train_config: Train) -> None:
    with pytest.raises(
        InputError, match=r"compute capability 7\.x.*uses the CPU; allowed here: auto, float32, bfloat16"
    ):
        framework_module(framework, "device").choose(with_device(train_config, precision="float16"))


def with_device(config: Train, **changes: Any) -> Train:
    return Train(**config.model_dump() | changes)


@pytest.mark.parametrize(
    ("device", "local_rank", "count", "number"),
    [("auto", 0, 1, 0), ("cuda", 0, 4, 0), ("cuda", 3, 4, 3), ("auto", 1, 2, 1), ("cuda:2", 0, 4, 2)],
)
def test_the_gpu_is_the_named_one_or_that_of_the_worker(
    device: str, local_rank: int, count: int, number: int, train_config: Train
) -> None:
    assert gpu_number(with_device(train_config, device=device), local_rank, count) == number


def test_a_gpu_that_is_missing_is_an_error(train_config: Train) -> None:
    with pytest.raises(InputError, match=r"train\.device = 'cuda:2': no such GPU; allowed here: cuda:0, cuda:1, cuda"):
        gpu_number(with_device(train_config, device="cuda:2"), 0, 2)
    with pytest.raises(InputError, match=r"train\.workers = 4: one GPU each, of which there are 2 here; .* 'cpu'"):
        gpu_number(with_device(train_config, device="auto", workers=4), 2, 2)


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cuda:00000", ""])
def test_an_unknown_device_is_refused(device: str, train_config: Train) -> None:
    with pytest.raises(ValidationError, match="auto, cpu, cuda, or cuda:N"):
        with_device(train_config, device=device)


def test_several_workers_do_not_share_one_gpu(train_config: Train) -> None:
    with pytest.raises(ValidationError, match="device = 'cuda:1' with workers = 2; allowed: auto, cpu, cuda"):
        with_device(train_config, device="cuda:1", workers=2)
    with pytest.raises(ValidationError, match=r"devices\.keras = 'cuda:1' with workers = 2; allowed: auto, cpu, cuda"):
        with_device(train_config, devices={"keras": "cuda:1"}, workers=2)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_a_gpu_a_named_one_is_an_error(framework: str, train_config: Train) -> None:
    with pytest.raises(
        InputError, match=r"train\.device = 'cuda:1': .* sees no CUDA device.*; allowed here: auto, cpu"
    ):
        framework_module(framework, "device").choose(with_device(train_config, device="cuda:1"))


DRIVER = """
#include <stddef.h>
static int contexts, pushed;
int cuInit(unsigned flags) { return flags; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = 40 + ordinal; return ordinal > 1; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &contexts; contexts += device; return 0; }
int cuCtxPushCurrent_v2(void *context) { pushed = context == &contexts; return !pushed; }
int cuMemGetInfo_v2(size_t *available, size_t *total) {
  *available = contexts == 41 && pushed ? (size_t)5 << 33 : 0; *total = (size_t)1 << 40; return 0;
}
int cuCtxPopCurrent_v2(void **context) { *context = &contexts; pushed = 0; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { contexts -= device; return 0; }
int in_use(void) { return contexts || pushed; }
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="a C compiler is needed, on Linux")
def test_the_free_memory_of_a_gpu_is_that_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the functions and types of cuda.h, here of a library that stands for the driver."""
    (tmp_path / "cuda.c").write_text(DRIVER)
    library = tmp_path / "libcuda.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "cuda.c"], check=True)
    driver = ctypes.CDLL(str(library))
    monkeypatch.setattr(gpu_driver, "_driver", lambda: driver)
    assert gpu_driver.count() == 2
    assert gpu_driver.free_memory(1) == 5 << 33
    assert driver.in_use() == 0
    assert gpu_driver.free_memory(2) == 0  # no such GPU


@pytest.mark.gpu
def test_the_free_memory_of_a_gpu_is_that_of_torch() -> None:
    import torch

    free, total = torch.cuda.mem_get_info()
    assert gpu_driver.free_memory(torch.cuda.current_device()) == pytest.approx(free, abs=0.02 * total)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_memory_that_does_not_suffice_is_distinguished_from_other_errors(framework: str) -> None:
    import tensorflow as tf
    import torch

    allocations: dict[str, Callable[[], object]] = {
        "torch": lambda: torch.empty(10**15),
        "keras": lambda: tf.fill([10**5, 10**5, 10**5], 0.0),
    }
    module = framework_module(framework, "device")
    with pytest.raises(RuntimeError if framework == "torch" else tf.errors.OpError) as caught:
        allocations[framework]()
    assert module.is_out_of_memory(caught.value)
    assert module.is_out_of_memory(MemoryError())
    assert not module.is_out_of_memory(RuntimeError("CUDA error: an illegal instruction"))


@pytest.mark.gpu
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_memory_of_a_gpu_that_does_not_suffice(framework: str) -> None:
    import tensorflow as tf
    import torch

    allocations: dict[str, Callable[[], object]] = {
        "torch": lambda: torch.empty(10**13, device="cuda"),
        "keras": lambda: tf.fill([10**5, 10**4, 10**4], 0.0),
    }
    with pytest.raises((RuntimeError, tf.errors.OpError)) as caught:
        allocations[framework]()
    assert framework_module(framework, "device").is_out_of_memory(caught.value)
