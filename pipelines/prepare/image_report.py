"""Report on the splits of an image data set: JSON, plots and notes."""

from collections.abc import Iterator, Mapping
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


def draw(spec: DataSpec, images: NDArray[np.uint8], targets: NDArray[np.int64], folder: Path) -> None:
    """Write `samples.png` with some of the training `images`."""
    title = f"{spec.name}: training examples"
    image_plots.draw_samples(images, targets, spec.labels, title, folder / validation_report.SAMPLES)


def notes(report: Mapping[str, Any]) -> Iterator[str]:
    """A note for each anomaly of images."""
    for name, constant in report["constant_images"].items():
        if constant["count"]:
            yield f"{name} images that are empty, with a single value: {constant['count']}"
    if report["constant_channels"]:
        yield f"the channels {report['constant_channels']} of the train images are constant"
