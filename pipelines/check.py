"""Stage `check`: refuse a bad `params.yaml` before any other stage starts: `python -m pipelines.check`."""

from pipelines.artifacts.paths import CHECKED
from pipelines.cli import stage
from pipelines.config import compatibility, params


def main() -> None:
    """Read all parameters. The output never changes, so it makes no later stage run again."""
    settings = params.read()
    compatibility.require_devices(settings)
    compatibility.require_compatible(settings)
    CHECKED.parent.mkdir(parents=True, exist_ok=True)
    CHECKED.write_text("params.yaml is valid\n", "utf-8")


if __name__ == "__main__":
    stage.run(main)
