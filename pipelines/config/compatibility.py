"""Checks across sections of `params.yaml`: devices, frameworks, architectures and the data source."""

from models.errors import InputError
from models.gpu_driver import has_nvidia_driver
from pipelines.config.params import Params


def require_devices(settings: Params) -> None:
    """Raise InputError if a GPU is configured and the machine has no NVIDIA driver."""
    devices = {"train.device": settings.train.device, "evaluate.device": settings.evaluate.device}
    for key, device in devices.items():
        if device == "cuda" and not has_nvidia_driver():
            raise InputError(f"params.yaml: {key} = 'cuda': there is no NVIDIA driver here; allowed here: auto, cpu")


def require_compatible(settings: Params) -> None:
    """Raise InputError if models or training are incompatible with the frameworks or the source.

    Properties that are only known once the data is loaded are not checked.
    """
    for framework in settings.frameworks:
        settings.train.require_framework(framework)
    source = settings.data.info
    settings.train.augment.require_kind(source.name, source.kind)
    if source.task:
        settings.train.require_task(source.name, source.task)
    for architecture in settings.architectures:
        config = getattr(settings.models, architecture)
        config.require_compatible(source)
        config.require_batches(source, settings.train.batch_size)
