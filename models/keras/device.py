"""The device that TensorFlow trains on, seeded and made deterministic."""

from typing import Literal

import keras
import tensorflow as tf

from models.config import Train
from models.device import Device, cpu_name, missing_code, no_gpu
from models.errors import InputError


def choose(config: Train) -> Device:
    """Seed TensorFlow; choose where and how to compute. Call it before anything else uses TensorFlow.

    Raises InputError for a device or precision that is asked for and not there.
    """
    gpus = tf.config.list_physical_devices("GPU")
    reason = "" if config.device == "cpu" else _reason_against_gpu(gpus)
    if config.device == "cuda" and reason:
        raise InputError(f"train.device = 'cuda': {reason}; allowed here: auto, cpu")
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    # float32 means float32: no TensorFloat-32 behind the user's back.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if config.device == "cpu" or reason:
        on_cpu()
        return Device("cpu", cpu_name("CPU", reason), _precision(config, faster=False))
    return _on_gpu(gpus[0], config)


def _reason_against_gpu(gpus: list[tf.config.PhysicalDevice]) -> str:
    """Why TensorFlow cannot compute on the first GPU; empty if it can."""
    if not gpus:
        return no_gpu("TensorFlow")
    details = tf.config.experimental.get_device_details(gpus[0])
    architectures = tf.sysconfig.get_build_info()["cuda_compute_capabilities"]
    return missing_code(details["device_name"], details["compute_capability"], architectures)


def on_cpu() -> None:
    """Hide every GPU: its sums are rounded in other ways. Call it before anything else uses TensorFlow."""
    tf.config.set_visible_devices([], "GPU")


def _on_gpu(gpu: tf.config.PhysicalDevice, config: Train) -> Device:
    tf.config.set_visible_devices([gpu], "GPU")
    # TensorFlow takes all memory otherwise, and nothing else can share the GPU.
    tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpu)
    has_bfloat16 = details.get("compute_capability", (0, 0))[0] >= 8
    if config.precision == "bfloat16" and not has_bfloat16:
        raise InputError("train.precision = 'bfloat16': this GPU has none; allowed here: auto, float32")
    return Device("cuda", details.get("device_name", gpu.name), _precision(config, has_bfloat16))


def _precision(config: Train, faster: bool) -> Literal["float32", "bfloat16"]:
    if config.precision == "auto":
        return "bfloat16" if faster else "float32"
    return config.precision
