"""What `prepare` found in the splits: counted for programs, drawn and summed up for people."""

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
    """The numbers of examples and what is odd about them, as JSON-ready values."""
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
    """`validation.json` with the `report`; `balance.png`; `samples.png` with some of the training split's `images`."""
    folder.mkdir()
    validation_report.write(report, folder / validation_report.FILE)
    title = f"{spec.name}: training examples"
    image_plots.draw_samples(folder / "samples.png", title, images, targets, spec.labels)
    title = f"{spec.name}: examples of each class (dashed: an even balance)"
    image_plots.draw_balance(folder / "balance.png", title, report["classes"])


def summary(report: Mapping[str, Any]) -> str:
    """A line for the splits, and one for each thing that a person should look at."""
    counts = ", ".join(f"{count} {name}" for name, count in report["examples"].items())
    lines = [f"prepared {report['name']}: {counts}"]
    for pair, count in report["duplicates"].items():
        earlier, later = pair.split("/")
        lines += [f"note: {count} of the {later} images are in the {earlier} split too"] if count else []
    for name, constant in report["constant_images"].items():
        lines += (
            [f"note: {constant['count']} of the {name} images are empty, of one value"] if constant["count"] else []
        )
    if report["constant_channels"]:
        lines.append(f"note: the channels {report['constant_channels']} of the train images never change")
    return "\n".join(lines)
