"""The device that torch trains on, seeded and made deterministic."""

from typing import Literal

import torch

from models.config import Train
from models.device import Device, cpu_name, missing_code, no_gpu
from models.errors import InputError


def choose(config: Train) -> Device:
    """Seed torch; choose where and how to compute.

    Raises InputError for a device or precision that is asked for and not there.
    """
    torch.manual_seed(config.seed)
    torch.use_deterministic_algorithms(True)
    # Nothing here reads memory before it is written; to fill it all the same was measured to cost 7 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch adds it late
    # float32 means float32: no TensorFloat-32 behind the user's back.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    reason = "" if config.device == "cpu" else _reason_against_gpu()
    if config.device == "cuda" and reason:
        raise InputError(f"train.device = 'cuda': {reason}; allowed here: auto, cpu")
    if config.device == "cpu" or reason:
        name = cpu_name(f"CPU, up to {torch.get_num_threads()} threads", reason)
        return Device("cpu", name, _precision(config, _cpu_is_faster()))
    has_bfloat16 = torch.cuda.get_device_capability()[0] >= 8
    if config.precision == "bfloat16" and not has_bfloat16:
        raise InputError("train.precision = 'bfloat16': this GPU has none; allowed here: auto, float32")
    return Device("cuda", torch.cuda.get_device_name(), _precision(config, has_bfloat16))


def _reason_against_gpu() -> str:
    """Why torch cannot compute on the first GPU; empty if it can."""
    if not torch.cuda.is_available():
        return no_gpu("torch")
    return missing_code(torch.cuda.get_device_name(), torch.cuda.get_device_capability(), torch.cuda.get_arch_list())


def on_cpu() -> None:
    """Nothing is to be done: torch computes where its tensors are, and they begin on the CPU."""


def _cpu_is_faster() -> bool:
    """Only tile units (AMX) make it so; with AVX512-BF16 alone it was measured to gain nothing."""
    return bool(torch.cpu._is_amx_tile_supported())


def _precision(config: Train, faster: bool) -> Literal["float32", "bfloat16"]:
    if config.precision == "auto":
        return "bfloat16" if faster else "float32"
    return config.precision
