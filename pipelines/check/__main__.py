"""Stage `check`: validate `params.yaml`, and prepare the environment, before any other stage runs."""

from pipelines.artifacts.paths import CHECKED
from pipelines.check import bytecode
from pipelines.config import compatibility, overrides, params
from pipelines.execution import stage


def main() -> None:
    """Validate all parameters. The output is constant, so that other stages do not rerun because of it."""
    settings = params.read()
    compatibility.require_devices(settings)
    compatibility.require_engine(settings)
    compatibility.require_compatible(settings)
    overrides.require_sweep(settings)
    settings.data.require_options()
    settings.data.require_path()
    compatibility.require_memory(settings)
    bytecode.compile_missing()
    CHECKED.parent.mkdir(parents=True, exist_ok=True)
    CHECKED.write_text("params.yaml is valid\n", "utf-8")


if __name__ == "__main__":
    stage.run(main, __doc__)
