"""The device that TensorFlow trains on, seeded and made deterministic."""

import keras
import tensorflow as tf

from models.config import Train
from models.errors import InputError
from models.gpu_driver import free_memory as free_gpu_memory
from models.training import device
from models.training.device import Device, gpu_number, missing_code, no_gpu


def choose(config: Train, local_rank: int = 0) -> Device:
    """Seed TensorFlow and choose the device and precision, for worker `local_rank` of this machine.

    Raises InputError if a requested one is not available. To be called before anything else uses TensorFlow.
    """
    reason = reason_against_gpu(config, local_rank)
    if config.requires_gpu and reason:
        raise InputError(f"{config.device_parameter} = '{config.device}': {reason}; allowed here: auto, cpu")
    keras.utils.set_random_seed(config.seed)
    tf.config.experimental.enable_op_determinism()
    # float32 is not replaced by TensorFloat-32.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if reason:
        on_cpu()
        return device.cpu("CPU", reason, config)
    return _on_gpu(_gpu(config, local_rank), config)


def reason_against_gpu(config: Train, local_rank: int = 0) -> str:
    """The reason why TensorFlow does not compute on the GPU of this worker; empty if it does."""
    if config.device == "cpu":
        return f"{config.device_parameter} = 'cpu'"
    if not tf.config.list_physical_devices("GPU"):
        return no_gpu("TensorFlow")
    details = tf.config.experimental.get_device_details(_gpu(config, local_rank))
    architectures = tf.sysconfig.get_build_info()["cuda_compute_capabilities"]
    return missing_code(details["device_name"], details["compute_capability"], architectures)


def _gpu(config: Train, local_rank: int) -> tf.config.PhysicalDevice:
    gpus = tf.config.list_physical_devices("GPU")
    return gpus[gpu_number(config, local_rank, len(gpus))]


def free_memory(device: Device) -> int:
    """The free bytes of the GPU that is trained on; 0 of a CPU."""
    if device.kind == "cpu":
        return 0
    (gpu,) = tf.config.get_visible_devices("GPU")
    return free_gpu_memory(int(gpu.name.rpartition(":")[2]))


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory of the GPU or of the machine could not be allocated."""
    return isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError))


def on_cpu() -> None:
    """Hide every GPU, which would round sums differently. To be called before anything else uses TensorFlow."""
    tf.config.set_visible_devices([], "GPU")


def _on_gpu(gpu: tf.config.PhysicalDevice, config: Train) -> Device:
    tf.config.set_visible_devices([gpu], "GPU")
    # TensorFlow would allocate all memory, and leave none for other processes.
    tf.config.experimental.set_memory_growth(gpu, True)
    details = tf.config.experimental.get_device_details(gpu)
    return device.gpu(details.get("device_name", gpu.name), details.get("compute_capability", (0, 0))[0], config)
