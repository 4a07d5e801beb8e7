"""The device that TensorFlow trains on, seeded and made deterministic."""

import keras
import tensorflow as tf

from models import device
from models.config import Train
from models.device import Device, missing_code, no_gpu
from models.errors import InputError


def choose(config: Train) -> Device:
    """Seed TensorFlow and choose the device and precision. Raises InputError if a requested one is not available.

    To be called before anything else uses TensorFlow.
    """
    gpus = tf.config.list_physical_devices("GPU")
    reason = "" if config.device == "cpu" else _reason_against_gpu(gpus)
    if config.device == "cuda" and reason:
        raise InputError(f"train.device = 'cuda': {reason}; allowed here: auto, cpu")
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    # float32 is not replaced by TensorFloat-32.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if config.device == "cpu" or reason:
        on_cpu()
        return device.cpu("CPU", reason, config)
    return _on_gpu(gpus[0], config)


def _reason_against_gpu(gpus: list[tf.config.PhysicalDevice]) -> str:
    """The reason why TensorFlow cannot compute on the first GPU; empty if it can."""
    if not gpus:
        return no_gpu("TensorFlow")
    details = tf.config.experimental.get_device_details(gpus[0])
    architectures = tf.sysconfig.get_build_info()["cuda_compute_capabilities"]
    return missing_code(details["device_name"], details["compute_capability"], architectures)


def on_cpu() -> None:
    """Hide every GPU, which would round sums differently. To be called before anything else uses TensorFlow."""
    tf.config.set_visible_devices([], "GPU")


def _on_gpu(gpu: tf.config.PhysicalDevice, config: Train) -> Device:
    tf.config.set_visible_devices([gpu], "GPU")
    # TensorFlow would allocate all memory, and leave none for other processes.
    tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpu)
    return device.gpu(details.get("device_name", gpu.name), details.get("compute_capability", (0, 0))[0], config)
