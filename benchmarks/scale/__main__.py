"""Wall time and peak resident memory of stages by the number of images: `uv run python -m benchmarks.scale`.

`load` and `prepare`, and one epoch of the fast recipe in each framework, each with the command of `dvc.yaml` in a
temporary workspace, for folders of 1,000 to 1,000,000 generated PNG files of 28x28 pixels. Memory is that of all
processes of a stage together. It needs 7 GB in the folder for temporary files, and about ten minutes.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks import machine, output, processes, workspace
from benchmarks.paths import RESULTS
from benchmarks.scale import images, report
from benchmarks.training.twins import RECIPE

CORES = 2
PACKAGES = ("torch", "tensorflow", "keras", "numpy", "pillow", "mlflow")
STAGES = ("load", "prepare", "train torch-cnn", "train keras-cnn")


@dataclass(frozen=True)
class Plan:
    """Which numbers of images, and which of STAGES, are measured."""

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    stages: tuple[str, ...] = STAGES


QUICK = Plan((1_000, 4_000))


def main() -> None:
    """Measure, and write `scale.json`, `scale.md` and `scale.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="up to 4,000 images; its figures are not comparable")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    results = measure(QUICK if options.quick else Plan(), machine.pin(CORES))
    output.write(options.output, "scale", results, report.write(results), partial(report.draw, results))


def measure(plan: Plan, cores: int) -> dict[str, Any]:
    """The usage of each stage at each size, on so many cores."""
    described = machine.describe(PACKAGES) | {"pinned": cores}
    stages: dict[str, dict[str, Any]] = {stage: {} for stage in plan.stages}
    with tqdm(total=len(plan.sizes) * len(plan.stages), desc="stages", disable=None) as bar:
        for size in plan.sizes:
            with tempfile.TemporaryDirectory(prefix="scale-") as folder:
                _prepare(Path(folder), size, cores)
                for stage in plan.stages:
                    stages[stage][str(size)] = asdict(_run(Path(folder), stage))
                    bar.update()
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": described,
        "sizes": plan.sizes,
        "stages": stages,
    }


def parameters(folder: Path) -> dict[str, Any]:
    """The parameters of one epoch on a folder of images, by dotted name."""
    data = {
        "data.source": "image_folder",
        "data.path": str(folder),
        "data.size": (images.SIDE,) * 2,
        "data.channels": 1,
    }
    return {**RECIPE, **data, "train.epochs": 1, "train.minimum_steps": 0}


def _prepare(folder: Path, size: int, cores: int) -> None:
    """A workspace with so many images."""
    images.write(folder / "images", size, cores)
    workspace.write(folder, parameters(folder / "images"))


def _run(folder: Path, stage: str) -> processes.Usage:
    command: Sequence[str] = workspace.command(*stage.split())
    return processes.run(command, folder, workspace.environment(), folder / "log.txt")


if __name__ == "__main__":
    main()
