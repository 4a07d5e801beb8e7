"""The device that torch trains on, seeded and made deterministic."""

import torch

from models.config import Train
from models.errors import InputError
from models.training import device
from models.training.device import Device, gpu_number, missing_code, no_gpu


def choose(config: Train, local_rank: int = 0) -> Device:
    """Seed torch and choose the device and precision, for worker `local_rank` of this machine.

    Raises InputError if a requested one is not available.
    """
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True)
    # No uninitialised memory is read here; filling it was measured to take 7 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch adds it late
    # float32 is not replaced by TensorFloat-32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    reason = reason_against_gpu(config, local_rank)
    if config.requires_gpu and reason:
        raise InputError(f"{config.device_parameter} = '{config.device}': {reason}; allowed here: auto, cpu")
    if reason:
        threads = torch.get_num_threads()
        return device.cpu(f"CPU, up to {threads} {'thread' if threads == 1 else 'threads'}", reason, config)
    return device.gpu(torch.cuda.get_device_name(), torch.cuda.get_device_capability()[0], config)


def reason_against_gpu(config: Train, local_rank: int = 0) -> str:
    """The reason why torch does not compute on the GPU of this worker; empty if it does, and `cuda` is this GPU."""
    if config.device == "cpu":
        return f"{config.device_parameter} = 'cpu'"
    if not torch.cuda.is_available():
        return no_gpu("torch")
    torch.cuda.set_device(gpu_number(config, local_rank, torch.cuda.device_count()))
    return missing_code(torch.cuda.get_device_name(), torch.cuda.get_device_capability(), torch.cuda.get_arch_list())


def free_memory(device: Device) -> int:
    """The free bytes of the GPU that is trained on; 0 of a CPU."""
    return torch.cuda.mem_get_info()[0] if device.kind == "cuda" else 0


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory of the GPU or of the machine could not be allocated."""
    # torch has no exception of its own for the memory of the machine.
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)


def on_cpu() -> None:
    """Does nothing: torch computes on the CPU until tensors are moved."""
