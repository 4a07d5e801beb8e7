"""Plots of an image data set: examples of each class, and class counts of each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from models.plotting.style import INK, TEST, TRAIN, VALIDATION, bare, picture

EXAMPLES_PER_CLASS = 14
MAX_CLASSES = 100  # a PNG of Matplotlib has at most 65,536 pixels per side
MAX_EXAMPLE_SIZE = 128  # pixels per side; larger images are subsampled
COLOURS = {"train": TRAIN, "validation": VALIDATION, "test": TEST}


def draw_samples(
    images: NDArray[np.uint8], targets: NDArray[np.int64], labels: Sequence[str], title: str, path: Path
) -> None:
    """A row for each of the first MAX_CLASSES classes, with the first of its examples in `images` [N, H, W, C]."""
    step = -(-max(images.shape[1:3]) // MAX_EXAMPLE_SIZE)
    images, labels = images[:, ::step, ::step], labels[:MAX_CLASSES]  # a view; no pixel is read
    height = images.shape[1]
    montage = _montage(images, targets, len(labels))
    with picture(path, 9.2, 0.7 + 0.55 * len(labels), title) as figure:
        axes = figure.subplots()
        axes.imshow(montage)
        _label_rows(axes, [row * (height + _gap(height)) + (height - 1) / 2 for row in range(len(labels))], labels)


def draw_balance(counts: Mapping[str, Mapping[str, int]], title: str, path: Path) -> None:
    """For each split, bars of `counts[split][label]` for the first MAX_CLASSES classes, and a line at their mean."""
    labels = list(next(iter(counts.values())))[:MAX_CLASSES]
    with picture(path, 9.2, 1.3 + 0.3 * len(labels), title) as figure:
        panels = figure.subplots(1, len(counts), sharey=True)
        for axes, (split, values) in zip(panels, counts.items(), strict=True):
            _draw_bars(axes, split, list(values.values()))
            _label_rows(axes, range(len(labels)), labels)
        panels[0].invert_yaxis()


def _draw_bars(axes: Axes, split: str, values: list[int]) -> None:
    bars = values[:MAX_CLASSES]
    axes.barh(range(len(bars)), bars, color=COLOURS[split], height=0.72)
    axes.axvline(sum(values) / len(values), color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
    right = 1.18 * max(bars)
    for row, value in enumerate(bars):
        axes.text(right, row, f"{value:,}", ha="right", va="center", fontsize=9, color=INK)
    axes.set_xlim(0, right)
    axes.set_title(f"{split}: {sum(values):,}", fontsize=10, fontweight="normal")


def _montage(images: NDArray[np.uint8], targets: NDArray[np.int64], classes: int) -> NDArray[np.uint8]:
    """One image of all examples on a white grid, uint8 [rows, columns, 3]."""
    height, width, channels = images.shape[1:]
    tall, wide = height + _gap(height), width + _gap(width)
    canvas = np.full((classes * tall, EXAMPLES_PER_CLASS * wide, 3), 255, np.uint8)
    for row in range(classes):
        for column, example in enumerate(np.flatnonzero(targets == row)[:EXAMPLES_PER_CLASS]):
            image = np.broadcast_to(images[example], (height, width, 3)) if channels == 1 else images[example]
            canvas[row * tall : row * tall + height, column * wide : column * wide + width] = image
    return canvas


def _gap(size: int) -> int:
    """Pixels between two examples."""
    return max(1, size // 10)


def _label_rows(axes: Axes, positions: Sequence[float], labels: Sequence[str]) -> None:
    """Remove everything around the plot except the labels on the left."""
    bare(axes)
    axes.set_yticks(positions, labels)
    axes.tick_params(length=0)
