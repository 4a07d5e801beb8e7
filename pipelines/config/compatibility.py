"""Checks across the sections of params.yaml: devices, frameworks, architectures and the data source."""

from models.errors import InputError
from pipelines.config.params import Params
from pipelines.inference.gpu_driver import has_nvidia_driver


def require_devices(settings: Params) -> None:
    """Raise InputError where a GPU is asked for on a machine that has no driver for one."""
    devices = {"train.device": settings.train.device, "evaluate.device": settings.evaluate.device}
    for key, device in devices.items():
        if device == "cuda" and not has_nvidia_driver():
            raise InputError(f"params.yaml: {key} = 'cuda': there is no NVIDIA driver here; allowed here: auto, cpu")


def require_compatible(settings: Params) -> None:
    """Raise InputError where models or training do not fit the frameworks or the source.

    As far as that is known without the data of the source.
    """
    for framework in settings.frameworks:
        settings.train.require_framework(framework)
    outline = settings.data.outline
    settings.train.augment.require_kind(outline.name, outline.kind)
    if outline.task:
        settings.train.require_task(outline.name, outline.task)
    for architecture in settings.architectures:
        config = getattr(settings.models, architecture)
        config.require_fit(outline)
        config.require_batches(outline, settings.train.batch_size)
