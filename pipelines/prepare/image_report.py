"""Report on the splits of an image data set: JSON, plots and a text summary."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.spec import DataSpec
from pipelines.artifacts import validation_report
from pipelines.prepare import class_validation, image_plots, validation

Inputs = Mapping[str, NDArray[np.uint8]]  # of each split, [n, H, W, C]
Targets = Mapping[str, NDArray[np.int64]]  # of each split, [n]


def inspect(inputs: Inputs, targets: Targets, spec: DataSpec) -> dict[str, Any]:
    """Counts of examples, classes, empty and duplicate images, as JSON-ready values."""
    constant = {name: validation.constant_images(images) for name, images in inputs.items()}
    return {
        "examples": {name: len(images) for name, images in inputs.items()},
        "classes": {name: class_validation.class_counts(array, spec.labels) for name, array in targets.items()},
        "constant_images": {name: {"count": len(rows), "rows": rows} for name, rows in constant.items()},
        "duplicates": validation.duplicates(inputs),
    }


def write(
    report: Mapping[str, Any], spec: DataSpec, images: NDArray[np.uint8], targets: NDArray[np.int64], folder: Path
) -> None:
    """Write `validation.json`, `balance.png`, and `samples.png` with some of the training `images`."""
    folder.mkdir()
    validation_report.write(report, folder / validation_report.FILE)
    title = f"{spec.name}: training examples"
    image_plots.draw_samples(images, targets, spec.labels, title, folder / validation_report.SAMPLES)
    title = f"{spec.name}: examples per class (dashed: mean)"
    image_plots.draw_balance(report["classes"], title, folder / "balance.png")


def summary(report: Mapping[str, Any]) -> str:
    """A line for the splits, and a note for each anomaly."""
    counts = ", ".join(f"{count} {name}" for name, count in report["examples"].items())
    lines = [f"prepared {report['name']}: {counts}"]
    for pair, count in report["duplicates"].items():
        earlier, later = pair.split("/")
        lines += (
            [f"note: {count} of the {later} images are also in the {earlier} split (prepare.group_duplicates)"]
            if count
            else []
        )
    for name, constant in report["constant_images"].items():
        count = constant["count"]
        lines += [f"note: {count} of the {name} images are empty, with a single value"] if count else []
    if report["constant_channels"]:
        lines.append(f"note: the channels {report['constant_channels']} of the train images are constant")
    return "\n".join(lines)
