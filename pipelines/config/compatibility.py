"""Checks across sections of `params.yaml`: devices, frameworks, architectures and the data source."""

import math
from importlib.util import find_spec

import psutil

from models.config import Framework, ModelConfig, Train
from models.errors import InputError
from models.gpu_driver import has_nvidia_driver
from models.spec import DataSpec
from pipelines.config.params import Params

FLOAT32_BYTES = 4
GIB = 2**30
MAX_SHOWN_BYTES = 2**80  # integers can exceed the range of floats


def require_devices(settings: Params) -> None:
    """Raise InputError if a GPU, or float16, is configured and the machine has no NVIDIA driver."""
    # Those of a cluster are its own.
    candidates = () if settings.run.address else settings.pairs
    trainings = [settings.train.for_candidate(*candidate) for candidate in candidates]
    devices = {config.device_parameter: config.device for config in trainings}
    devices["evaluate.device"] = settings.evaluate.device
    for key, device in devices.items():
        if device.startswith("cuda") and not has_nvidia_driver():
            raise InputError(
                f"params.yaml: {key} = {device!r}: there is no NVIDIA driver here; allowed here: auto, cpu"
            )
    if settings.train.precision == "float16" and not settings.run.address and not has_nvidia_driver():
        raise InputError(
            "params.yaml: train.precision = 'float16' is for GPUs, and there is no NVIDIA driver here; "
            "allowed here: auto, float32, bfloat16"
        )


def require_engine(settings: Params) -> None:
    """Raise InputError if the engine is Ray, and Ray is not installed, or a GPU is configured by its number."""
    if settings.run.engine != "ray":
        return
    if find_spec("ray") is None:
        raise InputError("params.yaml: run.engine = 'ray': Ray is not installed; use `uv run --extra ray`")
    for config in (settings.train.for_candidate(*candidate) for candidate in settings.pairs):
        if ":" in config.device:
            raise InputError(
                f"params.yaml: {config.device_parameter} = '{config.device}': with run.engine = 'ray', Ray chooses the "
                "GPU of each worker; allowed: auto, cpu, cuda"
            )


def require_compatible(settings: Params) -> None:
    """Raise InputError if models or training are incompatible with the frameworks or the source.

    Properties that are only known once the data is loaded are not checked.
    """
    for framework in settings.frameworks:
        settings.train.require_framework(framework)
    source = settings.data.info
    settings.prepare.require_source(source.name)
    settings.train.augment.require_kind(source.name, source.kind)
    settings.train.augment.require_shape(source.name, source.shape)
    if source.task:
        settings.train.require_task(source.name, source.task)
        settings.promote.require_task(source.name, source.task)
    if source.classes:
        settings.train.require_classes(source.name, source.classes)
    for architecture in settings.architectures:
        config = getattr(settings.models, architecture)
        settings.train.require_model(config)
        config.require_compatible(source)
        config.require_batches(source, settings.train.batch_size)


def require_trainable(
    framework: Framework, model_config: ModelConfig, config: Train, spec: DataSpec, examples: int
) -> None:
    """Raise InputError if framework, architecture, training and the prepared data are incompatible.

    `examples` is the size of the training split.
    """
    config.require_framework(framework)
    config.require_model(model_config)
    model_config.require_compatible(spec)
    config.require_compatible(spec)
    config.require_examples(examples)
    model_config.require_batches(spec, config.batch_size, examples)


def require_memory(settings: Params) -> None:
    """Raise InputError if weights or images need more than the memory of this machine, by lower bounds."""
    source = settings.data.info
    pixels = math.prod(source.shape)
    needs = {f"models.{name}": settings.models.of(name).minimum_weights(source) for name in settings.architectures}
    needs["data.size"] = pixels
    needs["evaluate.latency_batches"] = pixels * max(settings.evaluate.latency_batches)
    available = psutil.virtual_memory().total
    for key, numbers in needs.items():
        needed = min(numbers * FLOAT32_BYTES, MAX_SHOWN_BYTES)
        if needed > available:
            raise InputError(
                f"params.yaml: {key} needs at least {needed / GIB:,.0f} GiB in float32; "
                f"this machine has {available / GIB:,.0f} GiB"
            )
