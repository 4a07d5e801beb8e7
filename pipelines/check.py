"""Stage `check`: refuse a bad `params.yaml` before any other stage starts: `python -m pipelines.check`."""

from models.errors import InputError
from pipelines import params, stage
from pipelines.driver import has_nvidia_driver
from pipelines.params import Params
from pipelines.paths import CHECKED


def main() -> None:
    """Read all parameters. The output never changes, so it makes no later stage run again."""
    settings = params.read()
    require_devices(settings)
    require_fit(settings)
    CHECKED.parent.mkdir(parents=True, exist_ok=True)
    CHECKED.write_text("params.yaml is valid\n", "utf-8")


def require_devices(settings: Params) -> None:
    """Raise InputError where a GPU is asked for on a machine that has no driver for one."""
    devices = {"train.device": settings.train.device, "evaluate.device": settings.evaluate.device}
    for key, device in devices.items():
        if device == "cuda" and not has_nvidia_driver():
            raise InputError(f"params.yaml: {key} = 'cuda': there is no NVIDIA driver here; allowed here: auto, cpu")


def require_fit(settings: Params) -> None:
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


if __name__ == "__main__":
    stage.run(main)
