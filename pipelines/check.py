"""Stage `check`: refuse a bad `params.yaml` before any other stage starts."""

from pipelines import params, stage
from pipelines.paths import CHECKED


def main() -> None:
    """Read all parameters. The output never changes, so it makes no later stage run again."""
    params.read()
    CHECKED.parent.mkdir(parents=True, exist_ok=True)
    CHECKED.write_text("params.yaml is valid\n", "utf-8")


if __name__ == "__main__":
    stage.run(main)
